//! Fields of JSON: objects, lines of them, or Debezium's envelopes, whatever most records are.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    ANY_HOURS, Inferred, count, lines,
    seen::{Seen, Value},
};
use crate::decode::{Envelope, Format, JsonSettings};

/// What lies deeper is not looked at; a path has no more members.
const DEPTH_MAX: usize = 32;

/// A JSON value with its members in their order.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Bool,
    Int(i64),
    Float,
    Text(String),
    Array,
    Object(Vec<(String, Tree)>),
    TooDeep,
}

pub(super) fn infer<'v>(values: impl Iterator<Item = &'v [u8]> + Clone) -> Inferred {
    let settings = settings(values.clone());
    let (mut seen, mut odd, mut rows) = (Seen::default(), BTreeMap::new(), 0);
    for value in values {
        for row in rows_of(value, settings.lines.is_some()) {
            match row {
                Err(_) if value.is_empty() => count(&mut odd, "without a byte"),
                Err(_) => count(&mut odd, "not JSON"),
                Ok(tree) => match (settings.envelope, tree) {
                    (Envelope::None, Tree::Object(members)) => {
                        note(&mut seen, &mut vec![], &members);
                        rows += 1;
                    }
                    (Envelope::Debezium, Tree::Object(members)) => match after(&members) {
                        Some(members) => {
                            note(&mut seen, &mut vec![], members);
                            rows += 1;
                        }
                        None if op(&members).is_some() => {}
                        None => count(&mut odd, "no Debezium envelope"),
                    },
                    _ => count(&mut odd, "not an object"),
                },
            }
        }
    }
    let debezium = settings.envelope == Envelope::Debezium;
    let mut inferred = Inferred::new(Format::Json(settings), rows, &seen, odd);
    if debezium {
        inferred.members.iter_mut().for_each(|member| spell_out(&mut member.path));
    }
    inferred
}

/// A name that would lead out of `after` is reached through the envelope.
fn spell_out(path: &mut Vec<String>) {
    if path.first().is_some_and(|name| name.starts_with('@')) {
        path.insert(0, "@after".into());
    }
}

/// What most records are.
fn settings<'v>(values: impl Iterator<Item = &'v [u8]>) -> JsonSettings {
    let (mut objects, mut envelopes, mut several) = (0, 0, 0);
    for value in values {
        match parse(value) {
            Ok(Tree::Object(members)) => {
                objects += 1;
                envelopes += usize::from(op(&members).is_some());
            }
            Ok(_) => {}
            Err(_) => several += usize::from(lines(value).count() > 1 && lines(value).all(|line| parse(line).is_ok())),
        }
    }
    let debezium = envelopes > 0 && envelopes * 2 > objects;
    match several {
        0 if debezium => JsonSettings { lines: None, envelope: Envelope::Debezium },
        0 => JsonSettings::default(),
        _ => JsonSettings { lines: Some(ANY_HOURS), envelope: Envelope::None },
    }
}

fn rows_of(value: &[u8], several: bool) -> Vec<serde_json::Result<Tree>> {
    if several { lines(value).map(parse).collect() } else { vec![parse(value)] }
}

fn member<'t>(members: &'t [(String, Tree)], name: &str) -> Option<&'t Tree> {
    members.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// The members of the envelope, in a wrapper or not.
fn envelope(members: &[(String, Tree)]) -> &[(String, Tree)] {
    match member(members, "payload") {
        Some(Tree::Object(inner)) => inner,
        _ => members,
    }
}

fn op(members: &[(String, Tree)]) -> Option<&str> {
    match member(envelope(members), "op") {
        Some(Tree::Text(op)) if matches!(op.as_str(), "c" | "r" | "u" | "d" | "t" | "m") => Some(op),
        _ => None,
    }
}

fn after(members: &[(String, Tree)]) -> Option<&[(String, Tree)]> {
    match member(envelope(members), "after") {
        Some(Tree::Object(after)) if op(members).is_some() => Some(after),
        _ => None,
    }
}

fn note(seen: &mut Seen, path: &mut Vec<String>, members: &[(String, Tree)]) {
    // Of members with one name the last counts.
    let last: HashMap<&str, usize> = members.iter().map(|(name, _)| name.as_str()).zip(0..).collect();
    for (at, (name, value)) in members.iter().enumerate() {
        if last.get(name.as_str()) != Some(&at) {
            continue;
        }
        path.push(name.clone());
        seen.note(path, value.as_value());
        if let Tree::Object(members) = value {
            note(seen, path, members);
        }
        path.pop();
    }
}

impl Tree {
    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool => Value::Bool,
            Self::Int(value) => Value::Int(*value),
            Self::Float => Value::Float,
            Self::Text(text) => Value::Text(text),
            Self::Array => Value::Array,
            Self::Object(_) | Self::TooDeep => Value::Object,
        }
    }
}

fn parse(bytes: &[u8]) -> serde_json::Result<Tree> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let tree = TreeAt { depth: 0 }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(tree)
}

struct TreeAt {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for TreeAt {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Tree, D::Error> {
        if self.depth <= DEPTH_MAX {
            return parser.deserialize_any(self);
        }
        parser.deserialize_ignored_any(IgnoredAny)?;
        Ok(Tree::TooDeep)
    }
}

impl<'de> Visitor<'de> for TreeAt {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Bool)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(i64::try_from(value).map_or(Tree::Float, Tree::Int))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Float)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Tree, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tree::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
        let mut members = vec![];
        while let Some(name) = object.next_key()? {
            members.push((name, object.next_value_seed(TreeAt { depth: self.depth + 1 })?));
        }
        Ok(Tree::Object(members))
    }
}
