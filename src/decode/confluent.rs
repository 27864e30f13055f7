//! The frame that serializers for a schema registry put around a record: a zero byte, and the id of its schema.
//!
//! Owns: where the frame ends, and what is said of one that leads nowhere. Does not own: what follows it.

use super::{refusal::Refusal, schemas::Lesson};
use crate::record::Reason;

/// The id, and what follows.
#[inline]
pub(super) fn split(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (frame, rest) = bytes.split_first_chunk::<5>()?;
    let [0, id @ ..] = *frame else { return None };
    Some((u32::from_be_bytes(id), rest))
}

#[cold]
pub(super) fn unframed(reason: Reason, bytes: &[u8]) -> Refusal {
    let told = match bytes {
        [0, ..] => "it ends before the id of its schema",
        _ => "it does not begin with a zero byte and the id of its schema, as a registry's records do",
    };
    Refusal::new(reason, told.into())
}

/// About a record whose schema is not there, or is not one by which it can be read.
#[cold]
pub(super) fn unknown(id: u32, lesson: Option<&Lesson>) -> Refusal {
    let told = match lesson {
        None => format!("the registry has no schema {id}"),
        Some(Lesson::Unusable(why)) => format!("schema {id} of the registry can't be used: {why}"),
        Some(Lesson::Avro(_)) => format!("schema {id} of the registry is Avro"),
        Some(Lesson::Protobuf(_)) => format!("schema {id} of the registry is Protobuf"),
    };
    Refusal::new(Reason::UnknownSchema, told)
}
