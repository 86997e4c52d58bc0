//! The payload: chunks of 64 KiB, each sealed with its number and whether it is the last (STREAM).

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{FILE_KEY, OpenError, SealError, derive};

const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const NONCE: usize = 16;

fn key(file_key: &[u8; FILE_KEY], nonce: &[u8]) -> Option<LessSafeKey> {
    let key = derive(file_key, nonce, b"payload")?;
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

/// Eleven bytes of counter, one that is 1 for the last chunk.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a text behind what `out` has.
pub(super) fn seal(file_key: &[u8; FILE_KEY], text: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let mut random = [0; NONCE];
    getrandom::fill(&mut random).map_err(|_| SealError::Random)?;
    let key = key(file_key, &random).ok_or(SealError::Random)?;
    out.extend_from_slice(&random);
    // An empty text is one empty chunk.
    let chunks = text.len().div_ceil(CHUNK).max(1);
    for (number, at) in (0_u64..).zip(0..chunks) {
        let chunk = text.get(at * CHUNK..text.len().min((at + 1) * CHUNK)).unwrap_or_default();
        let mut sealed = chunk.to_vec();
        let nonce = nonce(number, at + 1 == chunks);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).map_err(|_| SealError::Random)?;
        out.extend_from_slice(&sealed);
    }
    Ok(())
}

/// Opens the whole of it.
pub(super) fn open(file_key: &[u8; FILE_KEY], body: &[u8]) -> Result<Vec<u8>, OpenError> {
    let malformed = OpenError::Malformed;
    let (random, body) = body.split_at_checked(NONCE).ok_or(malformed)?;
    let key = key(file_key, random).ok_or(malformed)?;
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    for number in 0_u64.. {
        let (chunk, after) = rest.split_at_checked((CHUNK + TAG).min(rest.len())).ok_or(malformed)?;
        let mut chunk = chunk.to_vec();
        let opened = key.open_in_place(nonce(number, after.is_empty()), Aad::empty(), &mut chunk);
        let opened = opened.map_err(|_| malformed)?;
        // A last chunk is empty only when all is.
        if opened.is_empty() && number > 0 {
            return Err(malformed);
        }
        text.extend_from_slice(opened);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    Ok(text)
}
