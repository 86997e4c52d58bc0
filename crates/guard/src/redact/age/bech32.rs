//! Bech32 (BIP 173) without its bound on length, which age keys are written in.

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Writes bytes behind a prefix of lower case.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut data = regroup(bytes.iter().copied(), 8, 5, true).unwrap_or_default();
    let mut values = expand(prefix);
    values.extend_from_slice(&data);
    values.extend_from_slice(&[0; 6]);
    let check = polymod(&values) ^ 1;
    data.extend((0..6).map(|at| u8::try_from(check >> (5 * (5 - at)) & 31).unwrap_or_default()));
    let mut text = format!("{prefix}1");
    text.extend(
        data.iter().filter_map(|value| CHARSET.get(usize::from(*value))).map(|byte| char::from(*byte)),
    );
    text
}

/// Reads bytes behind a prefix, all in one case.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
    {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (found, data) = text.rsplit_once('1')?;
    if found != prefix {
        return None;
    }
    let place =
        |byte: u8| CHARSET.iter().position(|known| *known == byte).and_then(|at| u8::try_from(at).ok());
    let data: Vec<u8> = data.bytes().map(place).collect::<Option<_>>()?;
    let mut values = expand(prefix);
    values.extend_from_slice(&data);
    let data = data.get(..data.len().checked_sub(6)?)?;
    if polymod(&values) != 1 {
        return None;
    }
    regroup(data.iter().copied(), 5, 8, false)
}

fn expand(prefix: &str) -> Vec<u8> {
    prefix.bytes().map(|byte| byte >> 5).chain([0]).chain(prefix.bytes().map(|byte| byte & 31)).collect()
}

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.iter().fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(*value);
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(next, |sum, (_, part)| sum ^ part)
    })
}

/// Takes groups of `from` bits for groups of `to`. What is left over has to be zero, and less than a group, unless it is padded.
fn regroup(values: impl Iterator<Item = u8>, from: u32, to: u32, pads: bool) -> Option<Vec<u8>> {
    let (mut kept, mut bits) = (0_u32, 0);
    let mut out = Vec::with_capacity(64);
    for value in values {
        kept = kept << from | u32::from(value);
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(u8::try_from(kept >> bits & ((1 << to) - 1)).ok()?);
        }
        kept &= (1 << bits) - 1;
    }
    if pads && bits > 0 {
        out.push(u8::try_from(kept << (to - bits) & ((1 << to) - 1)).ok()?);
    } else if !pads && (bits >= from || kept != 0) {
        return None;
    }
    Some(out)
}
