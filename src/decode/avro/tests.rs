//! Avro against the library's own writer and resolution, rule by rule, and against bytes that nobody wrote.

use std::borrow::Cow;

use apache_avro::{Schema as Theirs, rabin::Rabin, types::Value as Written};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    decode::slot::Unit,
    record::{Import, SchemaKind},
};

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse([text]).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn settings(encoding: AvroEncoding, reader: Option<&str>) -> AvroSettings {
    AvroSettings { encoding, reader: reader.map(schema), envelope: Envelope::None }
}

fn plain(writer: &str) -> AvroEncoding {
    AvroEncoding::Plain(schema(writer))
}

fn plan(paths: &[&str]) -> Plan {
    Plan::of_paths(paths)
}

/// What a record has at these paths, as people are told, or why it can't be read.
fn read(
    settings: &AvroSettings,
    known: &Schemas,
    paths: &[&str],
    bytes: &[u8],
) -> Result<Vec<String>, (Reason, String)> {
    let plan = plan(paths);
    let avro = Avro::new(&plan, settings);
    let mut reader = avro.reader(&plan, known);
    reader.read(bytes).map_err(|refusal| (refusal.reason, refusal.detail))?;
    Ok(reader.slots().iter().map(ToString::to_string).collect())
}

fn read_plain(
    writer: &str,
    reader: Option<&str>,
    paths: &[&str],
    bytes: &[u8],
) -> Result<Vec<String>, (Reason, String)> {
    read(&settings(plain(writer), reader), &Schemas::default(), paths, bytes)
}

fn datum(schema: &str, value: impl Into<Written>) -> Vec<u8> {
    apache_avro::to_avro_datum(&Theirs::parse_str(schema).unwrap(), value.into()).unwrap()
}

fn record(fields: &serde_json::Value) -> String {
    json!({"type": "record", "name": "shop.Order", "fields": fields}).to_string()
}

fn of_fields(fields: Vec<(&str, Written)>) -> Written {
    Written::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn one(of: &serde_json::Value) -> String {
    record(&json!([{"name": "x", "type": of}]))
}

/// A record of one field.
fn slot(of: &serde_json::Value, value: Written) -> String {
    let schema = one(of);
    read_plain(&schema, None, &["x"], &datum(&schema, of_fields(vec![("x", value)]))).unwrap().remove(0)
}

#[test]
fn every_type_is_what_its_writer_meant() {
    let union = |branch, value| Written::Union(branch, Box::new(value));
    for (of, value, wanted) in [
        (json!("null"), Written::Null, "null"),
        (json!("boolean"), Written::Boolean(true), "true"),
        (json!("int"), Written::Int(i32::MIN), "-2147483648"),
        (json!("long"), Written::Long(i64::MIN), "-9223372036854775808"),
        (json!("long"), Written::Long(i64::MAX), "9223372036854775807"),
        (json!("float"), Written::Float(0.1), "0.10000000149011612"),
        (json!("double"), Written::Double(-0.1), "-0.1"),
        (json!("double"), Written::Double(f64::NAN), "NaN"),
        (json!("float"), Written::Float(f32::NEG_INFINITY), "-Infinity"),
        (json!("string"), Written::String("é".into()), "the text \"é\""),
        (json!("bytes"), Written::Bytes(vec![0, 255]), "2 bytes that are no text"),
        (json!({"type": "fixed", "name": "F", "size": 2}), Written::Fixed(2, vec![0, 255]), "2 bytes that are no text"),
        (json!({"type": "enum", "name": "E", "symbols": ["A", "B"]}), Written::Enum(1, "B".into()), "the text \"B\""),
        (json!(["null", "string"]), union(1, Written::String("y".into())), "the text \"y\""),
        (json!(["null", "string"]), union(0, Written::Null), "null"),
        (json!({"type": "array", "items": "int"}), Written::Array(vec![Written::Int(1)]), "an array"),
        (json!({"type": "map", "values": "int"}), Written::Map([("k".into(), Written::Int(1))].into()), "an object"),
        (json!({"type": "int", "logicalType": "date"}), Written::Date(-1), "a date, -1 days since 1970,"),
        (
            json!({"type": "long", "logicalType": "timestamp-millis"}),
            Written::TimestampMillis(5),
            "an instant, 5 milliseconds since 1970,",
        ),
        (
            json!({"type": "long", "logicalType": "local-timestamp-micros"}),
            Written::LocalTimestampMicros(5),
            "an instant, 5 microseconds since 1970,",
        ),
        (
            json!({"type": "long", "logicalType": "timestamp-nanos"}),
            Written::TimestampNanos(5),
            "an instant, 5 nanoseconds since 1970,",
        ),
        (json!({"type": "int", "logicalType": "time-millis"}), Written::TimeMillis(7), "7"),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}),
            Written::Decimal(vec![0xfb, 0x2e].into()),
            "-12.34",
        ),
        (json!({"type": "string", "logicalType": "no such"}), Written::String("z".into()), "the text \"z\""),
    ] {
        assert_eq!(slot(&of, value), wanted, "{of}");
    }
}

#[test]
fn a_uuid_in_sixteen_bytes_is_its_text() {
    let schema = one(&json!({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}));
    let bytes: Vec<u8> = (0..16).collect();
    let read = read_plain(&schema, None, &["x"], &bytes).unwrap();
    assert!(read[0].starts_with("the text \"00010203-0405-0607-0809-0a0b0c0d"), "{read:?}");
}

#[test]
fn fields_are_found_by_their_paths_and_the_rest_is_stepped_over() {
    let inner = json!({"type": "record", "name": "Inner", "fields": [
        {"name": "list", "type": {"type": "array", "items": {"type": "map", "values": "string"}}},
        {"name": "deep", "type": ["null", {"type": "record", "name": "Deep", "fields": [{"name": "v", "type": "int"}]}]},
    ]});
    let schema = record(&json!([
        {"name": "a", "type": inner}, {"name": "tags", "type": {"type": "map", "values": ["int", "string"]}},
        {"name": "b", "type": "Inner"}, {"name": "end", "type": "double"},
    ]));
    let inner = |deep| {
        let map = Written::Map([("k".into(), Written::String("v".into()))].into());
        of_fields(vec![("list", Written::Array(vec![map.clone(), map])), ("deep", deep)])
    };
    let some = Written::Union(1, Box::new(of_fields(vec![("v", Written::Int(41))])));
    let none = Written::Union(0, Box::new(Written::Null));
    let tags = [
        ("one".to_owned(), Written::Union(0, Box::new(Written::Int(1)))),
        ("two".to_owned(), Written::Union(1, Box::new(Written::String("zwei".into())))),
    ];
    let value = of_fields(vec![
        ("a", inner(some)),
        ("tags", Written::Map(tags.into())),
        ("b", inner(none)),
        ("end", Written::Double(2.5)),
    ]);
    let bytes = datum(&schema, value);
    let paths =
        ["a.deep.v", "b.deep.v", "b.deep", "a", "a.list", "a.list.x", "tags.two", "tags.none", "end", "nowhere"];
    let wanted = [
        "41",
        "nothing",
        "null",
        "an object",
        "an array",
        "what lies in something other than an object",
        "the text \"zwei\"",
        "nothing",
        "2.5",
        "nothing",
    ];
    assert_eq!(read_plain(&schema, None, &paths, &bytes).unwrap(), wanted);
}

/// A record of one type, read as one of another.
fn evolved(by: &serde_json::Value, value: Written, of: &serde_json::Value) -> Result<String, (Reason, String)> {
    let (by, of) = (one(by), one(of));
    let bytes = datum(&by, of_fields(vec![("x", value)]));
    read_plain(&by, Some(&of), &["x"], &bytes).map(|mut read| read.remove(0))
}

#[test]
fn numbers_and_texts_are_promoted() {
    let (int, long) = (Written::Int(16_777_217), Written::Long(9_007_199_254_740_993));
    for (by, value, of, wanted) in [
        ("int", int.clone(), "long", "16777217"),
        ("int", int.clone(), "float", "16777216.0"),
        ("int", int, "double", "16777217.0"),
        ("long", long.clone(), "float", "9007199254740992.0"),
        ("long", long, "double", "9007199254740992.0"),
        ("float", Written::Float(0.5), "double", "0.5"),
        ("string", Written::String("t".into()), "bytes", "1 bytes that are no text"),
        ("bytes", Written::Bytes(b"t".to_vec()), "string", "the text \"t\""),
    ] {
        assert_eq!(evolved(&json!(by), value, &json!(of)).unwrap(), wanted, "{by} as {of}");
    }
}

#[test]
fn what_no_rule_promotes_is_a_wrong_type() {
    for (by, value, of) in [
        ("long", Written::Long(1), "int"),
        ("double", Written::Double(1.0), "float"),
        ("string", Written::String("1".into()), "int"),
        ("boolean", Written::Boolean(true), "int"),
        ("int", Written::Int(1), "string"),
    ] {
        let told = format!("x: the writer's {by} can't be read as the reader's {of}");
        assert_eq!(evolved(&json!(by), value, &json!(of)), Err((Reason::WrongType, told)));
    }
}

#[test]
fn fields_are_told_apart_by_name_whatever_their_order_and_new_ones_get_their_defaults() {
    let by = record(&json!([
        {"name": "a", "type": "int"}, {"name": "gone", "type": "string"}, {"name": "b", "type": "int"},
        {"name": "old", "type": "int"},
    ]));
    let of = record(&json!([
        {"name": "b", "type": "int"}, {"name": "a", "type": "int"}, {"name": "new", "aliases": ["old"], "type": "long"},
        {"name": "text", "type": "string", "default": "d"}, {"name": "none", "type": ["null", "int"], "default": null},
        {"name": "some", "type": ["null", "int"], "default": 7}, {"name": "bytes", "type": "bytes", "default": "\u{ff}"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}, "default": "\u{64}"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}, "default": 3},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["A", "B"]}, "default": "B"},
        {"name": "inner", "type": {"type": "record", "name": "I", "fields": [
            {"name": "x", "type": "double", "default": 0.5}, {"name": "y", "type": "int", "default": 2}
        ]}, "default": {"y": 9}},
    ]));
    let value = of_fields(vec![
        ("a", Written::Int(1)),
        ("gone", Written::String("g".into())),
        ("b", Written::Int(2)),
        ("old", Written::Int(3)),
    ]);
    let paths = [
        "a", "b", "new", "old", "gone", "text", "none", "some", "bytes", "price", "day", "kind", "inner.x", "inner.y",
        "inner",
    ];
    let wanted = [
        "1",
        "2",
        "3",
        "nothing",
        "nothing",
        "the text \"d\"",
        "null",
        "7",
        "1 bytes that are no text",
        "10.0",
        "a date, 3 days since 1970,",
        "the text \"B\"",
        "0.5",
        "9",
        "an object",
    ];
    assert_eq!(read_plain(&by, Some(&of), &paths, &datum(&by, value)).unwrap(), wanted);
}

#[test]
fn a_new_field_without_a_default_is_missing_if_it_is_declared() {
    let (by, of) = (one(&json!("int")), record(&json!([{"name": "x", "type": "int"}, {"name": "y", "type": "int"}])));
    let bytes = datum(&by, of_fields(vec![("x", Written::Int(1))]));
    assert_eq!(read_plain(&by, Some(&of), &["x"], &bytes).unwrap(), ["1"]);
    let told = "y: the writer's schema does not have it, and in the reader's it has no default".to_owned();
    assert_eq!(read_plain(&by, Some(&of), &["y"], &bytes), Err((Reason::MissingField, told)));
}

#[test]
fn a_symbol_the_reader_does_not_know_becomes_its_default_or_is_a_wrong_type() {
    let of = |default: Option<&str>| {
        let mut of = json!({"type": "enum", "name": "E", "symbols": ["B", "A", "OTHER"]});
        if let Some(default) = default {
            of["default"] = json!(default);
        }
        of
    };
    let by = json!({"type": "enum", "name": "E", "symbols": ["A", "NEW"]});
    let (known, new) = (Written::Enum(0, "A".into()), Written::Enum(1, "NEW".into()));
    assert_eq!(evolved(&by, known, &of(None)).unwrap(), "the text \"A\"");
    assert_eq!(evolved(&by, new.clone(), &of(Some("OTHER"))).unwrap(), "the text \"OTHER\"");
    let told = "x: the reader's schema does not have the symbol \"NEW\"".to_owned();
    assert_eq!(evolved(&by, new, &of(None)), Err((Reason::WrongType, told)));
}

#[test]
fn unions_resolve_branch_by_branch_exact_types_first() {
    let branch = |branch, value| Written::Union(branch, Box::new(value));
    let by = json!(["null", "int", "string"]);
    assert_eq!(evolved(&by, branch(1, Written::Int(5)), &json!(["string", "double", "int"])).unwrap(), "5");
    assert_eq!(evolved(&by, branch(1, Written::Int(5)), &json!(["string", "double"])).unwrap(), "5.0");
    assert_eq!(evolved(&by, branch(1, Written::Int(5)), &json!("long")).unwrap(), "5");
    assert_eq!(evolved(&json!("int"), Written::Int(5), &json!(["null", "long"])).unwrap(), "5");
    let told = "x: the writer's string can't be read as the reader's long".to_owned();
    assert_eq!(evolved(&by, branch(2, Written::String("s".into())), &json!("long")), Err((Reason::WrongType, told)));
    let told = "x: the writer's null can't be read as the reader's union".to_owned();
    assert_eq!(evolved(&by, branch(0, Written::Null), &json!(["int", "string"])), Err((Reason::WrongType, told)));
}

#[test]
fn named_types_resolve_by_name_or_alias() {
    let fixed = |name: &str, size: usize| json!({"type": "fixed", "name": name, "size": size});
    let value = || Written::Fixed(1, vec![7]);
    assert!(evolved(&fixed("F", 1), value(), &fixed("other.F", 1)).is_ok(), "by the name alone");
    assert!(evolved(&fixed("F", 1), value(), &fixed("G", 1)).is_err());
    assert!(evolved(&fixed("F", 1), value(), &fixed("F", 2)).is_err());
    let aliased = json!({"type": "fixed", "name": "G", "aliases": ["F"], "size": 1});
    assert!(evolved(&fixed("F", 1), value(), &aliased).is_ok());
    let (by, of) = (one(&json!("int")), one(&json!("int")).replace("shop.Order", "shop.Sale"));
    let bytes = datum(&by, of_fields(vec![("x", Written::Int(1))]));
    let told = "the writer's record shop.Order can't be read as the reader's record shop.Sale".to_owned();
    assert_eq!(read_plain(&by, Some(&of), &["x"], &bytes), Err((Reason::WrongType, told)));
    let of = of.replace("\"fields\"", "\"aliases\":[\"Order\"],\"fields\"");
    assert_eq!(read_plain(&by, Some(&of), &["x"], &bytes).unwrap(), ["1"]);
}

#[test]
fn the_readers_logical_type_says_what_a_number_is() {
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    assert_eq!(evolved(&json!("int"), Written::Int(5), &millis).unwrap(), "an instant, 5 milliseconds since 1970,");
    assert_eq!(evolved(&millis, Written::TimestampMillis(5), &json!("long")).unwrap(), "5");
}

/// A primitive with a value of it.
fn primitive() -> impl Strategy<Value = (&'static str, Written)> {
    prop_oneof![
        any::<bool>().prop_map(|value| ("boolean", Written::Boolean(value))),
        any::<i32>().prop_map(|value| ("int", Written::Int(value))),
        any::<i64>().prop_map(|value| ("long", Written::Long(value))),
        any::<f32>().prop_map(|value| ("float", Written::Float(value))),
        any::<f64>().prop_map(|value| ("double", Written::Double(value))),
        ".*".prop_map(|value| ("string", Written::String(value))),
        any::<Vec<u8>>().prop_map(|value| ("bytes", Written::Bytes(value))),
    ]
}

/// What a value of the library's would be in a slot.
fn as_slot(value: &Written) -> Slot<'_> {
    match value {
        Written::Null => Slot::Null,
        Written::Boolean(value) => Slot::Bool(*value),
        Written::Int(value) => Slot::Int(i64::from(*value)),
        Written::Long(value) => Slot::Int(*value),
        Written::Float(value) => crate::decode::target::float(f64::from(*value)),
        Written::Double(value) => crate::decode::target::float(*value),
        Written::String(text) | Written::Enum(_, text) => Slot::Text(Cow::Borrowed(text)),
        Written::Bytes(bytes) | Written::Fixed(_, bytes) => Slot::Bytes(bytes),
        Written::Union(_, value) => as_slot(value),
        Written::TimestampMicros(value) => Slot::Instant(*value, Unit::Micros),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn whatever_both_resolve_they_resolve_to_the_same(
        values in prop::collection::vec((primitive(), any::<bool>()), 1..6),
        wanted in prop::collection::vec(0_usize..7, 6),
        dropped: u8,
    ) {
        let names = ["boolean", "int", "long", "float", "double", "string", "bytes"];
        let (mut by, mut of, mut fields) = (vec![], vec![], vec![]);
        for (at, ((kind, value), nullable)) in values.iter().enumerate() {
            let name = format!("f{at}");
            by.push(json!({"name": name, "type": if *nullable { json!(["null", kind]) } else { json!(kind) }}));
            let value = if *nullable { Written::Union(1, Box::new(value.clone())) } else { value.clone() };
            fields.push((name.clone(), value));
            if usize::from(dropped) % 6 != at {
                of.push(json!({"name": name, "type": ["null", names[wanted[at]]], "default": null}));
            }
        }
        of.reverse();
        let (by, of) = (record(&json!(by)), record(&json!(of)));
        let bytes = datum(&by, Written::Record(fields));
        let (theirs_by, theirs_of) = (Theirs::parse_str(&by).unwrap(), Theirs::parse_str(&of).unwrap());
        let theirs = apache_avro::from_avro_datum(&theirs_by, &mut bytes.as_slice(), Some(&theirs_of));
        let paths: Vec<String> = (0..values.len()).map(|at| format!("f{at}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let plan = plan(&paths);
        let avro = Avro::new(&plan, &settings(plain(&by), Some(&of)));
        let known = Schemas::default();
        let mut ours = avro.reader(&plan, &known);
        // The library goes beyond the rules, such as from long to int, hence not the other way round.
        if ours.read(&bytes).is_ok() {
            let theirs = theirs.unwrap();
            let Written::Record(theirs) = &theirs else { panic!("{theirs:?}") };
            for (at, slot) in ours.slots().iter().enumerate() {
                let theirs = theirs.iter().find(|(name, _)| *name == paths[at]);
                let theirs = theirs.map_or(Slot::Absent, |(_, value)| as_slot(value));
                prop_assert_eq!(slot, &theirs);
            }
        }
    }
}

const RICH: &str = r#"{"type":"record","name":"R","namespace":"a.b","fields":[
    {"name":"id","type":"long"},{"name":"next","type":["null","R"]},{"name":"name","type":["null","string"]},
    {"name":"kind","type":{"type":"enum","name":"K","symbols":["X","Y"]}},{"name":"list","type":{"type":"array","items":"R"}},
    {"name":"tags","type":{"type":"map","values":{"type":"fixed","name":"F","size":3}}},{"name":"on","type":"boolean"},
    {"name":"nothing","type":{"type":"array","items":"null"}},{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"f","type":"float"},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#;

fn rich(depth: usize) -> Written {
    let union = |value: Option<Written>| match value {
        None => Written::Union(0, Box::new(Written::Null)),
        Some(value) => Written::Union(1, Box::new(value)),
    };
    of_fields(vec![
        ("id", Written::Long(i64::try_from(depth).unwrap())),
        ("next", union(depth.checked_sub(1).map(rich))),
        ("name", union(Some(Written::String("n".into())))),
        ("kind", Written::Enum(1, "Y".into())),
        ("list", Written::Array((0..depth.min(1)).map(|_| rich(0)).collect())),
        ("tags", Written::Map([("t".into(), Written::Fixed(3, vec![1, 2, 3]))].into())),
        ("on", Written::Boolean(true)),
        ("nothing", Written::Array(vec![Written::Null; 3])),
        ("at", Written::TimestampMicros(9)),
        ("f", Written::Float(1.5)),
        ("price", Written::Decimal(vec![1, 2].into())),
    ])
}

const RICH_PATHS: [&str; 7] = ["id", "next.next.id", "kind", "tags.t", "at", "price", "list"];

#[test]
fn a_type_may_hold_itself() {
    let read = read_plain(RICH, None, &RICH_PATHS, &datum(RICH, rich(3))).unwrap();
    let wanted = [
        "3",
        "1",
        "the text \"Y\"",
        "3 bytes that are no text",
        "an instant, 9 microseconds since 1970,",
        "2.58",
        "an array",
    ];
    assert_eq!(read, wanted);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read_plain(RICH, None, &RICH_PATHS, &bytes);
        let _ = read_plain(RICH, Some(RICH), &RICH_PATHS, &bytes);
    }

    #[test]
    fn no_damage_panics_and_no_cut_passes(place in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let whole = datum(RICH, rich(2));
        let mut damaged = whole.clone();
        damaged[place.index(whole.len())] = byte;
        let _ = read_plain(RICH, None, &RICH_PATHS, &damaged);
        let cut = &whole[..cut.index(whole.len())];
        let refused = read_plain(RICH, None, &RICH_PATHS, cut).map_err(|(reason, _)| reason);
        prop_assert_eq!(refused, Err(Reason::NotAvro));
    }

    #[test]
    fn no_text_of_a_schema_panics(place in any::<prop::sample::Index>(), with in ".{0,6}", text in ".*") {
        let _ = AvroSchema::parse([text.as_str()]);
        let at = RICH.floor_char_boundary(place.index(RICH.len()));
        let _ = AvroSchema::parse([format!("{}{with}{}", &RICH[..at], &RICH[at..]).as_str()]);
    }
}

#[test]
fn depth_and_counts_that_a_record_claims_cost_no_more_than_its_bytes() {
    let mut deep = vec![];
    for _ in 0..100_000 {
        deep.extend([0, 2]);
    }
    let refused = read_plain(RICH, None, &["id"], &deep).unwrap_err();
    assert_eq!(refused, (Reason::NotAvro, "values are nested too deeply, about byte 131".into()));
    let items = one(
        &json!({"type": "array", "items": {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]}}),
    );
    let mut many = datum(&json!("long").to_string(), Written::Long(i64::MAX));
    many.push(0);
    assert_eq!(read_plain(&items, None, &["x"], &many).unwrap(), ["an array"]);
    let longs = one(&json!({"type": "array", "items": "long"}));
    assert_eq!(read_plain(&longs, None, &["x"], &many).unwrap_err().0, Reason::NotAvro);
}

#[test]
fn blocks_that_tell_their_size_are_stepped_over_whole() {
    let longs =
        record(&json!([{"name": "x", "type": {"type": "array", "items": "long"}}, {"name": "y", "type": "int"}]));
    // Two items in three bytes, told as -2 items in 3 bytes; the end; then 5.
    assert_eq!(read_plain(&longs, None, &["x", "y"], &[3, 6, 0x80, 0x01, 0x02, 0, 10]).unwrap(), ["an array", "5"]);
    assert_eq!(
        read_plain(&longs, None, &["y"], &[3, 100, 0, 0]).unwrap_err().1,
        "a length is negative, or beyond the end, about byte 3"
    );
}

#[test]
fn what_is_wrong_with_the_bytes_is_told() {
    let refused = |of: serde_json::Value, bytes: &[u8]| {
        let (reason, told) = read_plain(&one(&of), None, &["x"], bytes).unwrap_err();
        assert_eq!(reason, Reason::NotAvro);
        told
    };
    assert_eq!(refused(json!("long"), &[0x80]), "the value ends in the middle, about byte 1");
    assert_eq!(refused(json!("long"), &[0xff; 11]), "a number goes on for too many bytes, about byte 1");
    assert_eq!(
        refused(json!("int"), &[0x80, 0x80, 0x80, 0x80, 0x10]),
        "a number is beyond 32 bits, where its schema says int, about byte 6"
    );
    assert_eq!(refused(json!("string"), &[1]), "a length is negative, or beyond the end, about byte 2");
    assert_eq!(refused(json!("string"), &[2, 0xff]), "a text is not UTF-8, about byte 3");
    assert_eq!(refused(json!("boolean"), &[2]), "a boolean is neither 0 nor 1, about byte 2");
    assert_eq!(refused(json!(["null", "int"]), &[4]), "a union has no such branch, about byte 2");
    assert_eq!(
        refused(json!({"type": "enum", "name": "E", "symbols": ["A"]}), &[2]),
        "an enum has no such symbol, about byte 2"
    );
    assert_eq!(refused(json!("int"), &[2, 0, 0]), "2 bytes are left over: it was written by another schema");
}

#[test]
fn fingerprints_are_those_of_the_specification() {
    assert_eq!(schema("\"int\"").fingerprint(), 0x7275_d51a_3f39_5c8f);
    // As fastavro has it. The library leaves the namespace out of names that have it from around them.
    assert_eq!(schema(RICH).fingerprint().to_be_bytes(), [0x34, 0x9f, 0x66, 0x8d, 0x51, 0x2e, 0x52, 0x71]);
    let texts = [
        "\"null\"".to_owned(),
        record(&json!([
            {"name": "a", "doc": "d", "type": {"type": "string"}, "default": "x", "order": "ignore"},
            {"name": "b", "type": {"type": "enum", "name": "other.E", "symbols": ["A"]}, "aliases": ["c"]},
            {"name": "d", "type": ["null", "other.E", {"type": "map", "values": {"type": "array", "items": "bytes"}}]},
        ])),
    ];
    for text in texts {
        let theirs = Theirs::parse_str(&text).unwrap().fingerprint::<Rabin>().bytes;
        assert_eq!(schema(&text).fingerprint().to_le_bytes().as_slice(), theirs, "{text}");
    }
}

#[test]
fn single_objects_are_read_by_the_schema_they_name() {
    let (old, new) =
        (one(&json!("int")), record(&json!([{"name": "y", "type": "int"}, {"name": "x", "type": "long"}])));
    let by = settings(AvroEncoding::SingleObject([&old, &new].map(|text| schema(text)).to_vec()), None);
    let write = |text: &str, value| {
        let theirs = Theirs::parse_str(text).unwrap();
        let mut bytes = vec![];
        let mut writer = apache_avro::GenericSingleObjectWriter::new_with_capacity(&theirs, 64).unwrap();
        writer.write_value(value, &mut bytes).unwrap();
        bytes
    };
    let read = |bytes: &[u8]| read(&by, &Schemas::default(), &["x"], bytes);
    assert_eq!(read(&write(&old, of_fields(vec![("x", Written::Int(5))]))).unwrap(), ["5"]);
    let newer = of_fields(vec![("y", Written::Int(1)), ("x", Written::Long(6))]);
    assert_eq!(read(&write(&new, newer)).unwrap(), ["6"]);
    let stranger = write("\"int\"", Written::Int(1));
    let told = "no schema that `schema` names has the fingerprint 7275d51a3f395c8f".to_owned();
    assert_eq!(read(&stranger), Err((Reason::UnknownSchema, told)));
    assert_eq!(read(&[0xc3, 0x01, 0]).unwrap_err().0, Reason::NotAvro);
    assert_eq!(read(b"{}").unwrap_err().0, Reason::NotAvro);
}

#[test]
fn a_registrys_records_are_read_by_the_schema_of_their_id() {
    let of = |kind, text: &str, imports| crate::record::Schema { kind, text: text.into(), imports };
    let by = settings(AvroEncoding::Registry, None);
    let plan = plan(&["x"]);
    let avro = Avro::new(&plan, &by);
    let mut known = Schemas::default();
    let mut learn = |id, text: &str, imports| {
        known.insert(id, Arc::new(crate::decode::Learnt(avro.learn(&of(SchemaKind::Avro, text, imports)))));
    };
    let money = r#"{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}"#;
    learn(7, &one(&json!("int")), vec![]);
    learn(258, &one(&json!("shop.Money")), vec![Import { name: "shop.Money".into(), text: money.into() }]);
    learn(3, "{", vec![]);
    learn(4, &one(&json!("shop.Money")), vec![]);
    let read = |bytes: &[u8]| read(&by, &known, &["x"], bytes);
    assert_eq!(read(&[0, 0, 0, 0, 7, 10]).unwrap(), ["5"]);
    assert_eq!(read(&[0, 0, 0, 1, 2, 10]).unwrap(), ["an object"]);
    assert_eq!(read(&[0, 0, 0, 0, 9, 10]), Err((Reason::UnknownSchema, "the registry has no schema 9".into())));
    let (reason, told) = read(&[0, 0, 0, 0, 3, 10]).unwrap_err();
    assert!(
        reason == Reason::UnknownSchema && told.starts_with("schema 3 of the registry can't be used: not JSON"),
        "{told}"
    );
    let told = "schema 4 of the registry can't be used: the type \"shop.Money\" is nowhere defined".to_owned();
    assert_eq!(read(&[0, 0, 0, 0, 4, 10]), Err((Reason::UnknownSchema, told)));
    assert_eq!(read(&[0, 0, 0]), Err((Reason::NotAvro, "it ends before the id of its schema".into())));
    assert_eq!(read(b"{\"x\":1}").unwrap_err().0, Reason::NotAvro);
}

#[test]
fn a_schema_that_can_not_be_used_says_why() {
    for (text, why) in [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("7", "7 is not a type"),
        ("\"nowhere\"", "the type \"nowhere\" is nowhere defined"),
        (r#"[["int"]]"#, "a union stands in a union"),
        (r#"{"type":"record","name":"R"}"#, "the record \"R\" has no \"fields\""),
        (r#"{"type":"record","fields":[]}"#, "a record, enum or fixed has no \"name\""),
        (r#"{"type":"record","name":"R","fields":[{"name":"x"}]}"#, "the field \"x\" has no \"type\""),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "the fixed \"F\" has no size"),
        (r#"{"type":"enum","name":"E","symbols":[]}"#, "the enum \"E\" has no symbols"),
        (
            r#"["null",{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#,
            "the type \"F\" is defined twice",
        ),
    ] {
        assert_eq!(AvroSchema::parse([text]), Err(why.to_owned()), "{text}");
    }
}

#[test]
fn types_of_several_texts_know_each_other() {
    let b = r#"{"type":"record","name":"n.B","fields":[{"name":"a","type":["null","A"]}]}"#;
    let a = r#"{"type":"record","name":"A","namespace":"n","fields":[{"name":"b","type":["null","B"]},{"name":"x","type":"int"}]}"#;
    let by = AvroSchema::parse([b, a]).unwrap();
    let read = read(&settings(AvroEncoding::Plain(by), None), &Schemas::default(), &["x", "b.a.x"], &[2, 2, 0, 14, 16]);
    assert_eq!(read.unwrap(), ["8", "7"]);
}
