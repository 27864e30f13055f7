//! A text that must never be shown: a password, a token, a URL with one in it.
//!
//! Invariant: no `Debug` and no message has it in it; whoever needs it says so with `Secret::reveal`.

use std::fmt;

/// What must never be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
