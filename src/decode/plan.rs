//! The declared fields as the readers of all formats need them.
//!
//! Owns: which slot is whose, and whether a record's values suit its fields. Does not own: how a value is found.

use super::{EventTime, refusal::Refusal, slot::Slot, value::settle};
use crate::record::{Field, FieldKind};

/// What is wanted of each record: a slot a field, in the order declared.
#[derive(Debug)]
pub(super) struct Plan {
    fields: Vec<Planned>,
}

#[derive(Debug)]
pub(super) struct Planned {
    /// Dotted, for people.
    pub(super) path: String,
    pub(super) kind: FieldKind,
    required: bool,
    members: Vec<String>,
}

impl Plan {
    pub(super) fn new(fields: &[Field], event_time: EventTime) -> Self {
        let planned = |(index, field): (usize, &Field)| Planned {
            path: field.path.join("."),
            kind: field.kind,
            required: !field.nullable || event_time == EventTime::Field(index),
            members: field.path.clone(),
        };
        Self { fields: fields.iter().enumerate().map(planned).collect() }
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
        Self::new(&paths.iter().map(field).collect::<Vec<_>>(), EventTime::Broker)
    }

    /// How many slots a record's values take.
    pub(super) fn slots(&self) -> usize {
        self.fields.len()
    }

    /// Where each slot is filled from.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&[String], usize)> {
        self.fields.iter().map(|planned| planned.members.as_slice()).zip(0..)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = FieldKind> {
        self.fields.iter().map(|planned| planned.kind)
    }

    pub(super) fn kind(&self, index: usize) -> Option<FieldKind> {
        self.fields.get(index).map(|planned| planned.kind)
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
