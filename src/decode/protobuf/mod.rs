//! Protobuf: a record's binary form, read by its writer's descriptor.
//!
//! Owns: which message a record is. Does not own: where schemas come from.
//!
//! What is to be done is worked out once for each message ([`compile`]) and then followed for each record ([`program`]):
//! one pass, which borrows what fields are read from and steps over the rest. No message is built.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, FileDescriptor, MessageDescriptor, prost::Message as _, prost_types::FileDescriptorProto,
};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};

use self::program::Program;
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

mod base64;
mod compile;
mod describe;
mod program;
#[cfg(test)]
mod tests;
mod wire;

/// Messages within messages whose place a record may tell.
const INDEXES_MAX: u64 = 32;
/// The name under which the text of a schema is compiled; imports have names of their own.
const REGISTERED: &str = "registered/by/its/id.proto";

/// How records in Protobuf are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtobufSettings {
    /// A schema's id and the message's place in it stand before each record.
    pub framed: bool,
    /// What records are written by; without it the registry says.
    pub schema: Option<ProtobufSchema>,
    /// What a record is; without it the record says.
    pub message: Option<String>,
    pub envelope: Envelope,
}

/// A message's type, with all that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtobufSchema(MessageDescriptor);

impl ProtobufSchema {
    /// From a set of descriptors as `protoc` writes it, or from the text of one file.
    pub fn parse(file: &[u8], message: &str) -> Result<Self, String> {
        let pool = match (DescriptorPool::decode(file), str::from_utf8(file)) {
            (Ok(pool), _) => pool,
            (Err(_), Ok(text)) => compiled(text, HashMap::new())?.0,
            (Err(error), Err(_)) => return Err(format!("not a set of descriptors: {error}")),
        };
        let found = pool.get_message_by_name(message.trim_start_matches('.'));
        found.map(Self).ok_or_else(|| format!("it has no message {message:?}"))
    }
}

/// What a schema of the registry says of a message's fields; of its first message if none is named.
pub(super) fn describe(schema: &Schema, message: Option<&str>) -> Result<Vec<Described>, String> {
    let (pool, file) = compiled(&schema.text, imports(schema))?;
    let found = match message {
        Some(name) => pool.get_message_by_name(name),
        None => file.messages().next(),
    };
    found.map(|message| describe::describe(&message)).ok_or_else(|| "it has no such message".to_owned())
}

fn imports(schema: &Schema) -> HashMap<String, String> {
    schema.imports.iter().map(|import| (import.name.clone(), import.text.clone())).collect()
}

/// The format, with what can be worked out before there are records.
#[derive(Debug)]
pub(super) struct Protobuf {
    root: Node,
    framed: bool,
    message: Option<String>,
    program: Option<Program>,
}

/// The messages of one schema of the registry, as records name them.
#[derive(Debug)]
pub(super) struct Messages(Vec<Listed>);

#[derive(Debug)]
struct Listed {
    name: String,
    program: Program,
    within: Messages,
}

impl Protobuf {
    pub(super) fn new(plan: &Plan, settings: &ProtobufSettings) -> Self {
        let (root, _) = Node::tree(plan.paths());
        let program = settings.schema.as_ref().map(|schema| compile::compile(&schema.0, &root));
        Self { framed: settings.framed, message: settings.message.clone(), program, root }
    }

    /// Whether records name their schemas by ids that are to be asked for.
    pub(super) fn asks_a_registry(&self) -> bool {
        self.framed && self.program.is_none()
    }

    pub(super) fn learn(&self, schema: &Schema) -> Lesson {
        match compiled(&schema.text, imports(schema)) {
            Ok((_, file)) => Lesson::Protobuf(Messages::of(file.messages(), &self.root)),
            Err(why) => Lesson::Unusable(why),
        }
    }

    pub(super) fn reader<'a>(&'a self, plan: &Plan, known: &'a Schemas) -> ProtobufReader<'a> {
        ProtobufReader { slots: vec![Slot::Absent; plan.slots()], seen: vec![], of: self, known, last: None }
    }
}

impl Messages {
    fn of(messages: impl Iterator<Item = MessageDescriptor>, root: &Node) -> Self {
        // The entries of maps are messages that nobody wrote, and have no place of their own.
        let written = messages.filter(|message| !message.is_map_entry());
        Self(written.map(|message| Listed::new(&message, root)).collect())
    }
}

impl Listed {
    fn new(message: &MessageDescriptor, root: &Node) -> Self {
        Self {
            name: message.full_name().to_owned(),
            program: compile::compile(message, root),
            within: Messages::of(message.child_messages(), root),
        }
    }
}

/// The texts that a schema imports, beside what Google defines.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        match described(name, text) {
            Some(file) => Ok(File::from_file_descriptor_proto(file)),
            None => File::from_source(name, text),
        }
    }
}

/// A descriptor in place of a text, as Confluent's serializers for Python register it; some registries keep it so.
fn described(name: &str, text: &str) -> Option<FileDescriptorProto> {
    let mut file = FileDescriptorProto::decode(base64::decoded(text)?.as_slice()).ok()?;
    file.name = Some(name.to_owned());
    Some(file)
}

fn compiled(text: &str, mut texts: HashMap<String, String>) -> Result<(DescriptorPool, FileDescriptor), String> {
    texts.insert(REGISTERED.to_owned(), text.to_owned());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file(REGISTERED).map_err(|error| error.to_string())?;
    let pool = compiler.descriptor_pool();
    let file = pool.get_file_by_name(REGISTERED).ok_or("it was not compiled")?;
    Ok((pool, file))
}

#[derive(Debug)]
pub(super) struct ProtobufReader<'a> {
    slots: Vec<Slot<'a>>,
    seen: Vec<bool>,
    of: &'a Protobuf,
    known: &'a Schemas,
    /// Whose schema it was last; mostly it is the same again.
    last: Option<(u32, &'a Messages)>,
}

impl<'a> ProtobufReader<'a> {
    /// What a record is, and the record without what tells it.
    #[inline]
    fn program(&mut self, bytes: &'a [u8]) -> Result<(&'a Program, &'a [u8]), Refusal> {
        if let (false, Some(program)) = (self.of.framed, &self.of.program) {
            return Ok((program, bytes));
        }
        let (id, rest) = confluent::split(bytes).ok_or_else(|| confluent::unframed(Reason::NotProtobuf, bytes))?;
        let mut wire = wire::Wire::new(rest);
        if let Some(program) = &self.of.program {
            indexes(&mut wire, |_| Some(())).ok_or_else(unplaced)?;
            return Ok((program, wire.rest()));
        }
        let messages = self.messages(id)?;
        let (mut within, mut found) = (messages, None);
        indexes(&mut wire, |index| {
            let listed = within.0.get(index)?;
            (within, found) = (&listed.within, Some(listed));
            Some(())
        })
        .ok_or_else(unplaced)?;
        let listed = found.ok_or_else(unplaced)?;
        match &self.of.message {
            Some(message) if *message != listed.name => Err(another(&listed.name, message)),
            _ => Ok((&listed.program, wire.rest())),
        }
    }

    fn messages(&mut self, id: u32) -> Result<&'a Messages, Refusal> {
        if let Some((last, messages)) = self.last
            && last == id
        {
            return Ok(messages);
        }
        match self.known.get(id) {
            Some(Lesson::Protobuf(messages)) => {
                self.last = Some((id, messages));
                Ok(messages)
            }
            other => Err(confluent::unknown(id, other)),
        }
    }
}

impl<'a> Reader<'a> for ProtobufReader<'a> {
    #[inline]
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let (program, body) = self.program(bytes)?;
        self.slots.fill(Slot::Absent);
        let ran = program.run(body, &mut self.seen, &mut self.slots);
        ran.map_err(|(broken, left)| {
            let told = format!("{}, about byte {}", broken.told(), bytes.len() - left + 1);
            Refusal::new(Reason::NotProtobuf, told)
        })
    }

    #[inline]
    fn slots(&mut self) -> &mut [Slot<'a>] {
        &mut self.slots
    }
}

/// Goes the way to a message: how many steps, then each; a single nought is the way to the first.
#[inline]
fn indexes(wire: &mut wire::Wire<'_>, mut step: impl FnMut(usize) -> Option<()>) -> Option<()> {
    let number =
        |wire: &mut wire::Wire<'_>| wire.number().ok().filter(|zigzag| zigzag & 1 == 0).map(|zigzag| zigzag >> 1);
    let count = number(wire)?;
    if count == 0 {
        return step(0);
    }
    if count > INDEXES_MAX {
        return None;
    }
    (0..count).try_for_each(|_| step(usize::try_from(number(wire)?).ok()?))
}

#[cold]
fn unplaced() -> Refusal {
    Refusal::new(Reason::NotProtobuf, "it names a message that its schema does not have".into())
}

#[cold]
fn another(found: &str, wanted: &str) -> Refusal {
    Refusal::new(Reason::WrongType, format!("it is a {found}, not a {wanted}"))
}
