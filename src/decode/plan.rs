//! The declared fields as the readers of all formats need them.
//!
//! Owns: which slot is whose, and whether a record's values suit its fields. Does not own: how a value is found.

use super::{Envelope, EventTime, debezium, refusal::Refusal, slot::Slot, value::settle};
use crate::record::{Field, FieldKind};

/// What is wanted of each record: a slot a field, in the order declared, then those that the envelope needs.
#[derive(Debug)]
pub(super) struct Plan {
    fields: Vec<Planned>,
    envelope: Envelope,
    paths: Vec<(Vec<String>, usize)>,
}

#[derive(Debug)]
pub(super) struct Planned {
    /// Dotted, for people.
    pub(super) path: String,
    pub(super) kind: FieldKind,
    required: bool,
}

/// What a record is by what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Row,
    Filtered,
}

impl Plan {
    pub(super) fn new(fields: &[Field], event_time: EventTime, envelope: Envelope) -> Self {
        let planned = |(index, field): (usize, &Field)| Planned {
            path: field.path.join("."),
            kind: field.kind,
            required: !field.nullable || event_time == EventTime::Field(index),
        };
        let paths = paths(fields, envelope);
        Self { fields: fields.iter().enumerate().map(planned).collect(), envelope, paths }
    }

    /// For paths with dots, whatever they hold.
    #[cfg(test)]
    pub(super) fn of_paths(paths: &[&str]) -> Self {
        let field = |path: &&str| Field {
            name: (*path).to_owned(),
            kind: FieldKind::String,
            nullable: true,
            path: path.split('.').map(str::to_owned).collect(),
        };
        Self::new(&paths.iter().map(field).collect::<Vec<_>>(), EventTime::Broker, Envelope::None)
    }

    /// How many slots a record's values take.
    pub(super) fn slots(&self) -> usize {
        match self.envelope {
            Envelope::None => self.fields.len(),
            Envelope::Debezium => self.fields.len() + debezium::SLOTS,
        }
    }

    /// Where each slot is filled from; several places may fill the same.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&[String], usize)> {
        self.paths.iter().map(|(path, slot)| (path.as_slice(), *slot))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = FieldKind> {
        self.fields.iter().map(|planned| planned.kind)
    }

    pub(super) fn kind(&self, index: usize) -> Option<FieldKind> {
        self.fields.get(index).map(|planned| planned.kind)
    }

    /// Whether a record without a value says something, and nothing that is to land.
    pub(super) fn takes_tombstones(&self) -> bool {
        self.envelope == Envelope::Debezium
    }

    /// Whether what was read is to be a row at all.
    #[inline]
    pub(super) fn verdict(&self, slots: &[Slot<'_>]) -> Result<Verdict, Refusal> {
        match self.envelope {
            Envelope::None => Ok(Verdict::Row),
            Envelope::Debezium => {
                let leaves_row = debezium::leaves_row(slots.get(self.fields.len()..).unwrap_or_default())?;
                Ok(if leaves_row { Verdict::Row } else { Verdict::Filtered })
            }
        }
    }

    /// Makes the values fit their fields, or says why they don't.
    #[inline]
    pub(super) fn settle(&self, slots: &mut [Slot<'_>]) -> Result<(), Refusal> {
        let mut pairs = self.fields.iter().zip(slots.iter_mut());
        match pairs.position(|(planned, slot)| settle(slot, planned.kind, planned.required).is_err()) {
            None => Ok(()),
            Some(first) => self.gravest(slots, first).map_or(Ok(()), Err),
        }
    }

    /// The fault to report, of those from field `first` on: of the gravest reason, the first.
    #[cold]
    pub(super) fn gravest(&self, slots: &mut [Slot<'_>], first: usize) -> Option<Refusal> {
        let pairs = self.fields.iter().zip(slots).skip(first);
        let faults = pairs.filter_map(|(planned, slot)| {
            let fault = settle(slot, planned.kind, planned.required).err()?;
            Some((planned, slot, fault))
        });
        let (planned, slot, fault) = faults.min_by_key(|(.., fault)| fault.reason())?;
        Some(Refusal::field(planned, slot, fault))
    }
}

fn paths(fields: &[Field], envelope: Envelope) -> Vec<(Vec<String>, usize)> {
    let first_free = fields.len();
    let fields = fields.iter().map(|field| &field.path).zip(0..);
    match envelope {
        Envelope::None => fields.map(|(path, slot)| (path.clone(), slot)).collect(),
        Envelope::Debezium => {
            let members = debezium::member_paths().into_iter().map(|(path, slot)| (path, first_free + slot));
            let fields = fields.flat_map(|(path, slot)| debezium::paths(path).map(|path| (path, slot)));
            fields.chain(members).collect()
        }
    }
}
