//! JSON: one pass over a record finds the declared fields' values and steps over the rest.
//!
//! Owns: how JSON is read. Does not own: whether a value suits its field. Most records are read by `plain`, which is quick;
//! the others, and all that are faulty, by the parser. Neither goes deeper than the declared paths; what lies beyond them is
//! skipped without recursion, so that no nesting can exhaust the stack.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    Reader,
    plan::Plan,
    refusal::Refusal,
    shape::{MemberOrder, Node},
    slot::Slot,
};
use crate::record::Reason;

mod bare;
mod plain;

/// What is known of the records before any is seen.
#[derive(Debug)]
pub(super) struct Json {
    root: Node,
    nodes: usize,
}

impl Json {
    pub(super) fn new(plan: &Plan) -> Self {
        let (root, nodes) = Node::tree(plan.paths());
        Self { root, nodes }
    }
}

/// Reads the records of one batch.
#[derive(Debug)]
pub(super) struct JsonReader<'a> {
    root: &'a Node,
    plan: &'a Plan,
    values: Values<'a>,
}

impl<'a> JsonReader<'a> {
    pub(super) fn new(json: &'a Json, plan: &'a Plan) -> Self {
        Self { root: &json.root, plan, values: Values::new(plan.slots(), json.nodes) }
    }
}

impl<'a> Reader<'a> for JsonReader<'a> {
    #[inline]
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let json = str::from_utf8(bytes).map_err(|error| Refusal::not_utf8(Reason::NotJson, error))?;
        match self.values.read(self.root, json) {
            Ok(Shape::Object) => Ok(()),
            Ok(Shape::Other) => Err(Refusal::not_an_object()),
            Err(error) => Err(self.unreadable(json, &error)),
        }
    }

    #[inline]
    fn slots(&mut self) -> &mut [Slot<'a>] {
        &mut self.values.slots
    }
}

impl JsonReader<'_> {
    /// A record at which the parser stopped: no JSON, unless numbers that JSON can't write are all that is wrong with it.
    #[cold]
    fn unreadable(&mut self, json: &str, error: &serde_json::Error) -> Refusal {
        let quoted = if bare::is_at(json, error) { bare::quote(json) } else { None };
        let Some(quoted) = quoted else { return Refusal::not_json(error) };
        let mut again = self.values.lend_order();
        let refusal = match again.read(self.root, &quoted) {
            Ok(Shape::Object) => {
                bare::unmark(&mut again.slots);
                self.plan.gravest(&mut again.slots, 0).unwrap_or_else(Refusal::not_finite_elsewhere)
            }
            Ok(Shape::Other) => Refusal::not_an_object(),
            Err(_) => Refusal::not_json(error),
        };
        self.values.take_order_back(again);
        refusal
    }
}

/// What stands at the top of a record, or on the way to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Object,
    Other,
}

/// The values of one record, one slot for each declared field; kept from record to record for its memory.
#[derive(Debug)]
struct Values<'a> {
    slots: Vec<Slot<'a>>,
    orders: Vec<MemberOrder>,
}

impl<'a> Values<'a> {
    fn new(fields: usize, nodes: usize) -> Self {
        Self { slots: vec![Slot::Absent; fields], orders: vec![MemberOrder::new(); nodes] }
    }

    /// Values for a text that lives shorter, which go on with what these have learnt of the order of members.
    fn lend_order<'b>(&mut self) -> Values<'b> {
        Values { slots: vec![Slot::Absent; self.slots.len()], orders: std::mem::take(&mut self.orders) }
    }

    fn take_order_back(&mut self, from: Values<'_>) {
        self.orders = from.orders;
    }

    /// Reads one record, the whole of it, into the slots; after an error they hold nothing of meaning.
    #[inline]
    fn read(&mut self, root: &Node, json: &'a str) -> serde_json::Result<Shape> {
        if plain::read(root, json, self) { Ok(Shape::Object) } else { self.parse(root, json) }
    }

    #[cold]
    fn parse(&mut self, root: &Node, json: &'a str) -> serde_json::Result<Shape> {
        let mut parser = serde_json::Deserializer::from_str(json);
        let shape = ValueOf { node: root, values: self }.deserialize(&mut parser)?;
        parser.end()?;
        Ok(shape)
    }

    #[inline]
    fn clear(&mut self, fields: &[usize]) {
        for &field in fields {
            if let Some(slot) = self.slots.get_mut(field) {
                *slot = Slot::Absent;
            }
        }
    }

    #[inline]
    fn put(&mut self, fields: &[usize], value: Slot<'a>) {
        if let [field] = fields {
            if let Some(slot) = self.slots.get_mut(*field) {
                *slot = value;
            }
        } else {
            self.put_all(fields, &value);
        }
    }

    fn put_all(&mut self, fields: &[usize], value: &Slot<'a>) {
        for &field in fields {
            if let Some(slot) = self.slots.get_mut(field) {
                slot.clone_from(value);
            }
        }
    }
}

/// The value of a member that fields are read from, or lie below of.
struct ValueOf<'v, 'a> {
    node: &'v Node,
    values: &'v mut Values<'a>,
}

impl<'a> ValueOf<'_, 'a> {
    /// A value that is no object. The last of several members of one name wins, hence what an earlier one left below goes.
    #[inline]
    fn leaf(self, value: Slot<'a>) -> Shape {
        if !self.node.below.is_empty() {
            let below = if matches!(value, Slot::Null) { Slot::Absent } else { Slot::NoObject };
            self.values.put_all(&self.node.below, &below);
        }
        self.values.put(&self.node.fields, value);
        Shape::Other
    }
}

impl<'a> DeserializeSeed<'a> for ValueOf<'_, 'a> {
    type Value = Shape;

    #[inline]
    fn deserialize<D: Deserializer<'a>>(self, parser: D) -> Result<Shape, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ValueOf<'_, 'a> {
    type Value = Shape;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    #[inline]
    fn visit_bool<E: Error>(self, value: bool) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Bool(value)))
    }

    #[inline]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Int(value)))
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Shape, E> {
        Ok(self.leaf(i64::try_from(value).map_or(Slot::Huge(value), Slot::Int)))
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Float(value)))
    }

    #[inline]
    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Text(Cow::Borrowed(value))))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        Ok(self.leaf(Slot::Null))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Shape, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.leaf(Slot::Array))
    }

    #[inline]
    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Shape, A::Error> {
        let Self { node, values } = self;
        values.put_all(&node.fields, &Slot::Object);
        values.clear(&node.below);
        let mut place = 0;
        while let Some(member) = object.next_key_seed(NameIn { node, place, values: &mut *values })? {
            match member {
                Some(node) => object.next_value_seed(ValueOf { node, values: &mut *values }).map(drop)?,
                None => object.next_value::<IgnoredAny>().map(drop)?,
            }
            place += 1;
        }
        Ok(Shape::Object)
    }
}

/// The name of a member; gives its node, if any field needs it.
struct NameIn<'n, 'v, 'a> {
    node: &'n Node,
    place: usize,
    values: &'v mut Values<'a>,
}

impl<'n, 'a> DeserializeSeed<'a> for NameIn<'n, '_, 'a> {
    type Value = Option<&'n Node>;

    #[inline]
    fn deserialize<D: Deserializer<'a>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'n, 'a> Visitor<'a> for NameIn<'n, '_, 'a> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a member")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let order = self.values.orders.get_mut(self.node.id);
        Ok(order.and_then(|order| self.node.member(name, self.place, order)))
    }
}
