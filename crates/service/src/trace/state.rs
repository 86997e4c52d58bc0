//! What vendors add to a trace: the value of `tracestate`, checked and bounded.

use std::fmt;

/// The value of a `tracestate`, as it is sent on. Spec: W3C Trace Context section 3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceState(Box<str>);

/// Most members, as the specification has it.
const MOST: usize = 32;
/// Most bytes that are sent on; members that do not fit are left out from the end. The least that the specification asks for.
const LENGTH: usize = 512;
/// Most bytes that are looked at.
const MAX_READ: usize = 8 * 1024;

impl TraceState {
    /// Reads one or more values, which count as one list in their order; `None` where there is nothing to send on, or a member
    /// that does not hold, or one key twice: then all of it is ignored.
    #[must_use]
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let (mut members, mut read): (Vec<&str>, usize) = (Vec::new(), 0);
        for value in values {
            read += value.len();
            if read > MAX_READ {
                return None;
            }
            let value = std::str::from_utf8(value).ok()?;
            let parts = value.split(',').map(|part| part.trim_matches([' ', '\t']));
            // Empty members are allowed, and mean nothing.
            for member in parts.filter(|part| !part.is_empty()) {
                let (key, value) = member.split_once('=')?;
                let is_new = !members.iter().any(|known| known.split('=').next() == Some(key));
                if !is_new || members.len() == MOST || !is_key(key) || !is_value(value) {
                    return None;
                }
                members.push(member);
            }
        }
        let mut text = String::new();
        for member in members {
            let comma = if text.is_empty() { "" } else { "," };
            if text.len() + comma.len() + member.len() > LENGTH {
                break;
            }
            text.push_str(comma);
            text.push_str(member);
        }
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// Returns the value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells whether it is a key: a name, or a tenant and a system.
fn is_key(key: &str) -> bool {
    let is_part = |part: &str, most: usize, first: fn(u8) -> bool| {
        let others = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        part.len() <= most && part.bytes().next().is_some_and(first) && part.bytes().all(others)
    };
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    match key.split_once('@') {
        None => is_part(key, 256, is_letter),
        Some((tenant, system)) => {
            is_part(tenant, 241, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                && is_part(system, 14, is_letter)
        }
    }
}

/// Tells whether it is a value: printable, and no space at its end.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
        && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        TraceState::parse(values.iter().map(|value| value.as_bytes())).map(|state| state.to_string())
    }

    #[test]
    fn values_are_one_list() {
        assert_eq!(
            read(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]).unwrap(),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
        assert_eq!(read(&["a=1 , \t,b=2,", "", "1t@s=3 4"]).unwrap(), "a=1,b=2,1t@s=3 4");
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["", " , "]), None);
    }

    #[test]
    fn a_list_with_one_bad_member_is_ignored() {
        for bad in [
            "a", "a=", "=1", "A=1", "a=1,a=2", "a=1=2", "a=\u{e4}", "a=b\n", "1a=1", "t@=1", "t@1s=1",
            "@s=1", "a b=1",
        ] {
            assert_eq!(read(&["x=1", bad]), None, "{bad:?}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("k{number}=1")).collect();
        assert_eq!(read(&[&many.join(",")]), None);
        assert!(read(&[&many[..32].join(",")]).is_some());
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let value = "v".repeat(200);
        let all = [format!("a={value}"), format!("b={value}"), format!("c={value}")];
        assert_eq!(read(&[&all.join(",")]).unwrap(), all[..2].join(","));
        assert_eq!(read(&["a=1,".repeat(3000).as_str()]), None, "too long to be looked at");
    }
}
