//! The keys of formats that are written by a schema: Avro and Protobuf.
//!
//! Owns: which of them go together, and that a schema's file can be used. Does not own: what a schema means
//! ([`crate::decode`]).

use std::{
    fs::File,
    io::{self, Read},
};

use super::{
    keys::{self, Encoding, Key},
    section::{Noted, Section},
    value::{self, Given, MIB, Refusal, quoted},
};
use crate::decode::{AvroEncoding, AvroSchema, AvroSettings, Format, ProtobufSchema, ProtobufSettings};

const SCHEMA_BYTES_MAX: u64 = 8 * MIB;

pub(super) fn avro(table: &mut Section<'_, '_>, has_registry: bool) -> Option<Format> {
    let envelope = table.choice(&keys::ENVELOPE, &keys::ENVELOPES);
    let encoding = table.choice(&keys::ENCODING, &keys::ENCODINGS);
    let texts = texts(table, &keys::SCHEMA);
    let reader = reader(table);
    let encoding = match (encoding?, texts.ok()?) {
        (Encoding::Registry, None) if !has_registry => table.refuse(&keys::FORMAT, no_registry("schema")),
        (Encoding::Registry, None) => Some(AvroEncoding::Registry),
        (Encoding::Registry, Some(_)) => table.refuse(&keys::SCHEMA, unneeded("schema")),
        (_, None) => table.refuse(&keys::ENCODING, Refusal::because("this encoding needs schema beside it")),
        (Encoding::Plain, Some(texts)) => schema(table, &keys::SCHEMA, &texts).map(AvroEncoding::Plain),
        (Encoding::SingleObject, Some(texts)) => {
            let each: Vec<_> =
                texts.iter().map(|text| schema(table, &keys::SCHEMA, std::slice::from_ref(text))).collect();
            each.into_iter().collect::<Option<_>>().map(AvroEncoding::SingleObject)
        }
    };
    Some(Format::Avro(AvroSettings { encoding: encoding?, reader: reader.ok()?, envelope: envelope? }))
}

pub(super) fn protobuf(table: &mut Section<'_, '_>, has_registry: bool) -> Option<Format> {
    let envelope = table.choice(&keys::ENVELOPE, &keys::ENVELOPES);
    let encoding = table.choice(&keys::ENCODING, &keys::ENCODINGS);
    let message = table.read_or(&keys::MESSAGE, None, |given| given.as_text().map(|name| Some(name.to_owned())));
    let file = table.read_or(&keys::DESCRIPTOR, None, |given| bytes(given).map(Some));
    let (message, file) = (message?, file?);
    let framed = match encoding? {
        Encoding::Registry => true,
        Encoding::Plain if file.is_some() => false,
        Encoding::Plain => {
            return table.refuse(&keys::ENCODING, Refusal::because("this encoding needs descriptor beside it"));
        }
        Encoding::SingleObject => {
            return table.refuse(&keys::ENCODING, Refusal::because("single-object is for avro only"));
        }
    };
    let schema = match (file, &message) {
        (None, _) if !has_registry => return table.refuse(&keys::FORMAT, no_registry("descriptor")),
        (None, _) => None,
        (Some(_), None) => {
            return table.refuse(&keys::DESCRIPTOR, Refusal::because("descriptor needs message beside it"));
        }
        (Some(file), Some(message)) => match ProtobufSchema::parse(&file, message) {
            Ok(schema) => Some(schema),
            Err(why) => return table.refuse(&keys::DESCRIPTOR, Refusal::because(why)),
        },
    };
    Some(Format::Protobuf(ProtobufSettings { framed, schema, message, envelope: envelope? }))
}

fn no_registry(file: &str) -> Refusal {
    Refusal::because("where the schemas are is not told")
        .hint(format!("write [registry] with its url, or {file} with a file and encoding = \"plain\""))
}

fn unneeded(what: &str) -> Refusal {
    Refusal::because(format!("{what} is not used where records name their schema in a registry"))
        .hint("leave it out, or set encoding")
}

fn reader(table: &mut Section<'_, '_>) -> Result<Option<AvroSchema>, Noted> {
    let Some(texts) = texts(table, &keys::READER_SCHEMA)? else { return Ok(None) };
    schema(table, &keys::READER_SCHEMA, &texts).map(Some).ok_or(Noted)
}

fn texts(table: &mut Section<'_, '_>, key: &Key) -> Result<Option<Vec<String>>, Noted> {
    if !table.has(key) {
        return Ok(None);
    }
    let text = |given: &Given<'_>| {
        String::from_utf8(bytes(given)?).map_err(|_| Refusal::because(format!("{given} is not UTF-8")))
    };
    table.list(key, ',', text).map(Some).ok_or(Noted)
}

fn schema(table: &mut Section<'_, '_>, key: &Key, texts: &[String]) -> Option<AvroSchema> {
    let parsed = AvroSchema::parse(texts.iter().map(String::as_str));
    parsed.map_err(|why| table.note(key, Refusal::because(format!("not a schema in Avro: {why}")))).ok()
}

/// What is in a file that a schema stands in.
fn bytes(given: &Given<'_>) -> Result<Vec<u8>, Refusal> {
    let path = given.as_text()?.trim();
    read(path).map_err(|error| Refusal::because(format!("can't read the schema {}: {error}", quoted(path))))
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SCHEMA_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SCHEMA_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {}", value::bytes(SCHEMA_BYTES_MAX))));
    }
    Ok(bytes)
}
