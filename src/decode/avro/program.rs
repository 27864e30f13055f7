//! What is done with a record of one writer's schema, value by value: worked out once, then followed for every record.
//!
//! Owns: the steps, and following them. Does not own: which steps they are ([`super::compile`]).
//! Invariant: a step borrows from the record or from the program; only a UUID in 16 bytes becomes a text of its own.

use std::borrow::Cow;

use super::{
    schema::TypeId,
    skip::Skips,
    wire::{Broken, Wire},
};
use crate::{
    decode::{
        slot::{Slot, Unit},
        target::{Target, float, set},
    },
    record::Reason,
};

#[derive(Debug)]
pub(in crate::decode) struct Program {
    pub(super) root: Step,
    pub(super) skips: Skips,
    pub(super) misfits: Vec<Misfit>,
}

/// Something of the writer's that the reader's schema has no place for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) reason: Reason,
    pub(super) told: String,
}

#[derive(Debug)]
pub(super) enum Step {
    Skip(TypeId),
    Null(Target),
    Leaf(Leaf, Target),
    Enum(Vec<Symbol>, Target),
    /// All fields in the writer's order, then those that the writer does not have.
    Record(Vec<Step>, Vec<Constant>, Target),
    Union(Vec<Step>),
    Array(TypeId, Target),
    /// The entries that fields are read from, by key.
    Map(TypeId, Vec<(String, Step)>, Target),
    Misfit(usize),
}

/// How a value without parts is written, and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf {
    Bool,
    Int(Whole),
    Long(Whole),
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Decimal(u32),
    FixedDecimal(usize, u32),
    Uuid,
}

/// What a whole number stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whole {
    Number,
    Single,
    Double,
    Days,
    Instant(Unit),
}

#[derive(Debug)]
pub(super) enum Symbol {
    Text(String),
    Misfit(usize),
}

/// A default of the reader's schema.
#[derive(Debug)]
pub(super) struct Constant {
    pub(super) slot: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// What holds nothing of its own.
    Plain(Slot<'static>),
    Text(String),
    Bytes(Vec<u8>),
    Decimal(Vec<u8>, u32),
    Misfit(usize),
}

impl Program {
    /// Reads a whole record into the slots, which are all absent before.
    #[inline]
    pub(super) fn run<'a>(&'a self, wire: &mut Wire<'a>, slots: &mut [Slot<'a>]) -> Result<(), Broken> {
        self.step(&self.root, wire, slots)
    }

    /// Goes no deeper than the declared paths.
    fn step<'a>(&'a self, step: &'a Step, wire: &mut Wire<'a>, slots: &mut [Slot<'a>]) -> Result<(), Broken> {
        match step {
            Step::Skip(id) => self.skips.skip(*id, wire)?,
            Step::Leaf(leaf, target) => target.put(slots, leaf.read(wire)?),
            Step::Null(target) => target.put(slots, Slot::Null),
            Step::Union(branches) => {
                let branch = wire.choice(branches.len(), Broken::Branch)?;
                self.step(&branches[branch], wire, slots)?;
            }
            Step::Record(steps, constants, target) => {
                target.put(slots, Slot::Object);
                steps.iter().try_for_each(|step| self.step(step, wire, slots))?;
                constants.iter().try_for_each(|constant| constant.put(slots))?;
            }
            Step::Enum(symbols, target) => match &symbols[wire.choice(symbols.len(), Broken::Symbol)?] {
                Symbol::Text(text) => target.put(slots, Slot::Text(Cow::Borrowed(text))),
                Symbol::Misfit(index) => return Err(Broken::Misfit(*index)),
            },
            Step::Array(items, target) => {
                self.skips.all(*items, false, wire)?;
                target.put(slots, Slot::Array);
            }
            Step::Map(values, wanted, target) => {
                target.put(slots, Slot::Object);
                self.entries(*values, wanted, wire, slots)?;
            }
            Step::Misfit(index) => return Err(Broken::Misfit(*index)),
        }
        Ok(())
    }

    fn entries<'a>(
        &'a self,
        values: TypeId,
        wanted: &'a [(String, Step)],
        wire: &mut Wire<'a>,
        slots: &mut [Slot<'a>],
    ) -> Result<(), Broken> {
        while let Some((count, _)) = wire.block()? {
            for _ in 0..count {
                let key = wire.text()?;
                match wanted.iter().find(|(name, _)| name == key) {
                    Some((_, step)) => self.step(step, wire, slots)?,
                    None => self.skips.skip(values, wire)?,
                }
            }
        }
        Ok(())
    }
}

impl Leaf {
    #[inline]
    fn read<'a>(self, wire: &mut Wire<'a>) -> Result<Slot<'a>, Broken> {
        Ok(match self {
            Self::Int(what) => what.of(wire.int()?),
            Self::Long(what) => what.of(wire.long()?),
            Self::Double => float(f64::from_le_bytes(wire.array()?)),
            Self::Float => float(f64::from(f32::from_le_bytes(wire.array()?))),
            Self::Text => Slot::Text(Cow::Borrowed(wire.text()?)),
            Self::Bool => Slot::Bool(wire.bool()?),
            Self::Bytes => Slot::Bytes(wire.bytes()?),
            Self::Fixed(size) => Slot::Bytes(wire.take(size)?),
            Self::Decimal(scale) => Slot::Decimal(wire.bytes()?, scale),
            Self::FixedDecimal(size, scale) => Slot::Decimal(wire.take(size)?, scale),
            Self::Uuid => Slot::Text(Cow::Owned(uuid::Uuid::from_bytes(wire.array()?).to_string())),
        })
    }
}

impl Whole {
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "a promotion gives the nearest float, as the specification has it")]
    pub(super) fn of<'a>(self, value: i64) -> Slot<'a> {
        match self {
            Self::Number => Slot::Int(value),
            Self::Double => Slot::Float(value as f64),
            Self::Single => Slot::Float(f64::from(value as f32)),
            Self::Days => Slot::Days(value),
            Self::Instant(unit) => Slot::Instant(value, unit),
        }
    }
}

impl Constant {
    fn put<'a>(&'a self, slots: &mut [Slot<'a>]) -> Result<(), Broken> {
        let value = match &self.value {
            Value::Plain(slot) => slot.clone(),
            Value::Text(text) => Slot::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Slot::Bytes(bytes),
            Value::Decimal(bytes, scale) => Slot::Decimal(bytes, *scale),
            Value::Misfit(index) => return Err(Broken::Misfit(*index)),
        };
        set(slots, self.slot, value);
        Ok(())
    }
}
