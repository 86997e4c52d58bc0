//! A script that the store runs, known to it by its digest.

use std::fmt;

use aws_lc_rs::digest;

/// A script in Lua. Made once: its digest is computed here.
pub struct Script {
    source: &'static str,
    digest: [u8; 40],
}

impl Script {
    /// Takes the source of a script.
    #[must_use]
    pub fn new(source: &'static str) -> Self {
        // No secret hangs on it: it is how Redis names scripts.
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut digest = [b'0'; 40];
        digest.iter_mut().zip(digits).for_each(|(to, digit)| {
            *to = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        });
        Self { source, digest }
    }

    /// Returns the source.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Returns the digest in hexadecimal digits, as `EVALSHA` takes it.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", String::from_utf8_lossy(&self.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_that_redis_computes() {
        assert_eq!(Script::new("return 1").digest(), b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
