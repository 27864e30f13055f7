//! The decoder as its callers see it.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{
        DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        TimestampNanosecondType,
    },
    util::display::array_value_to_string,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::record::{FieldKind, Reason, TimestampFormat::*};

mod formats;

/// 2026-11-21T07:00:00Z
const NOW_MS: i64 = 1_795_244_400_000;
const HOUR_MS: i64 = 3_600_000;
const RECORD_BYTES_MAX: usize = 4_096;

fn field(path: &str, kind: FieldKind) -> Field {
    Field { name: path.to_owned(), kind, nullable: false, path: path.split('.').map(str::to_owned).collect() }
}

fn nullable(path: &str, kind: FieldKind) -> Field {
    Field { nullable: true, ..field(path, kind) }
}

fn settings(fields: Vec<Field>) -> DecodeSettings {
    let window = EventWindow { earliest_ms: 0, ahead_ms: HOUR_MS };
    let (format, event_time) = (Format::default(), EventTime::Broker);
    DecodeSettings { format, fields, event_time, window, record_bytes_max: RECORD_BYTES_MAX }
}

fn decoder_with(fields: Vec<Field>, event_time: EventTime) -> Decoder {
    Decoder::new(&DecodeSettings { event_time, ..settings(fields) })
}

fn decoder(fields: Vec<Field>) -> Decoder {
    decoder_with(fields, EventTime::Broker)
}

fn record(value: impl AsRef<[u8]>) -> Record {
    Record { timestamp_ms: NOW_MS, value: Some(value.as_ref().to_vec()), ..Record::default() }
}

fn decode(decoder: &Decoder, values: &[impl AsRef<[u8]>]) -> Decoded {
    let records: Vec<Record> = values.iter().map(record).collect();
    decoder.decode(&records, NOW_MS).unwrap()
}

/// What becomes of a record: `Ok` with its columns as text, or `Err` with the reason's code and the detail.
fn fate(decoder: &Decoder, value: impl AsRef<[u8]>) -> Result<String, String> {
    let outcome = decode(decoder, &[value]);
    match outcome.rejects.as_slice() {
        [] => Ok(texts(&outcome).remove(0)),
        [reject] => Err(format!("{}: {}", reject.reason, reject.detail)),
        more => panic!("one record became {} rejects", more.len()),
    }
}

/// Each row as text, its columns parted by `|`.
fn texts(outcome: &Decoded) -> Vec<String> {
    let columns: Vec<_> = outcome.rows.columns.columns().iter().map(printable).collect();
    let cell = |column, row| array_value_to_string(column, row).unwrap();
    let row = |row| columns.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|");
    (0..outcome.rows.columns.num_rows()).map(row).collect()
}

/// Arrow prints a time with a zone only with a database of zones; these are all UTC.
fn printable(column: &ArrayRef) -> ArrayRef {
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        Arc::new(times.clone().with_timezone_opt(None::<&str>))
    } else if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
        Arc::new(times.clone().with_timezone_opt(None::<&str>))
    } else {
        Arc::clone(column)
    }
}

/// One field `f` of `kind`; each value with the text of its column, or the reject.
fn check(kind: FieldKind, table: &[(&str, Result<&str, &str>)]) {
    let decoder = decoder(vec![field("f", kind)]);
    for (value, expected) in table {
        let fate = fate(&decoder, format!("{{\"f\":{value}}}"));
        assert_eq!(fate.as_deref().map_err(String::as_str), *expected, "{kind:?} from {value}");
    }
    assert_eq!(fate(&decoder, "{}"), Err("missing_field: f is missing".into()), "{kind:?}");
    assert_eq!(fate(&decoder, "{\"f\":null}"), Err("missing_field: f is null".into()), "{kind:?}");
    let nullable = self::decoder(vec![nullable("f", kind)]);
    assert_eq!(fate(&nullable, "{}"), Ok(String::new()), "{kind:?}");
    assert_eq!(fate(&nullable, "{\"f\":null}"), Ok(String::new()), "{kind:?}");
}

#[test]
fn int32_takes_whole_numbers_in_range() {
    check(
        FieldKind::Int32,
        &[
            ("0", Ok("0")),
            ("-0", Ok("0")),
            ("2147483647", Ok("2147483647")),
            ("-2147483648", Ok("-2147483648")),
            ("5.0", Ok("5")),
            ("1e3", Ok("1000")),
            ("2147483648", Err("wrong_type: f: 2147483648 is out of range for int32")),
            ("-2147483649", Err("wrong_type: f: -2147483649 is out of range for int32")),
            ("1e10", Err("wrong_type: f: 10000000000.0 is out of range for int32")),
            ("1e300", Err("wrong_type: f: 1e300 is out of range for int32")),
            ("5.5", Err("wrong_type: f: 5.5 is not int32")),
            ("\"5\"", Err("wrong_type: f: the text \"5\" is not int32")),
            ("true", Err("wrong_type: f: true is not int32")),
            ("[5]", Err("wrong_type: f: an array is not int32")),
            ("{\"f\":5}", Err("wrong_type: f: an object is not int32")),
            ("NaN", Err("not_a_number: f: NaN is not a finite number as int32")),
        ],
    );
}

#[test]
fn int64_takes_whole_numbers_that_are_exact() {
    check(
        FieldKind::Int64,
        &[
            ("9223372036854775807", Ok("9223372036854775807")),
            ("-9223372036854775808", Ok("-9223372036854775808")),
            ("9007199254740991.0", Ok("9007199254740991")),
            ("9007199254740993.0", Err("wrong_type: f: 9007199254740992.0 is out of range for int64")),
            ("9223372036854775808", Err("wrong_type: f: 9223372036854775808 is out of range for int64")),
            ("18446744073709551616", Err("wrong_type: f: 1.8446744073709552e19 is out of range for int64")),
            ("-9223372036854775809", Err("wrong_type: f: -9.223372036854776e18 is out of range for int64")),
            ("0.1", Err("wrong_type: f: 0.1 is not int64")),
        ],
    );
}

#[test]
fn float64_takes_finite_numbers() {
    check(
        FieldKind::Float64,
        &[
            ("0.30000000000000004", Ok("0.30000000000000004")),
            ("7", Ok("7.0")),
            ("18446744073709551615", Ok("1.8446744073709552e19")),
            ("1e-999", Ok("0.0")),
            ("1e308", Ok("1e308")),
            ("1e999", Err("not_a_number: f: 1e999 is not a finite number as float64")),
            ("-1e99999999999", Err("not_a_number: f: -1e99999999999 is not a finite number as float64")),
            ("NaN", Err("not_a_number: f: NaN is not a finite number as float64")),
            ("Infinity", Err("not_a_number: f: Infinity is not a finite number as float64")),
            ("-Infinity", Err("not_a_number: f: -Infinity is not a finite number as float64")),
            ("\"NaN\"", Err("not_a_number: f: the text \"NaN\" is not a finite number as float64")),
            ("\"-Infinity\"", Err("not_a_number: f: the text \"-Infinity\" is not a finite number as float64")),
            ("\"5.1\"", Err("wrong_type: f: the text \"5.1\" is not float64")),
            ("false", Err("wrong_type: f: false is not float64")),
        ],
    );
}

#[test]
fn float32_rounds_and_refuses_what_it_can_not_hold() {
    check(
        FieldKind::Float32,
        &[
            ("0.1", Ok("0.1")),
            ("16777217", Ok("16777216.0")),
            ("1e300", Err("not_a_number: f: 1e300 is not a finite number as float32")),
            ("-1e39", Err("not_a_number: f: -1e39 is not a finite number as float32")),
            ("\"x\"", Err("wrong_type: f: the text \"x\" is not float32")),
        ],
    );
}

#[test]
fn bool_and_string_take_only_themselves() {
    check(FieldKind::Bool, &[("true", Ok("true")), ("false", Ok("false"))]);
    check(
        FieldKind::Bool,
        &[("1", Err("wrong_type: f: 1 is not bool")), ("{}", Err("wrong_type: f: an object is not bool"))],
    );
    check(
        FieldKind::String,
        &[
            ("\"\"", Ok("")),
            ("\"NaN\"", Ok("NaN")),
            (r#""a\"\u00e9\ud83d\ude00""#, Ok("a\"é😀")),
            ("5", Err("wrong_type: f: 5 is not string")),
            ("18446744073709551615", Err("wrong_type: f: 18446744073709551615 is not string")),
            ("NaN", Err("not_a_number: f: NaN is not a finite number as string")),
        ],
    );
}

#[test]
fn rfc3339_timestamps_are_microseconds_in_utc() {
    check(
        FieldKind::Timestamp(Rfc3339),
        &[
            ("\"2026-11-21T07:59:59.999Z\"", Ok("2026-11-21T07:59:59.999")),
            ("\"2026-11-21T07:59:59.123456789-05:30\"", Ok("2026-11-21T13:29:59.123456")),
            ("\"2026-11-21\"", Err("wrong_type: f: the text \"2026-11-21\" is not an RFC 3339 timestamp")),
            ("1700000000", Err("wrong_type: f: 1700000000 is not an RFC 3339 timestamp")),
        ],
    );
}

#[test]
fn epoch_timestamps_are_scaled_to_the_unit_of_their_column() {
    let time = "2023-11-14T22:13:20";
    let table: [(_, &str, &str); 7] = [
        (Seconds, "1700000000", ""),
        (Seconds, "1700000000.123", ".123"),
        (Seconds, "1.7e9", ""),
        (Milliseconds, "1700000000123", ".123"),
        (Microseconds, "1700000000123456", ".123456"),
        (Microseconds, "1700000000123456.25", ".123456"),
        (Nanoseconds, "1700000000123456789", ".123456789"),
    ];
    for (format, value, expected) in table {
        check(FieldKind::Timestamp(format), &[(value, Ok(&format!("{time}{expected}")))]);
    }
    let text = "wrong_type: f: the text \"1700000000\" is not a timestamp in seconds";
    check(FieldKind::Timestamp(Seconds), &[("\"1700000000\"", Err(text))]);
}

#[test]
fn epoch_timestamps_that_overflow_are_of_the_wrong_type() {
    for (format, value, unit) in [
        (Seconds, "9223372036855", "seconds"),
        (Seconds, "-9.3e12", "seconds"),
        (Milliseconds, "9223372036854776", "milliseconds"),
        (Microseconds, "9223372036854775808", "microseconds"),
        (Nanoseconds, "1e19", "nanoseconds"),
    ] {
        let fate = fate(&decoder(vec![field("f", FieldKind::Timestamp(format))]), format!("{{\"f\":{value}}}"));
        let fate = fate.unwrap_err();
        assert!(
            fate.starts_with("wrong_type: f: ") && fate.ends_with(&format!("range for a timestamp in {unit}")),
            "{fate}"
        );
    }
}

#[test]
fn dates_are_dates() {
    check(
        FieldKind::Date,
        &[
            ("\"2026-11-21\"", Ok("2026-11-21")),
            ("\"0000-01-01\"", Ok("0000-01-01")),
            ("\"2026-02-29\"", Err("wrong_type: f: the text \"2026-02-29\" is not a date such as 2026-11-21")),
            ("20261121", Err("wrong_type: f: 20261121 is not a date such as 2026-11-21")),
        ],
    );
}

#[test]
fn the_schema_is_that_of_the_rows() {
    let fields = vec![
        nullable("i", FieldKind::Int32),
        field("s", FieldKind::String),
        field("u", FieldKind::Timestamp(Milliseconds)),
        field("n", FieldKind::Timestamp(Nanoseconds)),
    ];
    let decoder = decoder(fields);
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let types = [DataType::Int32, DataType::Utf8, utc(TimeUnit::Microsecond), utc(TimeUnit::Nanosecond)];
    let schema = decoder.schema();
    assert!(schema.fields().iter().map(|field| field.data_type()).eq(&types));
    assert_eq!(
        schema.fields().iter().map(|field| field.is_nullable()).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    assert_eq!(decode(&decoder, &[r#"{"i":1,"s":"","u":1,"n":1}"#]).rows.columns.schema(), schema);
    assert_eq!(decode(&decoder, &["{}"]).rows.columns.schema(), schema);
}

#[test]
fn without_fields_a_row_is_still_a_row() {
    let outcome = decode(&decoder(vec![]), &["{}", "[]", "{\"a\":[1]}"]);
    assert_eq!((outcome.rows.columns.num_rows(), outcome.rows.source), (2, vec![0, 2]));
}

#[test]
fn nothing_is_a_reject_of_its_own() {
    let decoder = decoder(vec![]);
    let records = [Record { value: None, timestamp_ms: NOW_MS, ..Record::default() }, record("")];
    let rejects = decoder.decode(&records, NOW_MS).unwrap().rejects;
    assert!(rejects.iter().all(|reject| reject.reason == Reason::Empty));
    assert_eq!(rejects[0].detail, "a tombstone: the record has no value");
    assert_eq!(rejects[1].detail, "the value has no bytes");
}

#[test]
fn a_value_over_the_limit_is_too_large_whatever_it_is() {
    let decoder = decoder(vec![]);
    let at_limit = format!("{{}}{}", " ".repeat(RECORD_BYTES_MAX - 2));
    assert_eq!(fate(&decoder, &at_limit), Ok(String::new()));
    let fate = fate(&decoder, "x".repeat(RECORD_BYTES_MAX + 1));
    assert_eq!(fate, Err("too_large: the value has 4097 bytes, over the limit of 4096".into()));
}

#[test]
fn what_is_not_json_says_where() {
    let decoder = decoder(vec![field("a", FieldKind::Int64)]);
    for (value, detail) in [
        ("{\"a\":1", "EOF while parsing an object at line 1 column 6"),
        ("{\"a\":1} x", "trailing characters at line 1 column 9"),
        ("{\"a\":1}{\"a\":1}", "trailing characters at line 1 column 8"),
        ("{\"a\":01}", "invalid number at line 1 column 7"),
        ("{\"a\":nan}", "expected ident at line 1 column 7"),
        ("{a:1}", "key must be a string at line 1 column 2"),
        ("{\"b\":\"\n\"}", "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6"),
        (" ", "EOF while parsing a value at line 1 column 1"),
    ] {
        assert_eq!(fate(&decoder, value), Err(format!("not_json: {detail}")), "{value}");
    }
    assert_eq!(fate(&decoder, b"{\"a\":1,\"b\":\"\xff\"}"), Err("not_json: not UTF-8 from byte 13 on".into()));
}

#[test]
fn only_an_object_can_be_a_row() {
    let decoder = decoder(vec![nullable("a", FieldKind::Int64)]);
    for value in ["null", "5", "\"{}\"", "[{\"a\":1}]", "true", "[NaN]"] {
        assert_eq!(fate(&decoder, value), Err("wrong_type: the value is JSON, but not an object".into()), "{value}");
    }
}

#[test]
fn the_gravest_fault_is_reported_and_of_equal_ones_the_first() {
    let fields = ["a", "b", "c", "d"].map(|name| field(name, FieldKind::Float64));
    let decoder = decoder(fields.into());
    for (value, expected) in [
        (r#"{"a":NaN,"c":"x","d":true"#, "not_json: expected value at line 1 column 6"),
        (r#"{"a":NaN,"c":"x","d":true}"#, "wrong_type: c: the text \"x\" is not float64"),
        (r#"{"a":NaN,"c":1e999,"d":1}"#, "missing_field: b is missing"),
        (r#"{"a":1,"b":"NaN","c":1e999,"d":1}"#, "not_a_number: b: the text \"NaN\" is not a finite number as float64"),
        (
            r#"{"a":1,"b":1,"c":1,"d":1,"e":{"f":[NaN]}}"#,
            "not_a_number: a member that is not a declared field is NaN or infinite",
        ),
    ] {
        assert_eq!(fate(&decoder, value), Err(expected.into()), "{value}");
    }
}

#[test]
fn a_number_too_large_for_a_float_is_no_matter_where_nobody_reads_it() {
    assert_eq!(fate(&decoder(vec![field("a", FieldKind::Int64)]), r#"{"b":1e999,"a":1,"c":[1e999]}"#), Ok("1".into()));
}

#[test]
fn fields_are_read_from_nested_objects() {
    let decoder = decoder(vec![
        nullable("payload.after.id", FieldKind::Int64),
        nullable("payload.op", FieldKind::String),
        nullable("id", FieldKind::Int64),
    ]);
    for (value, expected) in [
        (r#"{"id":1,"payload":{"op":"c","before":{"id":7},"after":{"id":2,"x":[{"id":8}]}}}"#, Ok("2|c|1")),
        (r#"{"payload":{"op":"d","after":null}}"#, Ok("|d|")),
        (r#"{"payload":null,"id":3}"#, Ok("||3")),
        ("{}", Ok("||")),
        (r#"{"payload":{"after":{"id":{"id":1}}}}"#, Err("wrong_type: payload.after.id: an object is not int64")),
        (
            r#"{"payload":{"after":5}}"#,
            Err("wrong_type: payload.after.id: what lies in something other than an object is not int64"),
        ),
        (
            r#"{"payload":[{"after":{"id":1}}]}"#,
            Err("wrong_type: payload.after.id: what lies in something other than an object is not int64"),
        ),
    ] {
        assert_eq!(fate(&decoder, value).as_deref().map_err(String::as_str), expected, "{value}");
    }
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let decoder = decoder(vec![nullable("a.x", FieldKind::Int64), nullable("a.y", FieldKind::Int64)]);
    for (value, expected) in [
        (r#"{"a":{"x":1,"x":2}}"#, "2|"),
        (r#"{"a":{"x":"no","x":2}}"#, "2|"),
        (r#"{"a":{"x":1},"a":{"y":2}}"#, "|2"),
        (r#"{"a":{"x":1},"a":null}"#, "|"),
        (r#"{"a":[],"a":{"y":2}}"#, "|2"),
        (r#"{"a":{"\u0078":3}}"#, "3|"),
    ] {
        assert_eq!(fate(&decoder, value), Ok(expected.into()), "{value}");
    }
}

#[test]
fn two_columns_may_be_read_from_one_place() {
    let seen = Field { name: "at".into(), ..field("seen", FieldKind::Timestamp(Rfc3339)) };
    let decoder = decoder(vec![field("seen", FieldKind::String), seen]);
    let fate = fate(&decoder, r#"{"seen":"2026-11-21T07:00:00\u005a"}"#);
    assert_eq!(fate, Ok("2026-11-21T07:00:00Z|2026-11-21T07:00:00".into()));
}

#[test]
fn an_absent_slot_does_not_keep_the_last_records_value() {
    let decoder = decoder(vec![nullable("a.b", FieldKind::String), nullable("c", FieldKind::Bool)]);
    let outcome = decode(&decoder, &[r#"{"a":{"b":"x"},"c":true}"#, "{}", r#"{"c":false}"#]);
    assert_eq!(texts(&outcome), ["x|true", "|", "|false"]);
}

#[test]
fn nesting_can_not_exhaust_the_stack() {
    const DEEP: usize = 1_000_000;
    let fields = vec![nullable("a.b", FieldKind::Int64)];
    let decoder = Decoder::new(&DecodeSettings { record_bytes_max: usize::MAX, ..settings(fields) });
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let objects = "{\"a\":".repeat(DEEP);
    assert!(fate(&decoder, &open).unwrap_err().starts_with("not_json: "));
    assert!(fate(&decoder, &objects).unwrap_err().starts_with("not_json: "));
    assert!(fate(&decoder, format!("{{\"a\":{open}{close}}}")).unwrap_err().starts_with("wrong_type: "));
    assert!(fate(&decoder, format!("{{\"a\":{{\"b\":{open}{close}}}}}")).unwrap_err().starts_with("wrong_type: "));
    assert_eq!(fate(&decoder, format!("{{\"x\":{open}{close}}}")), Ok(String::new()));
}

#[test]
fn a_detail_is_short_however_long_the_record_is() {
    let long = "é".repeat(1_000);
    let decoder = decoder(vec![field(&long, FieldKind::Bool), field("f", FieldKind::Bool)]);
    let missing = fate(&decoder, "{\"f\":true}").unwrap_err();
    assert!(missing.len() <= "missing_field: ".len() + refusal::DETAIL_BYTES_MAX && missing.contains("éé"));
    let wrong = fate(&decoder, format!("{{\"f\":{:?}}}", "\u{7}".repeat(500).replace('\u{7}', "é\\n"))).unwrap_err();
    assert!(wrong.ends_with("\"… is not bool") && wrong.len() < 200, "{wrong}");
}

#[test]
fn an_event_outside_the_window_is_a_reject_that_is_filed_inside() {
    let decoder = decoder(vec![]);
    let at = |timestamp_ms| Record { timestamp_ms, ..record("{}") };
    let late = NOW_MS + HOUR_MS;
    let outcome = decoder.decode(&[at(-1), at(0), at(late), at(late + 1), at(i64::MIN), at(i64::MAX)], NOW_MS).unwrap();
    assert_eq!((outcome.rows.source, outcome.rows.event_ms), (vec![1, 2], vec![0, late]));
    assert_eq!(outcome.rejects.iter().map(|reject| reject.source).collect::<Vec<_>>(), [0, 3, 4, 5]);
    assert!(outcome.rejects.iter().all(|reject| reject.reason == Reason::EventTime && reject.event_ms == 0));
    let detail = "event time 2026-11-21T08:00:00.001Z is outside 1970-01-01T00:00:00.000Z to 2026-11-21T08:00:00.000Z";
    assert_eq!(outcome.rejects[1].detail, detail);
}

#[test]
fn a_reject_is_filed_under_the_brokers_time_if_that_can_be_believed() {
    let decoder = decoder_with(vec![field("t", FieldKind::Timestamp(Milliseconds))], EventTime::Field(0));
    let records = [record("{\"t\":-5}"), Record { timestamp_ms: -5, ..record("x") }];
    let rejects = decoder.decode(&records, NOW_MS).unwrap().rejects;
    assert_eq!((rejects[0].reason, rejects[0].event_ms, rejects[0].dated), (Reason::EventTime, NOW_MS, true));
    assert_eq!((rejects[1].reason, rejects[1].event_ms, rejects[1].dated), (Reason::NotJson, 0, false));
}

#[test]
fn a_field_tells_the_event_time_and_must_then_be_there() {
    for (format, value) in
        [(Seconds, "1.2345"), (Milliseconds, "1234"), (Microseconds, "1234999"), (Nanoseconds, "1234999999")]
    {
        let kind = FieldKind::Timestamp(format);
        let decoder = decoder_with(vec![nullable("a", FieldKind::Bool), nullable("t", kind)], EventTime::Field(1));
        let outcome = decode(&decoder, &[format!("{{\"t\":{value}}}"), "{}".into(), "{\"t\":null}".into()]);
        assert_eq!((outcome.rows.source, outcome.rows.event_ms), (vec![0], vec![1234]), "{format:?}");
        assert!(outcome.rejects.iter().all(|reject| reject.reason == Reason::MissingField));
        assert_eq!(outcome.rejects.len(), 2);
    }
}

#[test]
fn an_event_time_from_a_field_that_is_no_timestamp_is_refused_as_a_whole() {
    for (index, kind) in [(0, FieldKind::Date), (1, FieldKind::Timestamp(Seconds))] {
        let error = decoder_with(vec![field("a", kind)], EventTime::Field(index)).decode(&[], NOW_MS).unwrap_err();
        assert!(matches!(error, DecodeError::EventField { index: at } if at == index), "{error}");
    }
}

/// Fields of every kind, below two objects.
fn every_kind() -> Vec<Field> {
    vec![
        field("a", FieldKind::Int32),
        nullable("n.b", FieldKind::Int64),
        field("c", FieldKind::Float32),
        nullable("n.d", FieldKind::Float64),
        field("e", FieldKind::Bool),
        nullable("n.f", FieldKind::String),
        nullable("t", FieldKind::Timestamp(Rfc3339)),
        nullable("s", FieldKind::Timestamp(Seconds)),
        nullable("day", FieldKind::Date),
    ]
}

type Row = (i32, Option<i64>, f32, Option<f64>, bool, Option<String>);

fn row() -> impl Strategy<Value = Row> {
    use proptest::{num, option};
    let (single, double) = (num::f32::NORMAL | num::f32::ZERO, num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO);
    (any::<i32>(), any::<Option<i64>>(), single, option::of(double), any::<bool>(), any::<Option<String>>())
}

fn json_of(row: &Row) -> String {
    let nested = json!({"b": row.1, "d": row.3, "f": row.5, "x": [1, {"y": null}]});
    json!({"a": row.0, "n": nested, "c": row.2, "e": row.4, "z": "skipped"}).to_string()
}

fn read_back(outcome: &Decoded) -> Vec<Row> {
    let columns = outcome.rows.columns.columns();
    let at = |row| {
        let some = |column: usize| columns[column].is_valid(row);
        (
            columns[0].as_primitive::<Int32Type>().value(row),
            some(1).then(|| columns[1].as_primitive::<Int64Type>().value(row)),
            columns[2].as_primitive::<Float32Type>().value(row),
            some(3).then(|| columns[3].as_primitive::<Float64Type>().value(row)),
            columns[4].as_boolean().value(row),
            some(5).then(|| columns[5].as_string::<i32>().value(row).to_owned()),
        )
    };
    (0..outcome.rows.columns.num_rows()).map(at).collect()
}

/// Every record is a row or a reject and both are in order.
fn assert_whole(outcome: &Decoded, records: usize) {
    let rows = &outcome.rows;
    let rejected: Vec<u32> = outcome.rejects.iter().map(|reject| reject.source).collect();
    assert!(outcome.filtered.is_empty() && rows.row.is_empty());
    assert!(rows.source.is_sorted_by(|a, b| a < b) && rejected.is_sorted_by(|a, b| a < b));
    let mut all = [rows.source.as_slice(), &rejected].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..u32::try_from(records).unwrap()));
    assert_eq!((rows.columns.num_rows(), rows.event_ms.len()), (rows.source.len(), rows.source.len()));
    assert!(outcome.rejects.iter().all(|reject| reject.detail.len() <= refusal::DETAIL_BYTES_MAX));
}

/// Bytes of JSON, cut, flipped or with something put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 12] =
        [b"NaN", b"\"", b"{", b"}", b"[", b",", b"\\", b"1e999", b"\xff", b"null", b"-Infinity", b":"];
    let edit = (any::<prop::sample::Index>(), 0..3, any::<u8>(), prop::sample::select(&PIECES[..]));
    (row(), prop::collection::vec(edit, 0..4)).prop_map(|(row, edits)| {
        let mut bytes = json_of(&row).into_bytes();
        for (at, edit, byte, piece) in edits {
            let at = at.index(bytes.len() + 1);
            match edit {
                0 => bytes.truncate(at),
                1 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= byte),
                _ => drop(bytes.splice(at..at, piece.iter().copied())),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn rows_are_what_was_encoded(rows in prop::collection::vec(row(), 0..20)) {
        let outcome = decode(&decoder(every_kind()), &rows.iter().map(json_of).collect::<Vec<_>>());
        prop_assert_eq!(&outcome.rejects, &[]);
        prop_assert_eq!(read_back(&outcome), rows);
    }

    #[test]
    fn any_bytes_are_rows_or_rejects(values in prop::collection::vec(any::<Option<Vec<u8>>>(), 0..20), timestamp_ms: i64) {
        let records: Vec<_> = values.into_iter().map(|value| Record { timestamp_ms, value, ..Record::default() }).collect();
        for fields in [every_kind(), vec![]] {
            assert_whole(&decoder(fields).decode(&records, NOW_MS).unwrap(), records.len());
        }
    }

    #[test]
    fn damaged_json_is_rows_or_rejects(values in prop::collection::vec(mutated(), 1..20)) {
        let outcome = decode(&decoder(every_kind()), &values);
        assert_whole(&outcome, values.len());
        for reject in outcome.rejects.iter().filter(|reject| reject.reason == Reason::NotJson) {
            let value = &values[reject.source as usize];
            prop_assert!(serde_json::from_slice::<serde_json::Value>(value).is_err());
        }
    }

    #[test]
    fn a_good_record_is_the_same_alone_as_beside_bad_ones(values in prop::collection::vec(mutated(), 1..20)) {
        let decoder = decoder(every_kind());
        let mut together = decode(&decoder, &values);
        let rows = texts(&together);
        for (row, source) in std::mem::take(&mut together.rows.source).into_iter().enumerate() {
            prop_assert_eq!(fate(&decoder, &values[source as usize]), Ok(rows[row].clone()));
        }
        for reject in &together.rejects {
            let expected = format!("{}: {}", reject.reason, reject.detail);
            prop_assert_eq!(fate(&decoder, &values[reject.source as usize]), Err(expected));
        }
    }
}
