//! What of the world outside a batch its records can't be read without: the schemas that their writers wrote them by.
//!
//! Decoding is pure and waits for nothing, so whoever decodes gathers them first: [`super::Decoder::decode_with`] reads a
//! batch by those that are known. Formats that carry their own shape, such as JSON and CSV, need none.

/// The writers' schemas that are known for a batch.
#[derive(Clone, Debug, Default)]
pub struct Schemas {}
