//! What a reader of any format found for a field, before it is made to fit. Owns: the one form that values of all formats
//! have in common.

use std::{borrow::Cow, fmt};

/// What a record has for a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Slot<'a> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond `i64`.
    Huge(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// A bare `NaN` or `Infinity`, or a number that no `f64` can hold, as it was written.
    NotFinite(Cow<'a, str>),
    /// Bytes that need be no text.
    Bytes(&'a [u8]),
    /// A whole number in two's complement, the highest byte first, divided by ten so many times.
    Decimal(&'a [u8], u32),
    /// Days since 1970.
    Days(i64),
    /// Time since 1970, UTC.
    Instant(i64, Unit),
    Array,
    Object,
    /// The path leads through something that is neither an object nor null.
    NoObject,
}

/// How fine an instant is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        })
    }
}
