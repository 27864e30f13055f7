//! What holds for every source.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Float64Type, Int64Type, TimestampMillisecondType},
};
use serde_json::Value;

use super::{Source, columns::Columns};

const RECORDS: usize = 60_000;

/// The first records of a partition, as text, with the truth.
fn lines(source: Source, seed: u64, partition: i32, count: usize) -> Vec<String> {
    let mut stream = source.stream(seed, partition);
    let line = |_| {
        let mut value = Vec::new();
        stream.json(&mut value, true);
        String::from_utf8(value).unwrap()
    };
    (0..count).map(line).collect()
}

/// The first records, each with its truth.
pub(super) fn truths(source: Source, seed: u64, count: usize) -> impl Iterator<Item = (Value, String)> {
    lines(source, seed, 0, count).into_iter().map(move |line| {
        let record: Value = serde_json::from_str(&line).unwrap();
        let truth = record[source.truth()].as_str().unwrap().to_owned();
        (record, truth)
    })
}

/// Of each class, which share of the records.
fn shares(source: Source) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    #[allow(clippy::cast_precision_loss, reason = "some thousand records")]
    let one = 1.0 / RECORDS as f64;
    for (_, truth) in truths(source, 3, RECORDS) {
        *shares.entry(truth).or_insert(0.0) += one;
    }
    shares
}

#[track_caller]
fn assert_shares(source: Source, wanted: &[(&str, f64, f64)]) {
    let shares = shares(source);
    assert_eq!(shares.len(), wanted.len(), "{shares:?}");
    for (class, from, to) in wanted {
        assert!((*from..*to).contains(&shares[*class]), "{shares:?}");
    }
}

#[test]
fn the_first_records_of_seed_1_never_change() {
    let wanted = include_str!("testdata/first_records.jsonl");
    let drawn: Vec<_> = Source::ALL.iter().flat_map(|&source| lines(source, 1, 0, 3)).collect();
    assert_eq!(drawn.join("\n") + "\n", wanted);
    let iris =
        r#"{"id":0,"sepal_length":7.5,"sepal_width":3.0,"petal_length":6.3,"petal_width":2.2,"species":"virginica"}"#;
    assert_eq!(lines(Source::Iris, 1, 1, 1), [iris]);
}

#[test]
fn a_source_has_the_name_that_the_command_line_knows() {
    for source in Source::ALL {
        let value = clap::ValueEnum::to_possible_value(&source).unwrap();
        assert_eq!(value.get_name(), source.name());
    }
}

#[test]
fn the_truth_is_the_last_field_and_there_only_on_request() {
    for source in Source::ALL {
        let (mut told, mut blind) = (Vec::new(), Vec::new());
        source.stream(7, 0).json(&mut told, true);
        source.stream(7, 0).json(&mut blind, false);
        let blind = String::from_utf8(blind).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(serde_json::from_str::<Value>(&blind).unwrap().get(source.truth()).is_none(), "{blind}");
        let rest = told.strip_prefix(blind.strip_suffix('}').unwrap()).unwrap();
        assert!(rest.starts_with(&format!(",\"{}\":\"", source.truth())), "{told}");
    }
}

#[test]
fn partitions_and_seeds_have_streams_of_their_own() {
    for source in Source::ALL {
        let first = lines(source, 1, 0, 5);
        assert_eq!(first, lines(source, 1, 0, 5), "{}", source.name());
        assert_ne!(first, lines(source, 1, 1, 5), "{}", source.name());
        assert_ne!(first, lines(source, 2, 0, 5), "{}", source.name());
    }
}

#[test]
fn the_natural_key_is_the_entity_and_each_partition_has_its_own() {
    let entities = [
        (Source::Iris, "id"),
        (Source::Transactions, "card"),
        (Source::Sensors, "machine"),
        (Source::Posts, "user"),
        (Source::Weblogs, "visitor"),
    ];
    for (source, field) in entities {
        let keys = |partition| {
            let mut stream = source.stream(1, partition);
            let key = move |_| {
                let mut value = Vec::new();
                let key = stream.json(&mut value, false);
                let record: Value = serde_json::from_slice(&value).unwrap();
                let key = std::str::from_utf8(&value[key]).unwrap().to_owned();
                assert_eq!(record[field].as_str().map_or(record[field].to_string(), str::to_owned), key);
                key
            };
            (0..500).map(key).collect::<std::collections::BTreeSet<_>>()
        };
        assert!(source == Source::Iris || keys(0).is_disjoint(&keys(1)), "{}", source.name());
    }
}

#[test]
fn a_table_holds_what_the_records_hold() {
    for source in Source::ALL {
        let (mut stream, mut columns) = (source.stream(5, 0), Columns::default());
        let mut batches = vec![];
        for rows in [70, 30] {
            (0..rows).for_each(|_| stream.columns(&mut columns));
            batches.push(columns.take().unwrap());
        }
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let schema = batch.schema();
        assert_eq!(schema.fields().last().unwrap().name(), source.truth());
        for (row, (record, _)) in truths(source, 5, 100).enumerate() {
            assert_eq!(record.as_object().unwrap().len(), schema.fields().len(), "{}", source.name());
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                let wanted = &record[field.name().as_str()];
                assert_eq!(&cell(column, row), wanted, "{} {row} {}", source.name(), field.name());
            }
        }
    }
}

/// As it stands in JSON.
fn cell(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        _ => {
            let time = column.as_primitive::<TimestampMillisecondType>().value_as_datetime(row).unwrap();
            time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into()
        }
    }
}

#[test]
fn the_time_of_a_stream_begins_with_2025_and_never_goes_back() {
    for source in Source::ALL.into_iter().filter(|source| *source != Source::Iris) {
        let times: Vec<_> =
            truths(source, 2, 2_000).map(|(record, _)| record["time"].as_str().unwrap().to_owned()).collect();
        assert!(times.is_sorted(), "{}", source.name());
        assert!(times[0].starts_with("2025-01-01T00:0"), "{} begins at {}", source.name(), times[0]);
    }
}

#[test]
fn one_payment_in_two_hundred_is_fraud() {
    assert_shares(Source::Transactions, &[("fraud", 0.003_5, 0.006_5), ("genuine", 0.99, 1.0)]);
}

#[test]
fn most_machines_run_well_and_some_are_failing() {
    assert_shares(Source::Sensors, &[("normal", 0.60, 0.80), ("wear", 0.15, 0.30), ("failing", 0.03, 0.15)]);
}

#[test]
fn posts_are_more_often_kind_than_not() {
    assert_shares(Source::Posts, &[("positive", 0.40, 0.44), ("neutral", 0.31, 0.35), ("negative", 0.23, 0.27)]);
}

#[test]
fn most_requests_are_people_s_and_few_are_attacks() {
    assert_shares(Source::Weblogs, &[("normal", 0.80, 0.90), ("crawler", 0.09, 0.16), ("attack", 0.015, 0.05)]);
}

#[test]
fn payments_are_within_reason() {
    let mut busy = 0;
    for (record, verdict) in truths(Source::Transactions, 3, RECORDS) {
        let number = |field: &str| record[field].as_f64().unwrap();
        assert!((0.5..100_000.0).contains(&number("amount")), "{record}");
        assert!((0.0..20_000.0).contains(&number("distance_km")), "{record}");
        assert!((0.0..24.0).contains(&number("local_hour")), "{record}");
        assert!((0.0..=8.0).contains(&number("velocity")), "{record}");
        let (minutes, velocity) = (number("minutes_since_last"), number("velocity"));
        assert!(if velocity > 0.0 { minutes <= 60.0 } else { minutes >= 60.0 }, "{record}");
        busy += u32::from(verdict == "fraud" && velocity > 0.0);
    }
    assert!(busy > 50, "thieves pay several times an hour: {busy}");
}

#[test]
fn readings_are_within_reason_and_failing_machines_show_it() {
    let mut sums = BTreeMap::<String, (f64, f64)>::new();
    for (record, condition) in truths(Source::Sensors, 3, RECORDS) {
        let number = |field: &str| record[field].as_f64().unwrap();
        assert!((30.0..130.0).contains(&number("temperature")), "{record}");
        assert!((0.0..30.0).contains(&number("vibration")), "{record}");
        assert!((2.0..9.0).contains(&number("pressure")), "{record}");
        assert!((1_000.0..1_900.0).contains(&number("rpm")), "{record}");
        assert!(number("hours_since_repair") >= 0.0, "{record}");
        let sum = sums.entry(condition).or_default();
        *sum = (sum.0 + number("vibration"), sum.1 + 1.0);
    }
    let mean = |condition: &str| sums[condition].0 / sums[condition].1;
    assert!(mean("normal") < mean("wear") && mean("wear") < mean("failing"), "{sums:?}");
}

#[test]
fn posts_are_short_and_seldom_the_same() {
    let texts: std::collections::HashSet<String> = truths(Source::Posts, 3, RECORDS)
        .map(|(record, _)| record["text"].as_str().unwrap().to_owned())
        .inspect(|text| assert!((8..=280).contains(&text.chars().count()), "{text}"))
        .collect();
    assert!(texts.len() > RECORDS * 9 / 10, "{}", texts.len());
}

#[test]
fn who_was_cross_lately_is_likely_to_be_cross_again() {
    let mut before = BTreeMap::<String, String>::new();
    let (mut cross, mut again, mut all, mut pairs) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (record, sentiment) in truths(Source::Posts, 3, RECORDS) {
        let user = record["user"].as_str().unwrap().to_owned();
        let is_cross = u32::from(sentiment == "negative");
        if let Some(last) = before.insert(user, sentiment) {
            pairs += 1;
            all += is_cross;
            cross += u32::from(last == "negative");
            again += is_cross * u32::from(last == "negative");
        }
    }
    let (after_cross, in_all) = (f64::from(again) / f64::from(cross), f64::from(all) / f64::from(pairs));
    assert!(pairs > 500 && after_cross > 1.3 * in_all, "{after_cross} of {in_all}, in {pairs} pairs");
}

#[test]
fn requests_have_sound_paths_and_statuses() {
    for (record, _) in truths(Source::Weblogs, 3, RECORDS) {
        let path = record["path"].as_str().unwrap();
        assert!(path.starts_with('/') && !path.contains(' '), "{record}");
        assert!((200..=500).contains(&record["status"].as_i64().unwrap()), "{record}");
        assert!(record["bytes"].as_i64().unwrap() >= 0 && record["duration_ms"].as_f64().unwrap() > 0.0, "{record}");
    }
}
