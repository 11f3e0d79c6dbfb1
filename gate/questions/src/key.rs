//! A key that signs hooks: never printed.

use std::fmt;

/// Half of SHA-256's block of output; below it guessing becomes thinkable.
const KEY_MIN_BYTES: usize = 16;

/// A key that signs hooks. Its bytes are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// Takes a key that is long enough not to be guessed.
    ///
    /// # Errors
    /// It is shorter.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.len() < KEY_MIN_BYTES {
            return Err(format!(
                "a key of {} bytes is shorter than {KEY_MIN_BYTES}; make one with `openssl rand -hex 32`",
                bytes.len()
            ));
        }
        Ok(Self(bytes))
    }

    /// What it is: for signatures alone.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
