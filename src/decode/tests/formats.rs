//! The formats beside plain JSON, as callers of the decoder see them.

use super::*;

fn json(lines: Option<Lines>, envelope: Envelope) -> Format {
    Format::Json(JsonSettings { lines, envelope })
}

fn csv(settings: CsvSettings) -> Format {
    Format::Csv(settings)
}

fn decoder_of(format: Format, fields: Vec<Field>) -> Decoder {
    Decoder::new(&DecodeSettings { format, ..settings(fields) })
}

const LINES: Lines = Lines { hours_max: 2 };

fn lines(fields: Vec<Field>) -> Decoder {
    decoder_of(json(Some(LINES), Envelope::None), fields)
}

fn debezium(fields: Vec<Field>) -> Decoder {
    decoder_of(json(None, Envelope::Debezium), fields)
}

/// What a record's one reject says.
fn told(outcome: &Decoded) -> Vec<String> {
    outcome.rejects.iter().map(|reject| format!("{}: {}", reject.reason, reject.detail)).collect()
}

#[test]
fn a_raw_value_is_the_one_field_as_it_is() {
    let decoder = decoder_of(Format::Raw, vec![field("text", FieldKind::String)]);
    assert_eq!(fate(&decoder, " {\"a\":1}\n"), Ok(" {\"a\":1}\n".into()));
    assert_eq!(fate(&decoder, b"a\xff"), Err("not_utf8: not UTF-8 from byte 2 on".into()));
    assert_eq!(fate(&decoder, ""), Err("empty: the value has no bytes".into()));
}

/// Cells, and what becomes of each.
type Cases<'c> = &'c [(&'c str, Result<&'c str, &'c str>)];

#[test]
fn csv_is_typed_by_the_declared_fields() {
    let fields = |kind| vec![nullable("f", kind), field("end", FieldKind::String)];
    let table: &[(FieldKind, Cases<'_>)] = &[
        (
            FieldKind::Int64,
            &[
                ("-7", Ok("-7")),
                (" 5.0 ", Ok("5")),
                ("\"12\"", Ok("12")),
                ("", Ok("")),
                ("\"\"", Err("wrong_type: f: the text \"\" is not int64")),
                ("5.5", Err("wrong_type: f: 5.5 is not int64")),
                ("five", Err("wrong_type: f: the text \"five\" is not int64")),
                ("18446744073709551615", Err("wrong_type: f: 18446744073709551615 is out of range for int64")),
                ("99999999999999999999", Err("wrong_type: f: 1e20 is out of range for int64")),
                ("inf", Err("not_a_number: f: inf is not a finite number as int64")),
            ],
        ),
        (
            FieldKind::Float64,
            &[
                ("0.30000000000000004", Ok("0.30000000000000004")),
                (" 1e3", Ok("1000.0")),
                ("NaN", Err("not_a_number: f: NaN is not a finite number as float64")),
                ("1e999", Err("not_a_number: f: 1e999 is not a finite number as float64")),
                ("1;5", Err("wrong_type: f: the text \"1;5\" is not float64")),
            ],
        ),
        (
            FieldKind::Bool,
            &[("true", Ok("true")), ("FALSE ", Ok("false")), ("1", Err("wrong_type: f: the text \"1\" is not bool"))],
        ),
        (
            FieldKind::String,
            &[(" a ", Ok(" a ")), ("\"a,\"\"b\"\"\"", Ok("a,\"b\"")), ("\"\"", Ok("")), ("7", Ok("7"))],
        ),
        (FieldKind::Date, &[("2026-11-21", Ok("2026-11-21")), (" 2026-11-21 ", Ok("2026-11-21"))]),
        (FieldKind::Timestamp(Rfc3339), &[("2026-11-21T07:00:00+01:00", Ok("2026-11-21T06:00:00"))]),
        (FieldKind::Timestamp(Milliseconds), &[("1700000000123", Ok("2023-11-14T22:13:20.123"))]),
    ];
    for (kind, cases) in table {
        let decoder = decoder_of(csv(CsvSettings::default()), fields(*kind));
        for (cell, expected) in *cases {
            let expected = expected.map(|text| format!("{text}|end")).map_err(str::to_owned);
            for end in ["end", "end\n", "end\r\n"] {
                assert_eq!(fate(&decoder, format!("{cell},{end}")), expected, "{kind:?} from {cell}");
            }
        }
    }
}

#[test]
fn what_is_not_csv_says_why() {
    let decoder =
        decoder_of(csv(CsvSettings::default()), vec![field("a", FieldKind::Int64), field("b", FieldKind::String)]);
    for (value, detail) in [
        ("1", "1 columns, not 2"),
        ("1,a,", "3 columns, not 2"),
        ("1,\"a", "column 2: a quote is left open"),
        ("\"1\" ,a", "column 1: a quote is closed before its end"),
        ("1,a\"b", "column 2: there is a quote in it, and it does not begin with one"),
        ("1,a\n2,b", "column 2: a line break ends it, and more follows"),
        ("x,\"a", "column 2: a quote is left open"),
    ] {
        assert_eq!(fate(&decoder, value), Err(format!("not_csv: {detail}")), "{value}");
    }
    assert_eq!(fate(&decoder, b"1,\xff"), Err("not_csv: not UTF-8 from byte 3 on".into()));
    assert_eq!(fate(&decoder, "1,\"a\nb\"\r\n"), Ok("1|a\nb".into()));
}

#[test]
fn csv_columns_may_be_named_skipped_and_read_twice() {
    let columns = Some(["id", "skipped", "at"].map(str::to_owned).to_vec());
    let nulls = vec!["NULL".to_owned(), "\\N".to_owned()];
    let settings = CsvSettings { columns, delimiter: b'\t', nulls, lines: None };
    let text = Field { name: "text".into(), path: vec!["at".into()], ..nullable("text", FieldKind::String) };
    let decoder = decoder_of(
        csv(settings),
        vec![nullable("at", FieldKind::Timestamp(Seconds)), text, nullable("id", FieldKind::String)],
    );
    assert_eq!(fate(&decoder, "x\ty\t60"), Ok("1970-01-01T00:01:00|60|x".into()));
    assert_eq!(fate(&decoder, "NULL\tNULL\t\\N"), Ok("||".into()));
    assert_eq!(fate(&decoder, "\"NULL\"\t\t\\N"), Ok("||NULL".into()));
    assert_eq!(fate(&decoder, "\t\t\\N"), Ok("||".into()));
}

#[test]
fn every_line_is_a_row_of_its_record() {
    let decoder = lines(vec![field("a", FieldKind::Int64)]);
    let outcome = decode(&decoder, &["{\"a\":1}", "{\"a\":2}\n\n  \r\n{\"a\":3}\r\n{\"a\":4}\n", "{\"a\":5}\n"]);
    assert_eq!(texts(&outcome), ["1", "2", "3", "4", "5"]);
    assert_eq!((&outcome.rows.source, &outcome.rows.row), (&vec![0, 1, 1, 1, 2], &vec![0, 0, 1, 2, 0]));
    assert_eq!((outcome.rows.records(), outcome.rows.event_ms.len()), (3, 5));
    assert!(decoder.is_numbered() && outcome.rejects.is_empty());
}

#[test]
fn a_record_with_one_bad_line_is_one_reject_and_leaves_nothing_behind() {
    let decoder = lines(vec![field("a", FieldKind::Int64)]);
    let outcome = decode(
        &decoder,
        &["{\"a\":1}\n{\"a\":2}", "{\"a\":3}\n\n{\"a\":\"x\"}\n{\"a\":4}", "{\"a\":5}\n{", "\n \n", "{\"a\":6}", ""],
    );
    assert_eq!((texts(&outcome), &outcome.rows.source), (vec!["1".into(), "2".into(), "6".into()], &vec![0, 0, 4]));
    assert_eq!(
        told(&outcome),
        [
            "wrong_type: line 3: a: the text \"x\" is not int64",
            "not_json: line 2: EOF while parsing an object at line 1 column 1",
            "empty: every line of the value is empty",
            "empty: the value has no bytes",
        ]
    );
}

#[test]
fn without_fields_lines_are_still_rows() {
    let outcome = decode(&lines(vec![]), &["{}\n{}", "{}\n[]", "{}"]);
    assert_eq!((outcome.rows.columns.num_rows(), outcome.rows.source), (3, vec![0, 0, 2]));
}

#[test]
fn a_record_has_no_more_rows_than_the_limit() {
    let rows_max = usize::try_from(lines::RECORD_ROWS_MAX).unwrap();
    let format = csv(CsvSettings { lines: Some(LINES), ..CsvSettings::default() });
    let settings =
        DecodeSettings { format, record_bytes_max: usize::MAX, ..settings(vec![field("a", FieldKind::Bool)]) };
    let outcome = decode(&Decoder::new(&settings), &["true\n".repeat(rows_max), "true\n".repeat(rows_max + 1)]);
    assert_eq!((outcome.rows.source.len(), outcome.rows.records()), (rows_max, 1));
    assert_eq!(told(&outcome), [format!("too_large: the value has more than {rows_max} lines that are rows")]);
}

#[test]
fn the_rows_of_a_record_fit_into_one_segment() {
    let format = json(Some(LINES), Envelope::None);
    let fields = vec![field("t", FieldKind::Timestamp(Milliseconds))];
    let decoder = Decoder::new(&DecodeSettings { format, event_time: EventTime::Field(0), ..settings(fields) });
    let at =
        |hours: &[i64]| hours.iter().map(|hour| format!("{{\"t\":{}}}\n", hour * HOUR_MS)).collect::<Vec<_>>().concat();
    let outcome = decode(&decoder, &[at(&[1, 9, 1, 9]), at(&[1, 2, 3]), at(&[5, 4, 4])]);
    assert_eq!(outcome.rows.source, [0, 0, 0, 0, 2, 2, 2]);
    assert_eq!(outcome.rows.event_ms, [1, 9, 1, 9, 5, 4, 4].map(|hour| hour * HOUR_MS));
    assert_eq!(told(&outcome), ["event_time: the event times of its lines are in 3 hours, and a segment takes 2"]);
}

#[test]
fn a_line_of_csv_may_hold_line_breaks_in_quotes() {
    let format = csv(CsvSettings { lines: Some(LINES), ..CsvSettings::default() });
    let decoder = decoder_of(format, vec![field("a", FieldKind::Int64), nullable("b", FieldKind::String)]);
    let outcome = decode(&decoder, &["1,\"x\ny\"\r\n\r\n2,\n3,z", "1,\"\n\"\n2,\"\n"]);
    assert_eq!(texts(&outcome), ["1|x\ny", "2|", "3|z"]);
    assert_eq!(told(&outcome), ["not_csv: line 3: column 2: a quote is left open"]);
}

#[test]
fn of_a_change_the_row_afterwards_lands() {
    let decoder = debezium(vec![
        field("id", FieldKind::Int64),
        nullable("a.b", FieldKind::String),
        Field { name: "op".into(), ..nullable("@op", FieldKind::String) },
        Field { name: "lsn".into(), ..nullable("@source.lsn", FieldKind::Int64) },
    ]);
    let envelopes = [
        r#"{"before":null,"after":{"id":1,"a":{"b":"x"}},"source":{"lsn":7},"op":"c","ts_ms":5}"#,
        r#"{"op":"u","before":{"id":8,"a":{"b":"old"}},"after":{"id":2}}"#,
        r#"{"op":"r","after":{"id":3,"op":"not this"},"source":{"lsn":null}}"#,
    ];
    let expected = ["1|x|c|7", "2||u|", "3||r|"];
    for (envelope, expected) in envelopes.into_iter().zip(expected) {
        for value in [envelope.to_owned(), format!("{{\"schema\":{{\"type\":\"struct\"}},\"payload\":{envelope}}}")] {
            assert_eq!(fate(&decoder, &value), Ok(expected.into()), "{value}");
        }
    }
}

#[test]
fn deletes_and_tombstones_are_filtered() {
    let decoder = debezium(vec![field("id", FieldKind::Int64)]);
    let value = |value: Option<&str>| Record { value: value.map(Into::into), ..record("") };
    let records = [
        value(Some(r#"{"op":"d","before":{"id":1},"after":null}"#)),
        value(Some(r#"{"op":"c","after":{"id":1}}"#)),
        value(None),
        value(Some(r#"{"schema":{},"payload":{"op":"d","before":{"id":1},"after":null}}"#)),
        value(Some(r#"{"schema":null,"payload":null}"#)),
        value(Some(r#"{"op":"t","source":{}}"#)),
        value(Some(r#"{"op":"m","message":{"content":""}}"#)),
        value(Some("")),
    ];
    let outcome = decoder.decode(&records, NOW_MS).unwrap();
    assert_eq!((&outcome.filtered, &outcome.rows.source), (&vec![0, 2, 3, 4, 5, 6], &vec![1]));
    assert_eq!(told(&outcome), ["empty: the value has no bytes"]);
}

#[test]
fn what_is_no_envelope_says_why() {
    let decoder = debezium(vec![nullable("id", FieldKind::Int64)]);
    for (value, expected) in [
        (r#"{"id":1}"#, "not_debezium: there is no op"),
        (r#"{"op":null,"after":{"id":1}}"#, "not_debezium: there is no op"),
        (r#"{"op":"x","after":{"id":1}}"#, "not_debezium: op is the text \"x\", none of c, r, u, d, t and m"),
        (r#"{"op":1,"after":{"id":1}}"#, "not_debezium: op is 1, none of c, r, u, d, t and m"),
        (r#"{"op":"u","after":null}"#, "not_debezium: op is \"u\", and after is null"),
        (r#"{"op":"c"}"#, "not_debezium: op is \"c\", and after is nothing"),
        (r#"{"op":"c","after":[1]}"#, "not_debezium: op is \"c\", and after is an array"),
        (r#"{"op":"c","after":{"id":"x"}}"#, "wrong_type: id: the text \"x\" is not int64"),
        ("[]", "wrong_type: the value is JSON, but not an object"),
        ("{", "not_json: EOF while parsing an object at line 1 column 1"),
    ] {
        assert_eq!(fate(&decoder, value), Err(expected.into()), "{value}");
    }
}

#[test]
fn a_path_of_a_list_takes_dots_as_they_are() {
    let dotted = Field { path: vec!["a.b".into(), "c".into()], ..nullable("dotted", FieldKind::Int64) };
    let decoder = decoder(vec![dotted, nullable("a.b.c", FieldKind::Int64)]);
    assert_eq!(fate(&decoder, r#"{"a.b":{"c":1},"a":{"b":{"c":2}}}"#), Ok("1|2".into()));
    assert_eq!(fate(&decoder, r#"{"a.b.c":3,"a":{"b.c":4}}"#), Ok("|".into()));
    let refused = r#"{"a.b":{"c":"x"}}"#;
    assert_eq!(fate(&decoder, refused), Err("wrong_type: a.b.c: the text \"x\" is not int64".into()));
}

/// Every format, with fields of every kind.
fn every_format() -> Vec<Decoder> {
    let csv_lines = CsvSettings { lines: Some(LINES), ..CsvSettings::default() };
    vec![
        lines(every_kind()),
        debezium(every_kind()),
        decoder_of(csv(CsvSettings::default()), every_kind()),
        decoder_of(csv(csv_lines), every_kind()),
        decoder_of(Format::Raw, vec![field("text", FieldKind::String)]),
    ]
}

/// Bits of which values are made that are sometimes sound in one format or another.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 22] = [
        b"1,2,3.5,4,true,x,2026-11-21T07:00:00Z,5,2026-11-21",
        b"\"a\",,",
        b"{\"a\":1,\"c\":1.5,\"e\":true}",
        b"{\"op\":\"c\",\"after\":{\"a\":1,\"c\":1.5,\"e\":true}}",
        b"{\"op\":\"d\",\"after\":null}",
        b"{\"payload\":",
        b"\"after\":",
        b"{}",
        b"}",
        b"NaN",
        b"1e999",
        b"\n",
        b"\r\n",
        b"\"",
        b"\"\"",
        b",",
        b":",
        b"\xff",
        b"\xc3\xa9",
        b"null",
        b" ",
        b"\\",
    ];
    let piece = prop::sample::select(&PIECES[..]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Every record is in one place, and in order.
fn assert_partitioned(outcome: &Decoded, records: usize) {
    let rows = &outcome.rows;
    let mut of_rows = rows.source.clone();
    assert!(of_rows.is_sorted());
    of_rows.dedup();
    assert_eq!(of_rows.len(), rows.records());
    let rejected = outcome.rejects.iter().map(|reject| reject.source);
    let mut all: Vec<u32> = of_rows.into_iter().chain(rejected).chain(outcome.filtered.iter().copied()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..u32::try_from(records).unwrap()));
    assert_eq!((rows.columns.num_rows(), rows.event_ms.len()), (rows.source.len(), rows.source.len()));
    let numbered = rows.source.chunk_by(|a, b| a == b).flat_map(|rows| 0..i32::try_from(rows.len()).unwrap());
    assert!(rows.row.is_empty() || rows.row.iter().copied().eq(numbered));
    assert!(outcome.rejects.iter().all(|reject| reject.detail.len() <= refusal::DETAIL_BYTES_MAX));
}

proptest! {
    #[test]
    fn any_bytes_are_in_one_place_in_every_format(values in prop::collection::vec(any::<Option<Vec<u8>>>(), 0..12)) {
        let records: Vec<_> =
            values.into_iter().map(|value| Record { timestamp_ms: NOW_MS, value, ..Record::default() }).collect();
        for decoder in every_format() {
            assert_partitioned(&decoder.decode(&records, NOW_MS).unwrap(), records.len());
        }
    }

    #[test]
    fn values_that_are_nearly_sound_are_in_one_place_in_every_format(values in prop::collection::vec(pieces(), 0..12)) {
        for decoder in every_format() {
            assert_partitioned(&decode(&decoder, &values), values.len());
        }
    }

    #[test]
    fn a_record_is_the_same_alone_as_beside_others_in_every_format(values in prop::collection::vec(pieces(), 1..8)) {
        for decoder in every_format() {
            let together = decode(&decoder, &values);
            let (mut rows, mut rejects, mut filtered) = (vec![], vec![], 0);
            for value in &values {
                let alone = decode(&decoder, &[value]);
                rows.extend(texts(&alone));
                rejects.extend(told(&alone));
                filtered += alone.filtered.len();
            }
            prop_assert_eq!((texts(&together), told(&together), together.filtered.len()), (rows, rejects, filtered));
        }
    }
}
