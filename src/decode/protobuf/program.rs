//! What is done with a message of one type, field by field: worked out once, then followed for every record.
//!
//! Owns: the steps, and following them. Does not own: which steps they are ([`super::compile`]).
//! Invariant: all that is read is borrowed from the record or from the program.

use std::borrow::Cow;

use super::wire::{Broken, Kind, Wire};
use crate::decode::{
    slot::{Slot, Unit},
    target::{Target, float},
};

/// Field numbers below this are found at once.
const DIRECT_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Program {
    /// The first is the record.
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
}

/// One message on the way to the declared fields; another place of the same type is another of these.
#[derive(Debug)]
pub(super) struct Message {
    /// For each number, one more than the index of its field; nought where nothing is wanted.
    direct: Vec<u16>,
    /// By number, those beyond.
    fields: Vec<Field>,
    /// What holds as soon as the message is there, and is not written where it holds.
    pub(super) defaults: Vec<(Target, Constant)>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) step: Step,
    pub(super) target: Target,
    /// The other members of its oneof, which it takes the place of, and the messages among them.
    pub(super) others: Vec<Target>,
    pub(super) other_messages: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Step {
    Leaf(Leaf),
    Message(usize),
    /// A message of the same name in groups, as proto2 has them.
    Group(usize),
    /// A value that may be absent, in a message of its own.
    Wrapper(Leaf),
    Timestamp,
    Repeated,
    /// Not wanted, but another member of its oneof is.
    Passed,
    /// The entries that fields are read from, by key.
    Map(Vec<(String, usize)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Bytes,
    /// Which of the program's enums.
    Enum(usize),
}

/// The names of an enum's numbers, by number.
#[derive(Debug)]
pub(super) struct Enum(pub(super) Vec<(i32, String)>);

#[derive(Clone, Debug)]
pub(super) enum Constant {
    Plain(Slot<'static>),
    Text(String),
    Bytes(Vec<u8>),
    Enum(usize, i32),
}

impl Field {
    /// Its number and what it takes the place of are told later.
    pub(super) fn new(step: Step, target: Target) -> Self {
        Self { number: 0, step, target, others: Vec::new(), other_messages: Vec::new() }
    }
}

impl Message {
    pub(super) fn new(mut fields: Vec<Field>, defaults: Vec<(Target, Constant)>) -> Self {
        fields.sort_by_key(|field| field.number);
        let mut direct = vec![0; DIRECT_MAX];
        for (field, place) in fields.iter().zip(1..) {
            if let Some(at) = direct.get_mut(field.number as usize) {
                *at = place;
            }
        }
        Self { direct, fields, defaults }
    }

    #[inline]
    fn field(&self, number: u32) -> Option<&Field> {
        if let Some(place) = self.direct.get(number as usize) {
            return self.fields.get(usize::from(place.checked_sub(1)?));
        }
        let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(at)
    }
}

impl Program {
    /// Reads a whole record into the slots, which are all absent before. `seen` is kept from record to record for its
    /// memory: which messages have begun, because a message that is written in parts begins once.
    #[inline]
    pub(super) fn run<'a>(
        &'a self,
        bytes: &'a [u8],
        seen: &mut Vec<bool>,
        slots: &mut [Slot<'a>],
    ) -> Result<(), (Broken, usize)> {
        seen.clear();
        seen.resize(self.messages.len(), false);
        let mut wire = Wire::new(bytes);
        self.message(0, None, &mut wire, seen, slots).map_err(|broken| (broken, wire.rest().len()))
    }

    /// Goes no deeper than the declared paths.
    fn message<'a>(
        &'a self,
        index: usize,
        group: Option<u32>,
        wire: &mut Wire<'a>,
        seen: &mut [bool],
        slots: &mut [Slot<'a>],
    ) -> Result<(), Broken> {
        let message = &self.messages[index];
        if !std::mem::replace(&mut seen[index], true) {
            message.defaults.iter().for_each(|(target, constant)| target.put(slots, self.constant(constant)));
        }
        while !wire.is_empty() {
            let (number, kind) = wire.tag()?;
            if kind == Kind::GroupEnd && group == Some(number) {
                return Ok(());
            }
            match message.field(number) {
                None => wire.skip(number, kind)?,
                Some(field) => self.field(field, kind, wire, seen, slots)?,
            }
        }
        if group.is_some() { Err(Broken::Ends) } else { Ok(()) }
    }

    #[inline]
    fn field<'a>(
        &'a self,
        field: &'a Field,
        kind: Kind,
        wire: &mut Wire<'a>,
        seen: &mut [bool],
        slots: &mut [Slot<'a>],
    ) -> Result<(), Broken> {
        field.others.iter().for_each(|other| other.put(slots, Slot::Absent));
        field.other_messages.iter().for_each(|message| seen[*message] = false);
        match &field.step {
            Step::Leaf(leaf) if leaf.kind() == kind => field.target.put(slots, self.leaf(*leaf, wire)?),
            Step::Message(index) if kind == Kind::Counted => {
                field.target.put(slots, Slot::Object);
                self.message(*index, None, &mut Wire::new(wire.counted()?), seen, slots)?;
            }
            Step::Group(index) if kind == Kind::Group => {
                field.target.put(slots, Slot::Object);
                self.message(*index, Some(field.number), wire, seen, slots)?;
            }
            Step::Wrapper(leaf) if kind == Kind::Counted => {
                field.target.put(slots, self.wrapped(*leaf, wire.counted()?)?);
            }
            Step::Timestamp if kind == Kind::Counted => field.target.put(slots, timestamp(wire.counted()?)?),
            Step::Passed => wire.skip(field.number, kind)?,
            Step::Repeated => {
                wire.skip(field.number, kind)?;
                field.target.put(slots, Slot::Array);
            }
            Step::Map(wanted) if kind == Kind::Counted => {
                field.target.put(slots, Slot::Object);
                self.entry(wire.counted()?, wanted, seen, slots)?;
            }
            _ => return Err(Broken::Kind(field.number)),
        }
        Ok(())
    }

    fn leaf<'a>(&'a self, leaf: Leaf, wire: &mut Wire<'a>) -> Result<Slot<'a>, Broken> {
        Ok(match leaf {
            Leaf::Double => float(f64::from_le_bytes(wire.array()?)),
            Leaf::Float => float(f64::from(f32::from_le_bytes(wire.array()?))),
            Leaf::Int64 => Slot::Int(wire.number()?.cast_signed()),
            Leaf::Int32 => Slot::Int(i64::from(low(wire.number()?).cast_signed())),
            Leaf::Text => Slot::Text(Cow::Borrowed(str::from_utf8(wire.counted()?).map_err(|_| Broken::Utf8)?)),
            Leaf::Bool => Slot::Bool(wire.number()? != 0),
            Leaf::Enum(which) => self.named(which, low(wire.number()?).cast_signed()),
            Leaf::Uint32 => Slot::Int(i64::from(low(wire.number()?))),
            Leaf::Uint64 => unsigned(wire.number()?),
            Leaf::Sint32 => {
                Slot::Int(i64::from(low(zigzag(u64::from(low(wire.number()?))).cast_unsigned()).cast_signed()))
            }
            Leaf::Sint64 => Slot::Int(zigzag(wire.number()?)),
            Leaf::Fixed32 => Slot::Int(i64::from(u32::from_le_bytes(wire.array()?))),
            Leaf::Fixed64 => unsigned(u64::from_le_bytes(wire.array()?)),
            Leaf::Sfixed32 => Slot::Int(i64::from(i32::from_le_bytes(wire.array()?))),
            Leaf::Sfixed64 => Slot::Int(i64::from_le_bytes(wire.array()?)),
            Leaf::Bytes => Slot::Bytes(wire.counted()?),
        })
    }

    fn named(&self, which: usize, number: i32) -> Slot<'_> {
        let names = self.enums.get(which).map(|names| names.0.as_slice()).unwrap_or_default();
        match names.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) => Slot::Text(Cow::Borrowed(names[at].1.as_str())),
            // Of a newer schema than this one.
            Err(_) => Slot::Int(i64::from(number)),
        }
    }

    fn wrapped<'a>(&'a self, leaf: Leaf, bytes: &'a [u8]) -> Result<Slot<'a>, Broken> {
        let (mut wire, mut value) = (Wire::new(bytes), leaf.nought());
        while !wire.is_empty() {
            match wire.tag()? {
                (1, kind) if kind == leaf.kind() => value = self.leaf(leaf, &mut wire)?,
                (1, _) => return Err(Broken::Kind(1)),
                (field, kind) => wire.skip(field, kind)?,
            }
        }
        Ok(value)
    }

    /// An entry is a message with the key as field 1; its program reads field 2.
    fn entry<'a>(
        &'a self,
        bytes: &'a [u8],
        wanted: &[(String, usize)],
        seen: &mut [bool],
        slots: &mut [Slot<'a>],
    ) -> Result<(), Broken> {
        let (mut wire, mut key) = (Wire::new(bytes), "");
        while !wire.is_empty() {
            match wire.tag()? {
                (1, Kind::Counted) => key = str::from_utf8(wire.counted()?).map_err(|_| Broken::Utf8)?,
                (field, kind) => wire.skip(field, kind)?,
            }
        }
        let Some((_, index)) = wanted.iter().find(|(name, _)| name == key) else { return Ok(()) };
        // The last entry of a key is the one that holds.
        seen[*index] = false;
        self.message(*index, None, &mut Wire::new(bytes), seen, slots)
    }

    fn constant<'a>(&'a self, constant: &'a Constant) -> Slot<'a> {
        match constant {
            Constant::Plain(slot) => slot.clone(),
            Constant::Text(text) => Slot::Text(Cow::Borrowed(text)),
            Constant::Bytes(bytes) => Slot::Bytes(bytes),
            Constant::Enum(which, number) => self.named(*which, *number),
        }
    }
}

impl Leaf {
    #[inline]
    fn kind(self) -> Kind {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Kind::Eight,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Kind::Four,
            Self::Text | Self::Bytes => Kind::Counted,
            _ => Kind::Number,
        }
    }

    /// What holds where nothing is written.
    pub(super) fn nought<'a>(self) -> Slot<'a> {
        match self {
            Self::Double | Self::Float => Slot::Float(0.0),
            Self::Bool => Slot::Bool(false),
            Self::Text => Slot::Text(Cow::Borrowed("")),
            Self::Bytes => Slot::Bytes(&[]),
            _ => Slot::Int(0),
        }
    }
}

fn unsigned<'a>(number: u64) -> Slot<'a> {
    i64::try_from(number).map_or(Slot::Huge(number), Slot::Int)
}

/// Its lower half; a 32-bit number may be written in more bytes than it needs.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is to go")]
fn low(number: u64) -> u32 {
    number as u32
}

fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// A `google.protobuf.Timestamp`: as fine as it is written, where that fits.
fn timestamp<'a>(bytes: &[u8]) -> Result<Slot<'a>, Broken> {
    let (mut wire, mut seconds, mut nanos) = (Wire::new(bytes), 0, 0);
    while !wire.is_empty() {
        match wire.tag()? {
            (1, Kind::Number) => seconds = i128::from(wire.number()?.cast_signed()),
            (2, Kind::Number) => nanos = i128::from(low(wire.number()?).cast_signed()),
            (field @ (1 | 2), _) => return Err(Broken::Kind(field)),
            (field, kind) => wire.skip(field, kind)?,
        }
    }
    let time = seconds * 1_000_000_000 + nanos;
    let fits = i64::try_from(time).map(|time| Slot::Instant(time, Unit::Nanos));
    let coarser = || i64::try_from(time.div_euclid(1_000)).map(|time| Slot::Instant(time, Unit::Micros));
    // Beyond that it is no time that a column holds.
    Ok(fits.or_else(|_| coarser()).unwrap_or(Slot::Huge(u64::MAX)))
}
