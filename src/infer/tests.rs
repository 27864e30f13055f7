//! Samples in, fields out; and what was inferred decodes the sample.

use proptest::prelude::*;

use super::*;
use crate::record::{SchemaKind, TimestampFormat};

fn records(values: &[&str]) -> Vec<Record> {
    values.iter().map(|value| Record { value: Some(value.as_bytes().to_vec()), ..Record::default() }).collect()
}

/// Each member as `path type share?`, `?` if it is nullable.
fn told(inferred: &Inferred) -> Vec<String> {
    let kind = |holds| match holds {
        Holds::NoField => "none".to_owned(),
        Holds::Kind(FieldKind::Timestamp(TimestampFormat::Rfc3339)) => "timestamp".into(),
        Holds::Kind(kind) => format!("{kind:?}").to_lowercase(),
    };
    let member = |member: &Member| {
        let nullable = if member.nullable { "?" } else { "" };
        format!("{} {} {}{nullable}", member.path.join("."), kind(member.holds), member.present)
    };
    inferred.members.iter().map(member).collect()
}

fn fields(inferred: &Inferred) -> Vec<Field> {
    let field = |member: &Member| match member.holds {
        Holds::Kind(kind) => {
            let (name, path) = (member.path.join("_"), member.path.clone());
            Some(Field { name, kind, nullable: member.nullable, path })
        }
        Holds::NoField => None,
    };
    inferred.members.iter().filter_map(field).collect()
}

#[test]
fn types_are_widened_and_absence_makes_nullable() {
    let records = records(&[
        r#"{"id":1,"x":1,"at":"2026-11-21T07:00:00Z","day":"2026-11-21","s":"2026-11-21","ok":true,"n":null}"#,
        r#"{"id":2,"x":2.5,"at":"2026-11-21T07:00:00+01:00","day":"2026-11-22","s":"soon","ok":null,"huge":18446744073709551615}"#,
    ]);
    let inferred = infer(&records, &Guide::Json);
    let expected = [
        "id int64 2",
        "x float64 2",
        "at timestamp 2",
        "day date 2",
        "s string 2",
        "ok bool 1?",
        "n none 0?",
        "huge float64 1?",
    ];
    assert_eq!(told(&inferred), expected);
    assert_eq!((inferred.rows, inferred.odd.len()), (2, 0));
    assert_eq!(inferred.rejects(fields(&inferred), &records).unwrap(), BTreeMap::new());
}

#[test]
fn what_no_field_holds_is_told_and_left_out() {
    let records = records(&[
        r#"{"tags":[1],"mixed":1,"a":{"b":1,"c":{"d":"x"}},"odd":{"x":1}}"#,
        r#"{"tags":[],"mixed":"x","a":null,"odd":5,"mixed":"y"}"#,
    ]);
    let inferred = infer(&records, &Guide::Json);
    let expected = ["tags none 2", "mixed none 2", "a.b int64 1?", "a.c.d string 1?", "odd none 2", "odd.x none 1?"];
    assert_eq!(told(&inferred), expected);
    let notes: Vec<_> = inferred.members.iter().filter_map(|member| member.note.as_deref()).collect();
    let expected = [
        "an array, which no field holds",
        "of several types: 1 number, 1 text",
        "of several types: 1 number, 1 object",
        "\"odd\" is not always an object",
    ];
    assert_eq!(notes, expected);
    assert_eq!(inferred.rejects(fields(&inferred), &records).unwrap(), BTreeMap::new());
}

#[test]
fn a_broken_record_in_many_does_not_decide_what_a_field_holds() {
    let texts: Vec<String> =
        (0..20).map(|at| if at == 7 { r#"{"x":"n/a"}"#.into() } else { format!("{{\"x\":{at}.5}}") }).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let inferred = infer(&records(&texts), &Guide::Json);
    assert_eq!(told(&inferred), ["x float64 20"]);
    assert_eq!(inferred.members[0].note.as_deref(), Some("besides 1 text, which would be rejects"));
    let rejects = inferred.rejects(fields(&inferred), &records(&texts)).unwrap();
    assert_eq!(rejects, BTreeMap::from([(Reason::WrongType, 1)]));

    let fewer = infer(&records(&texts[1..]), &Guide::Json);
    assert_eq!(told(&fewer), ["x none 19"]);
}

#[test]
fn whole_numbers_that_look_like_times_stay_numbers_with_a_note() {
    for (number, unit) in [(1_700_000_000_i64, Some("s")), (1_700_000_000_123, Some("ms")), (12, None), (-1, None)] {
        let inferred = infer(&records(&[&format!("{{\"t\":{number}}}")]), &Guide::Json);
        let note = inferred.members[0].note.clone();
        assert_eq!(note, unit.map(|unit| format!("may be a time: type = \"timestamp\", unit = \"{unit}\"")));
        assert_eq!(inferred.members[0].holds, Holds::Kind(FieldKind::Int64));
    }
}

#[test]
fn lines_and_envelopes_are_recognised() {
    let several = records(&["{\"a\":1}\n{\"a\":2,\"b\":1}\n", "{\"a\":3}"]);
    let inferred = infer(&several, &Guide::Json);
    assert_eq!(inferred.format, Format::Json(JsonSettings { lines: Some(ANY_HOURS), envelope: Envelope::None }));
    assert_eq!((told(&inferred), inferred.rows), (vec!["a int64 3".into(), "b int64 1?".into()], 3));
    let mut changes = records(&[
        r#"{"op":"c","after":{"id":1}}"#,
        r#"{"schema":{},"payload":{"op":"u","before":{"id":1},"after":{"id":2}}}"#,
        r#"{"op":"d","before":{"id":2},"after":null}"#,
    ]);
    changes.push(Record::default());
    let inferred = infer(&changes, &Guide::Json);
    assert_eq!(inferred.format, Format::Json(JsonSettings { lines: None, envelope: Envelope::Debezium }));
    assert_eq!((told(&inferred), inferred.rows, inferred.odd.len()), (vec!["id int64 2".into()], 2, 0));
    assert_eq!(inferred.rejects(fields(&inferred), &changes).unwrap(), BTreeMap::new());
}

#[test]
fn odd_records_are_counted_and_would_be_rejects() {
    let mut records = records(&["{\"a\":1}", "{", "[1]", "", "nonsense"]);
    records.push(Record::default());
    let inferred = infer(&records, &Guide::Json);
    let odd: Vec<_> = inferred.odd.iter().map(|(what, records)| (what.as_str(), *records)).collect();
    assert_eq!(odd, [("not JSON", 2), ("not an object", 1), ("without a byte", 1), ("without a value", 1)]);
    let rejects = inferred.rejects(fields(&inferred), &records).unwrap();
    assert_eq!(rejects, [(Reason::Empty, 2), (Reason::NotJson, 2), (Reason::WrongType, 1)].into());
}

#[test]
fn columns_of_csv_get_types_and_names() {
    let records = records(&["1;a;1.5;true;;2026-11-21", "2;\"b;c\";2;False;;soon", "3;x"]);
    let guide = Guide::Csv { delimiter: b';', columns: vec![] };
    let inferred = infer(&records, &guide);
    let expected = [
        "column_1 int64 2",
        "column_2 string 2",
        "column_3 float64 2",
        "column_4 bool 2",
        "column_5 string 0?",
        "column_6 string 2",
    ];
    assert_eq!(told(&inferred), expected);
    assert_eq!(inferred.odd, [("not of 6 columns".to_owned(), 1)].into());
    assert_eq!(inferred.rejects(fields(&inferred), &records).unwrap(), [(Reason::NotCsv, 1)].into());
    let named = infer(&records, &Guide::Csv { delimiter: b';', columns: vec!["id".into(), "text".into()] });
    assert_eq!(told(&named), ["id int64 1", "text string 1"]);
}

#[test]
fn nothing_says_nothing() {
    for guide in [Guide::Json, Guide::Csv { delimiter: b',', columns: vec![] }] {
        let inferred = infer(&[], &guide);
        assert_eq!((inferred.rows, inferred.members.len()), (0, 0));
    }
}

fn scalar() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        proptest::num::f64::NORMAL.prop_map(Into::into),
        "[a-z]{0,3}".prop_map(Into::into),
        Just("2026-11-21".into()),
        Just("2026-11-21T07:00:00Z".into()),
    ]
}

proptest! {
    /// The point of it all.
    #[test]
    fn what_is_inferred_from_objects_takes_them_all(rows in prop::collection::vec(prop::collection::btree_map("[ab]", prop_oneof![scalar(), prop::collection::btree_map("[cd]", scalar(), 0..3).prop_map(|inner| serde_json::json!(inner))], 0..3), 1..8)) {
        let values: Vec<String> = rows.iter().map(|row| serde_json::json!(row).to_string()).collect();
        let records = records(&values.iter().map(String::as_str).collect::<Vec<_>>());
        let inferred = infer(&records, &Guide::Json);
        prop_assert_eq!(inferred.rejects(fields(&inferred), &records).unwrap(), BTreeMap::new());
    }

    #[test]
    fn no_bytes_make_it_panic(values in prop::collection::vec(any::<Option<Vec<u8>>>(), 0..8)) {
        let records: Vec<_> = values.into_iter().map(|value| Record { value, ..Record::default() }).collect();
        for guide in [Guide::Json, Guide::Csv { delimiter: b',', columns: vec![] }, Guide::Raw] {
            prop_assert!(infer(&records, &guide).rows <= records.len() as u64 * 100);
        }
    }
}

#[test]
fn a_schema_says_the_types_and_the_sample_says_the_shares() {
    let text = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"]},
        {"name":"in","type":["null",{"type":"record","name":"I","fields":[{"name":"at","type":
        {"type":"long","logicalType":"timestamp-millis"}},{"name":"again","type":["null","I"]}]}]},
        {"name":"list","type":{"type":"array","items":"int"}},{"name":"either","type":["int","string"]}]}"#;
    let framed = |body: &[u8]| Record { value: Some([&[0, 0, 0, 0, 7], body].concat()), ..Record::default() };
    let records = [
        framed(&[2, 0, 0, 0, 0, 2]),
        framed(&[4, 2, 2, b'x', 2, 10, 0, 0, 0, 2]),
        framed(&[6, 0, 2, 10, 0, 0, 0, 2]),
        framed(&[1]),
    ];
    assert_eq!(schemas_named(&records).into_iter().collect::<Vec<_>>(), [7]);
    let schema = Schema { kind: SchemaKind::Avro, text: text.into(), imports: vec![] };
    let guide = BySchema { writers: vec![(7, schema)], message: None };
    let inferred = infer_by_schema(&records, &guide).unwrap();
    let told: Vec<_> =
        inferred.members.iter().map(|member| (member.path.join("."), member.present, member.nullable)).collect();
    let wanted = [
        ("id", 3, false),
        ("name", 1, true),
        ("in.at", 2, true),
        ("in.again", 0, true),
        ("list", 0, false),
        ("either", 0, false),
    ];
    assert_eq!(told, wanted.map(|(path, present, nullable)| (path.to_owned(), present, nullable)));
    let held: Vec<_> = inferred.members.iter().filter(|member| member.holds != Holds::NoField).collect();
    assert_eq!(held.len(), 3);
    assert_eq!(held[2].holds, Holds::Kind(FieldKind::Timestamp(TimestampFormat::Milliseconds)));
    assert_eq!(inferred.rejects(fields(&inferred), &records).unwrap(), [(Reason::NotAvro, 1)].into());
    assert!(infer_by_schema(&records, &BySchema { writers: vec![], message: None }).is_err());
}

#[test]
fn a_message_of_protobuf_says_what_it_holds() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/timestamp.proto\"; \
                message M { int64 id = 1; optional string name = 2; M again = 3; repeated int32 list = 4; \
                google.protobuf.BoolValue on = 5; google.protobuf.Timestamp at = 6; uint64 far = 7; map<string, int32> m = 8; }";
    let schema = Schema { kind: SchemaKind::Protobuf, text: text.into(), imports: vec![] };
    let records = [Record { value: Some(vec![0, 0, 0, 0, 7, 0, 0x08, 1]), ..Record::default() }];
    let guide = BySchema { writers: vec![(7, schema)], message: None };
    let inferred = infer_by_schema(&records, &guide).unwrap();
    let told: Vec<_> =
        inferred.members.iter().map(|member| (member.path.join("."), member.present, member.nullable)).collect();
    let wanted = [
        ("id", 1, false),
        ("name", 0, true),
        ("again", 0, true),
        ("list", 0, false),
        ("on", 0, true),
        ("at", 0, true),
        ("far", 1, false),
        ("m", 0, false),
    ];
    assert_eq!(told, wanted.map(|(path, present, nullable)| (path.to_owned(), present, nullable)));
}
