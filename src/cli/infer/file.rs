//! What was inferred, written as a pipeline file or as JSON.
//!
//! Owns: names of columns, and the comments beside them.

use std::{collections::HashSet, fmt::Write as _, path::Path};

use clap::ValueEnum;
use serde_json::json;
use toml::Value;

use super::super::security::{PASSWORD, SecurityArgs};
use crate::{
    config::is_column_name,
    decode::{CsvSettings, Envelope, Format, JsonSettings},
    infer::{Holds, Inferred, Member},
    record::{Field, FieldKind, TimestampFormat},
};

/// Fields of a pipeline file; further members are left out.
const FIELDS_MAX: usize = 1_000;
const NAME_CHARS_MAX: usize = 100;

/// A member, and the field that is to be read from it if there can be one.
#[derive(Debug)]
pub(super) struct Column<'i> {
    member: &'i Member,
    pub(super) field: Option<Field>,
}

/// Each member with its field; no two fields have the same name.
pub(super) fn columns(inferred: &Inferred) -> Vec<Column<'_>> {
    let (mut taken, mut fields) = (HashSet::new(), 0);
    let mut column = |member| {
        let field = if fields < FIELDS_MAX { field(member, &mut taken) } else { None };
        fields += usize::from(field.is_some());
        Column { member, field }
    };
    inferred.members.iter().map(&mut column).collect()
}

fn field(member: &Member, taken: &mut HashSet<String>) -> Option<Field> {
    let Holds::Kind(kind) = member.holds else { return None };
    let is_writable = member.path.iter().all(|name| !name.trim().is_empty());
    let name = is_writable.then(|| name(&member.path, taken))?;
    Some(Field { name, kind, nullable: member.nullable, path: member.path.clone() })
}

/// A name that a column may have and no other has.
fn name(path: &[String], taken: &mut HashSet<String>) -> String {
    let plain: String = path.join("_").chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    let stripped = plain.trim_start_matches('_').to_owned();
    let allowed = [plain.clone(), stripped].into_iter().find(|name| is_column_name(name));
    let base = allowed.unwrap_or(format!("field_{plain}"));
    let numbered = (2..).map(|number| format!("{base}_{number}"));
    let mut names = [base.clone()].into_iter().chain(numbered);
    // There is no end to them, so one is free.
    names.find(|name| taken.insert(name.to_lowercase())).unwrap_or(base)
}

/// `[format]`, unless it says what holds without it.
pub(super) fn format(inferred: &Inferred) -> String {
    let mut text = String::new();
    match &inferred.format {
        Format::Json(JsonSettings { lines: None, envelope: Envelope::None }) => return text,
        Format::Json(JsonSettings { lines, envelope }) => {
            text.push_str("\n[format]\ntype = \"json\"\n");
            push_lines(&mut text, lines.is_some());
            if *envelope == Envelope::Debezium {
                text.push_str("# Paths begin in `after`; `path = \"@op\"` or `\"@ts_ms\"` is the envelope's own.\n");
                text.push_str("envelope = \"debezium\"\n");
            }
        }
        Format::Csv(CsvSettings { lines, delimiter, .. }) => {
            text.push_str("\n[format]\ntype = \"csv\"\n");
            push_lines(&mut text, lines.is_some());
            if *delimiter != CsvSettings::default().delimiter {
                push_key(&mut text, "delimiter", Value::String(char::from(*delimiter).to_string()));
            }
        }
        Format::Avro(avro) => push_by_schema(&mut text, "avro", avro.envelope),
        Format::Protobuf(protobuf) => push_by_schema(&mut text, "protobuf", protobuf.envelope),
        Format::Raw => text.push_str("\n[format]\ntype = \"raw\"\n"),
    }
    text
}

/// Of a schema in a registry.
fn push_by_schema(text: &mut String, name: &str, envelope: Envelope) {
    let _ = writeln!(text, "\n[format]\ntype = \"{name}\"");
    if envelope == Envelope::Debezium {
        text.push_str("envelope = \"debezium\"\n");
    }
}

fn push_lines(text: &mut String, several: bool) {
    if several {
        text.push_str("lines = true\n");
    }
}

fn push_key(text: &mut String, key: &str, value: impl Into<Value>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{key} = {}", literal(value.into()));
}

/// As the pipeline file says a text in which there may be a `${`.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Array(values) => Value::Array(values.into_iter().map(literal).collect()),
        other => other,
    }
}

/// `[[fields]]`, and a comment for each member that has none.
pub(super) fn fields(inferred: &Inferred, columns: &[Column<'_>]) -> String {
    let is_csv = matches!(inferred.format, Format::Csv(_));
    let mut text = String::new();
    for Column { member, field } in columns {
        match field {
            Some(field) => push_field(&mut text, field, member, inferred.rows, is_csv),
            None => push_left_out(&mut text, member, inferred.rows),
        }
    }
    text
}

fn push_field(text: &mut String, field: &Field, member: &Member, rows: u64, by_place: bool) {
    text.push_str("\n[[fields]]\n");
    push_key(text, "name", field.name.as_str());
    let (kind, unit) = kind(field.kind);
    push_key(text, "type", kind);
    if let Some(unit) = unit {
        push_key(text, "unit", unit);
    }
    let _ = writeln!(text, "nullable = {} # in {}", field.nullable, share(member.present, rows));
    // CSV without a list of columns knows places alone.
    if !by_place && field.path != [field.name.clone()] {
        push_path(text, &field.path);
    }
    if let Some(note) = &member.note {
        let _ = writeln!(text, "# {note}");
    }
}

/// A list only where a member's name holds a dot, or may be taken for something else.
fn push_path(text: &mut String, path: &[String]) {
    if path.iter().any(|name| name.contains('.')) {
        push_key(text, "path", path.to_vec());
    } else {
        push_key(text, "path", path.join("."));
    }
}

fn push_left_out(text: &mut String, member: &Member, rows: u64) {
    let why = member.note.as_deref().unwrap_or("left out");
    let _ = writeln!(text, "\n# {:?}: {why} (in {})", member.path.join("."), share(member.present, rows));
}

fn kind(kind: FieldKind) -> (&'static str, Option<&'static str>) {
    match kind {
        FieldKind::Int32 => ("int32", None),
        FieldKind::Int64 => ("int64", None),
        FieldKind::Float32 => ("float32", None),
        FieldKind::Float64 => ("float64", None),
        FieldKind::Bool => ("bool", None),
        FieldKind::String => ("string", None),
        FieldKind::Timestamp(TimestampFormat::Rfc3339) => ("timestamp", None),
        FieldKind::Timestamp(TimestampFormat::Seconds) => ("timestamp", Some("s")),
        FieldKind::Timestamp(TimestampFormat::Milliseconds) => ("timestamp", Some("ms")),
        FieldKind::Timestamp(TimestampFormat::Microseconds) => ("timestamp", Some("us")),
        FieldKind::Timestamp(TimestampFormat::Nanoseconds) => ("timestamp", Some("ns")),
        FieldKind::Date => ("date", None),
    }
}

/// `98.2 % of the records`; nothing is rounded up to all of them.
fn share(present: u64, rows: u64) -> String {
    if present >= rows {
        return "all".into();
    }
    let thousandths = u128::from(present) * 1_000 / u128::from(rows.max(1));
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

pub(super) fn source(brokers: &[String], topic: &str) -> String {
    let mut text = "\n[source]\n".to_owned();
    push_key(&mut text, "brokers", brokers.to_vec());
    push_key(&mut text, "topic", topic);
    text
}

/// `[source.tls]` and `[source.sasl]`, where there are any; the password stays where it was read from.
pub(super) fn security(security: &SecurityArgs) -> String {
    let mut text = String::new();
    let path = |path: &Path| path.display().to_string();
    if security.speaks_tls() {
        text.push_str("\n[source.tls]\n");
        let files = [("ca", &security.tls_ca), ("cert", &security.tls_cert), ("key", &security.tls_key)];
        for (key, file) in files {
            if let Some(file) = file {
                push_key(&mut text, key, path(file));
            }
        }
    }
    if let Some(mechanism) = security.sasl.and_then(|sasl| sasl.to_possible_value()) {
        text.push_str("\n[source.sasl]\n");
        push_key(&mut text, "mechanism", mechanism.get_name());
        if let Some(user) = &security.user {
            push_key(&mut text, "user", user.as_str());
            let _ = writeln!(text, "password = \"${{{PASSWORD}}}\"");
        }
        if let Some(file) = &security.token_file {
            push_key(&mut text, "token_file", path(file));
        }
    }
    text
}

/// `[registry]`, where there is one.
pub(super) fn registry(urls: &[String], user: Option<&str>) -> String {
    let mut text = String::new();
    if !urls.is_empty() {
        text.push_str("\n[registry]\n");
        push_key(&mut text, "url", urls.to_vec());
    }
    if let Some(user) = user {
        push_key(&mut text, "user", user);
        text.push_str("password = \"${ALLUVIUM_REGISTRY_PASSWORD}\"\n");
    }
    text
}

pub(super) fn rest(model: &str, lake: &str, topic: &str) -> String {
    let mut text = "\n[model]\n".to_owned();
    push_key(&mut text, "path", model);
    text.push_str("\n[lake]\n");
    push_key(&mut text, "url", lake);
    let dataset = topic.trim_start_matches(['.', '_']);
    push_key(&mut text, "dataset", if dataset.is_empty() { "records" } else { dataset });
    text
}

pub(super) fn json(inferred: &Inferred, columns: &[Column<'_>]) -> serde_json::Result<String> {
    let column = |Column { member, field }: &Column<'_>| {
        let kind = field.as_ref().map(|field| kind(field.kind));
        json!({
            "name": field.as_ref().map(|field| &field.name),
            "path": member.path,
            "type": kind.map(|(kind, _)| kind),
            "nullable": member.nullable,
            "present": member.present,
            "note": member.note,
        })
    };
    let (name, lines, envelope) = match &inferred.format {
        Format::Json(json) => ("json", json.lines.is_some(), json.envelope),
        Format::Csv(csv) => ("csv", csv.lines.is_some(), Envelope::None),
        Format::Avro(avro) => ("avro", false, avro.envelope),
        Format::Protobuf(protobuf) => ("protobuf", false, protobuf.envelope),
        Format::Raw => ("raw", false, Envelope::None),
    };
    let envelope = if envelope == Envelope::Debezium { "debezium" } else { "none" };
    let fields: Vec<_> = columns.iter().map(column).collect();
    let all = json!({
        "format": {"type": name, "lines": lines, "envelope": envelope},
        "rows": inferred.rows,
        "fields": fields,
        "odd": inferred.odd,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        infer::{Guide, infer},
        pipeline::Settings,
        record::Record,
    };

    fn inferred(value: &str, guide: &Guide) -> Inferred {
        let record = Record { value: Some(value.as_bytes().to_vec()), ..Record::default() };
        infer(&[record], guide)
    }

    fn parsed(inferred: &Inferred) -> Settings {
        let columns = columns(inferred);
        let source = source(&["b:1".into()], "_t");
        let text = [source, format(inferred), fields(inferred, &columns), rest("m", "l", "_t")].concat();
        config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
    }

    #[test]
    fn any_names_make_a_sound_file_that_reads_the_same_places() {
        let odd = r#"{"prediction":1,"p_x":1,"_id":1,"id":1,"ID":1,"a.b":{"c":1},"a":{"b":1,"_b":1},"hour":1,
            "${HOME}":1,"x\ny":1,"\"q\"":{"\\":1},"p_":{"_":1},"é":1,"date":"2026-11-21","@op":1}"#;
        let inferred = inferred(odd, &Guide::Json);
        let settings = parsed(&inferred);
        let places: Vec<_> = inferred.members.iter().map(|member| &member.path).collect();
        assert_eq!(settings.decode.fields.iter().map(|field| &field.path).collect::<Vec<_>>(), places);
        let names: Vec<_> = settings.decode.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names[..6], ["field_prediction", "field_p_x", "id", "id_2", "ID_3", "a.b_c"]);
        let record = Record { value: Some(odd.as_bytes().to_vec()), ..Record::default() };
        assert!(inferred.rejects(settings.decode.fields, &[record]).unwrap().is_empty());
    }

    #[test]
    fn a_name_without_a_letter_is_left_out() {
        let inferred = inferred(r#"{"":1," ":2,"a":{"":3},"b":4}"#, &Guide::Json);
        assert_eq!(parsed(&inferred).decode.fields.len(), 1);
    }

    #[test]
    fn every_format_comes_back() {
        let csv = |columns: &[&str]| Guide::Csv {
            delimiter: b'\t',
            columns: columns.iter().map(ToString::to_string).collect(),
        };
        for (value, guide) in [
            ("{\"a\":1}\n{\"a\":2}", Guide::Json),
            (r#"{"op":"c","after":{"a":1}}"#, Guide::Json),
            ("1\t2\n3\t4", csv(&["_a", "b"])),
            ("1\t2", csv(&[])),
            ("any", Guide::Raw),
        ] {
            let inferred = inferred(value, &guide);
            let settings = parsed(&inferred);
            let shape = |format: &Format| match format {
                Format::Json(json) => (json.lines.is_some(), json.envelope, 0),
                Format::Csv(csv) => (csv.lines.is_some(), Envelope::None, csv.delimiter),
                Format::Avro(_) | Format::Protobuf(_) | Format::Raw => (false, Envelope::None, 1),
            };
            assert_eq!(shape(&settings.decode.format), shape(&inferred.format), "{value}");
        }
    }

    #[test]
    fn shares_are_never_rounded_up_to_all() {
        assert_eq!([share(5, 5), share(4_999, 5_000), share(0, 5)], ["all", "99.9 %", "0.0 %"]);
    }
}
