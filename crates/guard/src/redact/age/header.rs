//! The header: for each recipient a stanza that wraps the key of the file, and a MAC over all of it.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::key::{Identity, Recipient, private};
use super::{FILE_KEY, OpenError, SealError, derive};

const VERSION: &[u8] = b"age-encryption.org/v1\n";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
const FOOTER: &[u8] = b"---";
const TYPE: &str = "X25519";

/// Most stanzas that are read.
const MOST_STANZAS: usize = 64;
/// Most bytes of a header that are read.
const MOST_HEADER: usize = 64 << 10;

/// Writes the header.
pub(super) fn write(recipients: &[Recipient], file_key: &[u8; FILE_KEY]) -> Result<Vec<u8>, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    let mut out = VERSION.to_vec();
    for recipient in recipients {
        stanza(recipient, file_key, &mut out).ok_or(SealError::Random)?;
    }
    out.extend_from_slice(FOOTER);
    let mac = mac(file_key).ok_or(SealError::Random)?;
    let tag = hmac::sign(&mac, &out);
    out.push(b' ');
    out.extend_from_slice(BASE64.encode(tag).as_bytes());
    out.push(b'\n');
    Ok(out)
}

fn stanza(recipient: &Recipient, file_key: &[u8; FILE_KEY], out: &mut Vec<u8>) -> Option<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).ok()?;
    let ephemeral = private(&secret)?;
    let share: [u8; 32] = ephemeral.compute_public_key().ok()?.as_ref().try_into().ok()?;
    let shared = recipient.agree(&ephemeral)?;
    let key = wrapping(&shared, &share, recipient)?;
    let mut body = file_key.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
    out.extend_from_slice(
        format!("-> {TYPE} {}\n{}\n", BASE64.encode(share), BASE64.encode(&body)).as_bytes(),
    );
    Some(())
}

/// The key that wraps the key of the file. It is used once, hence the nonce of zeros.
fn wrapping(shared: &[u8; 32], share: &[u8; 32], recipient: &Recipient) -> Option<LessSafeKey> {
    let salt = [*share, recipient.0].concat();
    let key = derive(shared, &salt, INFO)?;
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

fn mac(file_key: &[u8; FILE_KEY]) -> Option<hmac::Key> {
    derive(file_key, b"", b"header").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// Reads the header with the first of the keys that fits, and returns the key of the file and what is behind.
pub(super) fn read<'a>(
    sealed: &'a [u8],
    identities: &[Identity],
) -> Result<([u8; FILE_KEY], &'a [u8]), OpenError> {
    let malformed = OpenError::Malformed;
    let mut rest = sealed.strip_prefix(VERSION).ok_or(malformed)?;
    let mut found = None;
    let mut stanzas = 0;
    let (signed, tag) = loop {
        let at = sealed.len() - rest.len();
        if at > MOST_HEADER || stanzas > MOST_STANZAS {
            return Err(OpenError::TooLarge);
        }
        let line = line(&mut rest).ok_or(malformed)?;
        if let Some(tag) = line.strip_prefix(FOOTER) {
            break (sealed.get(..at + FOOTER.len()).ok_or(malformed)?, tag);
        }
        stanzas += 1;
        let stanza = Stanza::read(line, &mut rest).ok_or(malformed)?;
        if stanza.kind == TYPE.as_bytes() {
            let opened = stanza.unwrap(identities)?;
            found = found.or(opened);
        }
    };
    let tag = tag.strip_prefix(b" ").and_then(|tag| BASE64.decode(tag).ok()).ok_or(malformed)?;
    if stanzas == 0 || tag.len() != 32 {
        return Err(malformed);
    }
    let file_key = found.ok_or(OpenError::NoMatch)?;
    let key = mac(&file_key).ok_or(malformed)?;
    hmac::verify(&key, signed, &tag).map_err(|_| malformed)?;
    Ok((file_key, rest))
}

/// Takes a line without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().take(MOST_HEADER).position(|byte| *byte == b'\n')?;
    let (line, after) = (rest.get(..end)?, rest.get(end + 1..)?);
    *rest = after;
    Some(line)
}

/// What one recipient finds.
struct Stanza<'a> {
    kind: &'a [u8],
    arguments: Vec<&'a [u8]>,
    body: Vec<u8>,
}

impl<'a> Stanza<'a> {
    fn read(head: &'a [u8], rest: &mut &'a [u8]) -> Option<Self> {
        let mut words = head.strip_prefix(b"-> ")?.split(|byte| *byte == b' ');
        let kind = words.next()?;
        let arguments: Vec<&[u8]> = words.collect();
        let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
        if !is_word(kind) || !arguments.iter().all(|word| is_word(word)) {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let next = line(rest)?;
            if next.len() > 64 {
                return None;
            }
            text.extend_from_slice(next);
            // The last line is a short one, be it empty.
            if next.len() < 64 {
                break;
            }
        }
        Some(Self { kind, arguments, body: BASE64.decode(text).ok()? })
    }

    /// Opens it with the first key that fits; `None` when that is none.
    fn unwrap(&self, identities: &[Identity]) -> Result<Option<[u8; FILE_KEY]>, OpenError> {
        let [share] = *self.arguments.as_slice() else { return Err(OpenError::Malformed) };
        let share: Option<[u8; 32]> = BASE64.decode(share).ok().and_then(|share| share.try_into().ok());
        let share = share.ok_or(OpenError::Malformed)?;
        // A body of another length could be made to open with several keys.
        if self.body.len() != FILE_KEY + 16 {
            return Err(OpenError::Malformed);
        }
        for identity in identities {
            let shared = identity.agree(share).ok_or(OpenError::Malformed)?;
            let key = wrapping(&shared, &share, &identity.recipient()).ok_or(OpenError::Malformed)?;
            let mut body = self.body.clone();
            let opened = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body);
            if let Some(file_key) = opened.ok().and_then(|key| <[u8; FILE_KEY]>::try_from(&*key).ok()) {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }
}
