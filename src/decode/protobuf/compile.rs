//! From a message's descriptor and the declared fields to a program.
//!
//! Owns: which fields are wanted, what presence and defaults mean in proto2, proto3 and editions. Does not own: reading
//! bytes ([`super::program`]).

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, Value};

use super::program::{Constant, Enum, Field, Leaf, Message, Program, Step};
use crate::decode::{
    shape::Node,
    slot::Slot,
    target::{Target, float},
};

pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";
/// Messages that stand for one value that may be absent.
pub(super) const WRAPPERS: [&str; 9] = [
    "google.protobuf.DoubleValue",
    "google.protobuf.FloatValue",
    "google.protobuf.Int64Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Int32Value",
    "google.protobuf.UInt32Value",
    "google.protobuf.BoolValue",
    "google.protobuf.StringValue",
    "google.protobuf.BytesValue",
];

/// A field, what is done with it, and all the slots that it fills.
type Wanted = (FieldDescriptor, Field, Target);

pub(super) fn compile(message: &MessageDescriptor, root: &Node) -> Program {
    let mut program = Program::default();
    program.add(message.fields(), root);
    program
}

impl Program {
    /// Adds a message; goes no deeper than the declared paths.
    fn add(&mut self, fields: impl Iterator<Item = FieldDescriptor>, node: &Node) -> usize {
        let index = self.messages.len();
        // Its place is taken before those within it are added.
        self.messages.push(Message::new(Vec::new(), Vec::new()));
        let (mut wanted, mut defaults) = (Vec::new(), Vec::new());
        let (fields, mut passed): (Vec<_>, Vec<_>) = (fields.collect(), Vec::new());
        for field in fields {
            let Some(below) = node.get(field.name()).or_else(|| node.get(field.json_name())) else {
                passed.push(field);
                continue;
            };
            let (step, target) = self.step(&field, below);
            if let (Step::Leaf(leaf), Some(value)) = (&step, default(&field)) {
                defaults.push((target.clone(), constant(*leaf, value)));
            }
            wanted.push((field, Field::new(step, target), Target::whole(below)));
        }
        passed.retain(|field| field.containing_oneof().is_some_and(|of| has_member(&wanted, &of)));
        let nowhere = Target::Many(vec![], vec![]);
        wanted.extend(
            passed.into_iter().map(|field| (field, Field::new(Step::Passed, nowhere.clone()), nowhere.clone())),
        );
        let fields = (0..wanted.len()).map(|at| (wanted[at].0.number(), rivals(&wanted, at))).collect::<Vec<_>>();
        let fields = fields.into_iter().zip(wanted).map(|((number, (others, other_messages)), (_, field, _))| Field {
            number,
            others,
            other_messages,
            ..field
        });
        self.messages[index] = Message::new(fields.collect(), defaults);
        index
    }

    fn step(&mut self, field: &FieldDescriptor, node: &Node) -> (Step, Target) {
        if field.is_map() {
            return (self.map(field, node), Target::outside(node));
        }
        if field.cardinality() == Cardinality::Repeated {
            return (Step::Repeated, Target::whole(node));
        }
        let Kind::Message(message) = field.kind() else {
            return (Step::Leaf(self.leaf_of(&field.kind())), Target::whole(node));
        };
        let is_value = node.below.is_empty();
        match message.full_name() {
            TIMESTAMP if is_value => (Step::Timestamp, Target::whole(node)),
            name if is_value && WRAPPERS.contains(&name) => match message.get_field(1) {
                Some(value) => (Step::Wrapper(self.leaf_of(&value.kind())), Target::whole(node)),
                None => (Step::Repeated, Target::whole(node)),
            },
            _ => {
                let inside = self.add(message.fields(), node);
                let step = if field.is_group() { Step::Group(inside) } else { Step::Message(inside) };
                (step, Target::outside(node))
            }
        }
    }

    /// Entries of a map whose keys are texts; others have no paths that lead to them.
    fn map(&mut self, field: &FieldDescriptor, node: &Node) -> Step {
        let Kind::Message(entry) = field.kind() else { return Step::Repeated };
        if entry.map_entry_key_field().kind() != Kind::String {
            return Step::Map(vec![]);
        }
        let mut entries = Vec::new();
        for (name, below) in node.members() {
            let (step, target) = self.step(&entry.map_entry_value_field(), below);
            let default = if let Step::Leaf(leaf) = &step { Some((target.clone(), nought(*leaf))) } else { None };
            let field = Field { number: 2, ..Field::new(step, target) };
            self.messages.push(Message::new(vec![field], default.into_iter().collect()));
            entries.push((name.to_owned(), self.messages.len() - 1));
        }
        Step::Map(entries)
    }

    fn leaf_of(&mut self, kind: &Kind) -> Leaf {
        match kind {
            Kind::Double => Leaf::Double,
            Kind::Float => Leaf::Float,
            Kind::Int32 => Leaf::Int32,
            Kind::Int64 => Leaf::Int64,
            Kind::Uint32 => Leaf::Uint32,
            Kind::Uint64 => Leaf::Uint64,
            Kind::Sint32 => Leaf::Sint32,
            Kind::Sint64 => Leaf::Sint64,
            Kind::Fixed32 => Leaf::Fixed32,
            Kind::Fixed64 => Leaf::Fixed64,
            Kind::Sfixed32 => Leaf::Sfixed32,
            Kind::Sfixed64 => Leaf::Sfixed64,
            Kind::Bool => Leaf::Bool,
            Kind::String => Leaf::Text,
            Kind::Enum(of) => self.enumeration(of),
            // A message is no leaf, and its bytes are.
            Kind::Bytes | Kind::Message(_) => Leaf::Bytes,
        }
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> Leaf {
        let mut names: Vec<_> = of.values().map(|value| (value.number(), value.name().to_owned())).collect();
        // Of several names of one number the first is the one.
        names.sort_by_key(|(number, _)| *number);
        names.dedup_by_key(|(number, _)| *number);
        self.enums.push(Enum(names));
        Leaf::Enum(self.enums.len() - 1)
    }
}

fn has_member(wanted: &[Wanted], of: &OneofDescriptor) -> bool {
    wanted.iter().any(|(field, ..)| field.containing_oneof().as_ref() == Some(of))
}

/// What a field takes the place of: the other wanted members of its oneof.
fn rivals(wanted: &[Wanted], at: usize) -> (Vec<Target>, Vec<usize>) {
    let Some(of) = wanted[at].0.containing_oneof() else { return (vec![], vec![]) };
    let rivals = || {
        let others = wanted.iter().enumerate().filter(|(other, _)| *other != at);
        others.filter(|(_, (field, ..))| field.containing_oneof().as_ref() == Some(&of)).map(|(_, rival)| rival)
    };
    let messages = rivals().filter_map(|(_, field, _)| match &field.step {
        Step::Message(index) | Step::Group(index) => Some(*index),
        _ => None,
    });
    (rivals().map(|(.., whole)| whole.clone()).collect(), messages.collect())
}

/// What a field that is not written has: where its absence can't be told, and where its schema says so.
fn default(field: &FieldDescriptor) -> Option<Value> {
    let said = field.field_descriptor_proto().default_value.is_some();
    (said || !field.supports_presence()).then(|| field.default_value())
}

fn constant(leaf: Leaf, value: Value) -> Constant {
    match (leaf, value) {
        (Leaf::Enum(which), Value::EnumNumber(number)) => Constant::Enum(which, number),
        (_, Value::Bool(value)) => Constant::Plain(Slot::Bool(value)),
        (_, Value::I32(value)) => Constant::Plain(Slot::Int(i64::from(value))),
        (_, Value::I64(value)) => Constant::Plain(Slot::Int(value)),
        (_, Value::U32(value)) => Constant::Plain(Slot::Int(i64::from(value))),
        (_, Value::U64(value)) => Constant::Plain(i64::try_from(value).map_or(Slot::Huge(value), Slot::Int)),
        (_, Value::F32(value)) => Constant::Plain(float(f64::from(value))),
        (_, Value::F64(value)) => Constant::Plain(float(value)),
        (_, Value::String(text)) => Constant::Text(text),
        (_, Value::Bytes(bytes)) => Constant::Bytes(bytes.to_vec()),
        (leaf, _) => nought(leaf),
    }
}

fn nought(leaf: Leaf) -> Constant {
    match leaf {
        Leaf::Enum(which) => Constant::Enum(which, 0),
        Leaf::Bytes => Constant::Bytes(vec![]),
        leaf => Constant::Plain(leaf.nought()),
    }
}
