//! A key that signs, or a token that is shown: never printed, and wiped from memory when it goes.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretSlice};

/// Half of SHA-256's block of output; below it guessing becomes thinkable.
const KEY_MIN_BYTES: usize = 16;

/// A key. Its bytes are never printed.
#[derive(Clone)]
pub(crate) struct Key(Arc<SecretSlice<u8>>);

impl Key {
    /// Takes a key that is long enough not to be guessed.
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self, String> {
        // Wiped from here on, also where it is refused.
        let key = SecretSlice::from(bytes);
        let length = key.expose_secret().len();
        if length < KEY_MIN_BYTES {
            return Err(format!(
                "a key of {length} bytes is shorter than {KEY_MIN_BYTES}; make one with `openssl rand -hex 32`"
            ));
        }
        Ok(Self(Arc::new(key)))
    }

    /// What it is: for signatures and comparisons alone.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.bytes(), other.bytes()).is_ok()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
