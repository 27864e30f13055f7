//! Where a value goes: the slots of the fields that it is, and of those that would lie below it.
//!
//! Owns: what a value means for what lies below it. Does not own: how it was found.

use std::borrow::Cow;

use super::{shape::Node, slot::Slot};

/// The slots that a value goes to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    One(usize),
    /// Those that are the value, and those that lie below it.
    Many(Vec<usize>, Vec<usize>),
}

impl Target {
    /// Of a value that may have no parts.
    pub(super) fn whole(node: &Node) -> Self {
        match (node.fields.as_slice(), node.below.as_slice()) {
            ([only], []) => Self::One(*only),
            (these, below) => Self::Many(these.to_vec(), below.to_vec()),
        }
    }

    /// Of a value whose parts are read one by one.
    pub(super) fn outside(node: &Node) -> Self {
        Self::Many(node.fields.clone(), Vec::new())
    }

    #[inline]
    pub(super) fn put<'a>(&self, slots: &mut [Slot<'a>], value: Slot<'a>) {
        match self {
            Self::One(slot) => set(slots, *slot, value),
            Self::Many(these, below) => {
                let under = match value {
                    Slot::Absent | Slot::Null | Slot::Object => Slot::Absent,
                    _ => Slot::NoObject,
                };
                for slot in below {
                    set(slots, *slot, under.clone());
                }
                for slot in these {
                    set(slots, *slot, value.clone());
                }
            }
        }
    }
}

#[inline]
pub(super) fn set<'a>(slots: &mut [Slot<'a>], slot: usize, value: Slot<'a>) {
    if let Some(slot) = slots.get_mut(slot) {
        *slot = value;
    }
}

/// A binary float, which may be none that a column takes.
#[inline]
pub(super) fn float<'a>(value: f64) -> Slot<'a> {
    match value {
        _ if value.is_finite() => Slot::Float(value),
        _ if value.is_nan() => Slot::NotFinite(Cow::Borrowed("NaN")),
        _ if value > 0.0 => Slot::NotFinite(Cow::Borrowed("Infinity")),
        _ => Slot::NotFinite(Cow::Borrowed("-Infinity")),
    }
}
