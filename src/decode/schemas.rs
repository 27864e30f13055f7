//! What of the world outside a batch its records can't be read without: the schemas that their writers wrote them by.
//!
//! Decoding is pure and waits for nothing, so whoever decodes gathers them first: [`super::Decoder::wanted`] tells which,
//! [`super::Decoder::learn`] works each out once, and [`super::Decoder::decode_with`] reads a batch by those that are
//! known. Formats that carry their own shape, such as JSON and CSV, need none.

use std::{collections::HashMap, sync::Arc};

use super::{avro, protobuf};

/// The writers' schemas that are known for a batch, by the ids that its records name.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    known: HashMap<u32, Arc<Learnt>>,
}

/// One schema, worked out for the declared fields.
#[derive(Debug)]
pub struct Learnt(pub(super) Lesson);

#[derive(Debug)]
pub(super) enum Lesson {
    Avro(avro::Program),
    Protobuf(protobuf::Messages),
    /// What is wrong with it. Its records are rejects.
    Unusable(String),
}

impl Schemas {
    pub fn insert(&mut self, id: u32, learnt: Arc<Learnt>) {
        self.known.insert(id, learnt);
    }

    pub(super) fn get(&self, id: u32) -> Option<&Lesson> {
        self.known.get(&id).map(|learnt| &learnt.0)
    }
}
