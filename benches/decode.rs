//! Records a second of the decoder on one core, beside arrow-json's own decoder on the same bytes.
//!
//! ```text
//! cargo bench --bench decode
//! ```
//!
//! `iris` is the good path, `rejects` a flood of records of which none can be a row, `timestamps` the two ways that
//! RFC 3339 takes: the usual shape, and any other. `csv` holds the flowers of `iris` as rows of CSV, with and without
//! quotes, and `lines` a hundred of them to a record. `avro` and `protobuf` hold the same flowers, framed with their
//! schema's id.
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]

mod common;

use std::{hint::black_box, sync::Arc};

use alluvium::{
    decode::{
        AvroEncoding, AvroSettings, CsvSettings, DecodeSettings, Decoder, Envelope, EventTime, EventWindow, Format,
        JsonSettings, Lines, ProtobufSettings, Schemas,
    },
    record::{Field, FieldKind, Record, Schema, SchemaKind, TimestampFormat},
};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};

const RECORDS: usize = 10_000;
/// 2026-11-21T07:00:00Z
const NOW_MS: i64 = 1_795_244_400_000;
const HOUR_MS: i64 = 3_600_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn iris(c: &mut Criterion) {
    let lines = iris_lines();
    let mut group = group(c, "iris");
    ours(&mut group, "ours", &iris_settings(FieldKind::Float64), &lines);
    ours(&mut group, "ours, float32", &iris_settings(FieldKind::Float32), &lines);
    arrow_json(&mut group, &iris_settings(FieldKind::Float64), &lines);
}

fn rejects(c: &mut Criterion) {
    let good = iris_lines();
    let flood = |from: &str, to: &str| good.iter().map(|line| line.replacen(from, to, 1)).collect::<Vec<_>>();
    let settings = iris_settings(FieldKind::Float64);
    let mut group = group(c, "rejects");
    ours(&mut group, "not_json, cut short", &settings, &flood("\"}", ""));
    ours(&mut group, "wrong_type", &settings, &flood("\"setosa\"", "7"));
    ours(&mut group, "missing_field", &settings, &flood("species", "genus"));
    ours(&mut group, "not_a_number, bare", &settings, &flood("1.4", "NaN"));
    let late = DecodeSettings { window: EventWindow { earliest_ms: NOW_MS + HOUR_MS, ahead_ms: HOUR_MS }, ..settings };
    ours(&mut group, "event_time", &late, &good);
}

fn timestamps(c: &mut Criterion) {
    let lines = |end: &str| {
        let line = |i| format!("{{\"id\":{i},\"seen\":\"2026-11-21T06:{:02}:{:02}.123{end}\"}}", i / 60 % 60, i % 60);
        (0..RECORDS).map(line).collect::<Vec<_>>()
    };
    let seen = FieldKind::Timestamp(TimestampFormat::Rfc3339);
    let settings = settings(vec![field("id", FieldKind::Int64), field("seen", seen)], EventTime::Field(1));
    let mut group = group(c, "timestamps");
    ours(&mut group, "ending in Z", &settings, &lines("Z"));
    ours(&mut group, "ending in +00:00", &settings, &lines("+00:00"));
}

fn csv(c: &mut Criterion) {
    let row = |line: &String| {
        let object: serde_json::Value = serde_json::from_str(line).expect("a flower");
        let cell = |name: &str| object[name].to_string().replace('"', "");
        ["id", "sepal_length", "sepal_width", "petal_length", "petal_width", "species"].map(cell).join(",")
    };
    let rows: Vec<String> = iris_lines().iter().map(row).collect();
    let quoted: Vec<String> = rows.iter().map(|row| row.replace("setosa", "\"setosa\"")).collect();
    let settings = of_format(Format::Csv(CsvSettings::default()));
    let mut group = group(c, "csv");
    ours(&mut group, "ours", &settings, &rows);
    ours(&mut group, "ours, a cell quoted", &settings, &quoted);
}

/// As many rows as everywhere, in fewer records.
fn lines(c: &mut Criterion) {
    let hundreds: Vec<String> = iris_lines().chunks(100).map(|lines| lines.join("\n")).collect();
    let lines = Some(Lines { hours_max: 24 });
    let mut group = group(c, "lines");
    ours(&mut group, "json", &of_format(Format::Json(JsonSettings { lines, ..JsonSettings::default() })), &hundreds);
}

/// The flowers of `iris` in Avro and in Protobuf, framed with their schema's id.
fn by_schema(c: &mut Criterion) {
    let flowers: Vec<(i64, Vec<f64>, String)> = iris_lines().iter().map(|line| parts(line)).collect();
    let avro = |(id, measures, species): &(i64, Vec<f64>, String)| {
        let mut bytes = vec![0, 0, 0, 0, 7];
        varint(&mut bytes, (id.cast_unsigned() << 1) ^ (id >> 63).cast_unsigned());
        bytes.extend(measures.iter().flat_map(|value| value.to_le_bytes()));
        varint(&mut bytes, (species.len() as u64) << 1);
        bytes.extend(species.as_bytes());
        bytes
    };
    let protobuf = |(id, measures, species): &(i64, Vec<f64>, String)| {
        let mut bytes = vec![0, 0, 0, 0, 7, 0, 0x08];
        varint(&mut bytes, id.cast_unsigned());
        for (field, value) in (2..).zip(measures) {
            bytes.push(field << 3 | 1);
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([6 << 3 | 2, u8::try_from(species.len()).expect("a short name")]);
        bytes.extend(species.as_bytes());
        bytes
    };
    let settings = AvroSettings { encoding: AvroEncoding::Registry, reader: None, envelope: Envelope::None };
    registered(c, "avro", Format::Avro(settings), SchemaKind::Avro, AVRO, flowers.iter().map(avro).collect());
    let settings = ProtobufSettings { framed: true, schema: None, message: None, envelope: Envelope::None };
    let records = flowers.iter().map(protobuf).collect();
    registered(c, "protobuf", Format::Protobuf(settings), SchemaKind::Protobuf, PROTOBUF, records);
}

const AVRO: &str = r#"{"type":"record","name":"Flower","fields":[{"name":"id","type":"long"},
    {"name":"sepal_length","type":"double"},{"name":"sepal_width","type":"double"},{"name":"petal_length","type":"double"},
    {"name":"petal_width","type":"double"},{"name":"species","type":"string"}]}"#;
const PROTOBUF: &str = "syntax = \"proto3\"; message Flower { int64 id = 1; double sepal_length = 2; \
    double sepal_width = 3; double petal_length = 4; double petal_width = 5; string species = 6; }";

fn parts(line: &str) -> (i64, Vec<f64>, String) {
    let object: serde_json::Value = serde_json::from_str(line).expect("a flower");
    let measures = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let measures = measures.map(|name| object[name].as_f64().expect("a number")).to_vec();
    (object["id"].as_i64().expect("a number"), measures, object["species"].as_str().expect("a text").to_owned())
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn registered(c: &mut Criterion, name: &str, format: Format, kind: SchemaKind, text: &str, values: Vec<Vec<u8>>) {
    let decoder = Decoder::new(&of_format(format));
    let schema = Schema { kind, text: text.to_owned(), imports: Vec::new() };
    let mut schemas = Schemas::default();
    schemas.insert(7, Arc::new(decoder.learn(&schema)));
    let record = |(value, offset)| Record { offset, timestamp_ms: NOW_MS, value: Some(value), ..Record::default() };
    let records: Vec<Record> = values.into_iter().zip(0..).map(record).collect();
    let tried = decoder.decode_with(&records, &schemas, NOW_MS).expect("good records");
    assert_eq!(tried.rows.columns.num_rows(), RECORDS, "{:?}", tried.rejects.first());
    let mut group = group(c, name);
    group.bench_function("ours", |b| b.iter(|| decoder.decode_with(black_box(&records), &schemas, NOW_MS)));
}

fn of_format(format: Format) -> DecodeSettings {
    DecodeSettings { format, ..iris_settings(FieldKind::Float64) }
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(RECORDS as u64));
    group
}

fn ours(group: &mut Group<'_>, name: &str, settings: &DecodeSettings, lines: &[String]) {
    let decoder = Decoder::new(settings);
    let records: Vec<Record> = lines.iter().zip(0..).map(|(line, offset)| record(line, offset)).collect();
    group.bench_function(name, |b| b.iter(|| decoder.decode(black_box(&records), NOW_MS)));
}

fn record(line: &str, offset: i64) -> Record {
    Record { offset, timestamp_ms: NOW_MS, value: Some(line.as_bytes().to_vec()), ..Record::default() }
}

fn arrow_json(group: &mut Group<'_>, settings: &DecodeSettings, lines: &[String]) {
    let ndjson = lines.join("\n").into_bytes();
    let schema = Decoder::new(settings).schema();
    let builder = || arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(RECORDS);
    group.bench_function("arrow-json", |b| {
        let mut decoder = builder().build_decoder().expect("a schema that arrow-json takes");
        b.iter(|| {
            decoder.decode(black_box(&ndjson)).expect("good records");
            decoder.flush()
        });
    });
}

fn iris_lines() -> Vec<String> {
    let line = |i: usize| {
        let tenths = |base: usize| format!("{}.{}", (base + i % 9) / 10, (base + i % 9) % 10);
        format!(
            r#"{{"id":{i},"sepal_length":{},"sepal_width":{},"petal_length":1.4,"petal_width":{},"species":"setosa"}}"#,
            tenths(51),
            tenths(35),
            tenths(2),
        )
    };
    (100_000..100_000 + RECORDS).map(line).collect()
}

fn iris_settings(measure: FieldKind) -> DecodeSettings {
    let measures = ["sepal_length", "sepal_width", "petal_length", "petal_width"].map(|name| field(name, measure));
    let mut fields = vec![field("id", FieldKind::Int64)];
    fields.extend(measures);
    fields.push(field("species", FieldKind::String));
    settings(fields, EventTime::Broker)
}

fn field(name: &str, kind: FieldKind) -> Field {
    Field { name: name.to_owned(), kind, nullable: false, path: vec![name.to_owned()] }
}

fn settings(fields: Vec<Field>, event_time: EventTime) -> DecodeSettings {
    let window = EventWindow { earliest_ms: 0, ahead_ms: HOUR_MS };
    DecodeSettings { format: Format::default(), fields, event_time, window, record_bytes_max: 1 << 20 }
}

criterion_group!(benches, iris, by_schema, csv, lines, rejects, timestamps);
criterion_main!(benches);
