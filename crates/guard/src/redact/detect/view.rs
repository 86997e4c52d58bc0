//! A text as scanners read it: ASCII where a character has an ASCII twin, and without what has no width.

use std::borrow::Cow;
use std::ops::Range;

/// The bytes scanners read, and where each stood.
pub(super) struct View<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where each byte stood in the text, and one more for the end; empty when nothing moved.
    places: Vec<u32>,
}

impl<'t> View<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        if text.is_ascii() || !text.chars().any(|character| plain(character) != Plain::Same) {
            return Self { bytes: Cow::Borrowed(text.as_bytes()), places: Vec::new() };
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut places = Vec::with_capacity(text.len() + 1);
        // A longer text than 4 GiB does not come here; where it did, its end would stand for what lies behind.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        for (at, character) in text.char_indices() {
            match plain(character) {
                Plain::Nothing => {}
                Plain::Byte(byte) => {
                    bytes.push(byte);
                    places.push(place(at));
                }
                Plain::Same => {
                    let mut buffer = [0; 4];
                    for (offset, byte) in character.encode_utf8(&mut buffer).bytes().enumerate() {
                        bytes.push(byte);
                        places.push(place(at + offset));
                    }
                }
            }
        }
        places.push(place(text.len()));
        Self { bytes: Cow::Owned(bytes), places }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns where a stretch of the view stands in the text. What has no width behind its last byte goes with it.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        if self.places.is_empty() {
            return range;
        }
        let place = |at: usize| self.places.get(at).map_or(0, |place| *place as usize);
        place(range.start)..place(range.end)
    }
}

/// What a character is read as.
#[derive(PartialEq, Eq)]
enum Plain {
    Same,
    Byte(u8),
    Nothing,
}

/// Unicode 16: general category Cf that is used inside of words, Zs, Pd, Nd, and the full-width forms.
fn plain(character: char) -> Plain {
    if character.is_ascii() {
        return Plain::Same;
    }
    match character {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {
            Plain::Nothing
        }
        '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {
            Plain::Nothing
        }
        '\u{e0000}'..='\u{e007f}' => Plain::Nothing,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Plain::Byte(b' ')
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Plain::Byte(b'-'),
        '\u{fe6b}' => Plain::Byte(b'@'),
        // Letters, digits and signs as wide as an ideograph, in the order of ASCII.
        '\u{ff01}'..='\u{ff5e}' => Plain::Byte(u8::try_from(u32::from(character) - 0xfee0).unwrap_or(b' ')),
        _ => digit(u32::from(character)),
    }
}

fn digit(code: u32) -> Plain {
    if (0x1d7ce..=0x1d7ff).contains(&code) {
        return Plain::Byte(b'0' + u8::try_from((code - 0x1d7ce) % 10).unwrap_or(0));
    }
    let at = ZEROS.partition_point(|zero| *zero <= code);
    match ZEROS.get(at.wrapping_sub(1)) {
        Some(zero) if code - zero < 10 => Plain::Byte(b'0' + u8::try_from(code - zero).unwrap_or(0)),
        _ => Plain::Same,
    }
}

/// The zeros of the decimal digits of other scripts, ascending: each is followed by its one to nine.
const ZEROS: [u32; 36] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x104a0,
];
