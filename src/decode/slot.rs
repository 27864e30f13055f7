//! What a reader of any format found for a field, before it is made to fit. Owns: the one form that values of all formats
//! have in common.

use std::borrow::Cow;

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
    Array,
    Object,
    /// The path leads through something that is neither an object nor null.
    NoObject,
}
