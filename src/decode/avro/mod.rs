//! Avro: a record's binary form, read by its writer's schema.
//!
//! Owns: which schema a record was written by, in each of three encodings. Does not own: where schemas come from.
//!
//! What is to be done is worked out once for each writer's schema ([`compile`]) and then followed for each record
//! ([`program`]): one pass, which borrows what fields are read from and steps over the rest.

use std::{collections::HashMap, sync::Arc};

use self::{
    schema::Types,
    wire::{Broken, Wire},
};
use super::{
    Envelope, Reader, confluent,
    described::Described,
    plan::Plan,
    refusal::Refusal,
    schemas::{Lesson, Schemas},
    shape::Node,
    slot::Slot,
};
use crate::record::{Reason, Schema};

mod canonical;
mod compile;
mod defaults;
mod describe;
mod program;
mod schema;
mod skip;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use self::program::Program;

/// How records in Avro are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroSettings {
    pub encoding: AvroEncoding,
    /// What records are taken for, whoever wrote them; without it, the writer's schema says.
    pub reader: Option<AvroSchema>,
    pub envelope: Envelope,
}

/// What tells the schema that a record was written by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroEncoding {
    /// An id before each record, which a registry knows.
    Registry,
    /// A fingerprint before each record, of one of these.
    SingleObject(Vec<AvroSchema>),
    /// Nothing: all are written by this one.
    Plain(AvroSchema),
}

/// A schema that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroSchema(Arc<Types>);

impl AvroSchema {
    /// The schema of the last of these texts; the others are what it may name.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        Types::parse(texts).map(|types| Self(Arc::new(types)))
    }

    /// What it says of a record's fields.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        describe::describe(&self.0)
    }

    /// By which a record in the single-object encoding names it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        canonical::fingerprint(&self.0)
    }
}

/// The format, with what can be worked out before there are records.
#[derive(Debug)]
pub(super) struct Avro {
    root: Node,
    reader: Option<AvroSchema>,
    by: Encoding,
}

#[derive(Debug)]
enum Encoding {
    Registry,
    SingleObject(HashMap<u64, Program>),
    Plain(Program),
}

/// A single-object record begins with these two bytes, and the fingerprint after them.
const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];

impl Avro {
    pub(super) fn new(plan: &Plan, settings: &AvroSettings) -> Self {
        let (root, _) = Node::tree(plan.paths());
        let of = |writer: &AvroSchema| compile::compile(&writer.0, settings.reader.as_ref().map(|of| &*of.0), &root);
        let by = match &settings.encoding {
            AvroEncoding::Registry => Encoding::Registry,
            AvroEncoding::Plain(writer) => Encoding::Plain(of(writer)),
            AvroEncoding::SingleObject(writers) => {
                Encoding::SingleObject(writers.iter().map(|writer| (writer.fingerprint(), of(writer))).collect())
            }
        };
        Self { reader: settings.reader.clone(), by, root }
    }

    /// Whether records name their schemas by ids.
    pub(super) fn asks_a_registry(&self) -> bool {
        matches!(self.by, Encoding::Registry)
    }

    pub(super) fn learn(&self, schema: &Schema) -> Lesson {
        let imports = schema.imports.iter().map(|import| import.text.as_str());
        match Types::parse(imports.chain([schema.text.as_str()])) {
            Ok(writer) => Lesson::Avro(compile::compile(&writer, self.reader.as_ref().map(|of| &*of.0), &self.root)),
            Err(why) => Lesson::Unusable(why),
        }
    }

    pub(super) fn reader<'a>(&'a self, plan: &Plan, known: &'a Schemas) -> AvroReader<'a> {
        AvroReader { slots: vec![Slot::Absent; plan.slots()], by: &self.by, known, last: None }
    }
}

#[derive(Debug)]
pub(super) struct AvroReader<'a> {
    slots: Vec<Slot<'a>>,
    by: &'a Encoding,
    known: &'a Schemas,
    /// Whose schema it was last; mostly it is the same again.
    last: Option<(u32, &'a Program)>,
}

impl<'a> AvroReader<'a> {
    /// Which schema a record was written by, and the record without what tells it.
    #[inline]
    fn program(&mut self, bytes: &'a [u8]) -> Result<(&'a Program, &'a [u8]), Refusal> {
        match self.by {
            Encoding::Plain(program) => Ok((program, bytes)),
            Encoding::SingleObject(programs) => single_object(programs, bytes),
            Encoding::Registry => {
                let (id, rest) = confluent::split(bytes).ok_or_else(|| confluent::unframed(Reason::NotAvro, bytes))?;
                match self.last {
                    Some((last, program)) if last == id => Ok((program, rest)),
                    _ => match self.known.get(id) {
                        Some(Lesson::Avro(program)) => {
                            self.last = Some((id, program));
                            Ok((program, rest))
                        }
                        other => Err(confluent::unknown(id, other)),
                    },
                }
            }
        }
    }
}

impl<'a> Reader<'a> for AvroReader<'a> {
    #[inline]
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let (program, body) = self.program(bytes)?;
        self.slots.fill(Slot::Absent);
        let mut wire = Wire::new(body);
        match program.run(&mut wire, &mut self.slots) {
            Ok(()) if wire.left() == 0 => Ok(()),
            Ok(()) => Err(left_over(wire.left())),
            Err(broken) => Err(refusal(program, broken, bytes.len() - wire.left())),
        }
    }

    #[inline]
    fn slots(&mut self) -> &mut [Slot<'a>] {
        &mut self.slots
    }
}

fn single_object<'a>(programs: &'a HashMap<u64, Program>, bytes: &'a [u8]) -> Result<(&'a Program, &'a [u8]), Refusal> {
    let framed = bytes.strip_prefix(&SINGLE_OBJECT).and_then(<[u8]>::split_first_chunk);
    let Some((fingerprint, rest)) = framed else {
        let told = "it does not begin with the bytes c3 01 and a fingerprint, as the single-object encoding does";
        return Err(Refusal::new(Reason::NotAvro, told.into()));
    };
    let fingerprint = u64::from_le_bytes(*fingerprint);
    let unknown = || {
        let told = format!("no schema that `schema` names has the fingerprint {fingerprint:016x}");
        Refusal::new(Reason::UnknownSchema, told)
    };
    programs.get(&fingerprint).map(|program| (program, rest)).ok_or_else(unknown)
}

#[cold]
fn left_over(bytes: usize) -> Refusal {
    Refusal::new(Reason::NotAvro, format!("{bytes} bytes are left over: it was written by another schema"))
}

#[cold]
fn refusal(program: &Program, broken: Broken, at: usize) -> Refusal {
    match broken {
        Broken::Misfit(index) => match program.misfits.get(index) {
            Some(misfit) => Refusal::new(misfit.reason, misfit.told.clone()),
            None => Refusal::new(Reason::WrongType, broken.told().into()),
        },
        _ => Refusal::new(Reason::NotAvro, format!("{}, about byte {}", broken.told(), at + 1)),
    }
}
