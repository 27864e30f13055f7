//! Topics that get results and rejects: what a record holds, and that none is missing after crashes and outages.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use alluvium::{
    lake::{Expire, Store},
    record::Record,
};

use super::{file, in_the_lake, settings, text};
use crate::support::{
    counted::Counted,
    program::{self, Hold, Ran, command, ended, run, signal},
    proof::{OF_A_TOPIC, Promise, Proof},
    registry::{Scripted, client},
    stage::{DATASET, Stage, TOPIC, assert_clean, batch, flower, objects, value},
};

const BATCH: usize = 300;

/// All that a topic holds, by its partitions; nothing if it is not there.
pub async fn read(stage: &Stage, topic: &str) -> Vec<(i32, Record)> {
    let mut records = vec![];
    for partition in stage.broker.partitions(topic).await.unwrap_or_default() {
        let reader = stage.broker.partition(topic, partition).await.unwrap();
        let (mut at, end) = (reader.earliest().await.unwrap(), reader.latest().await.unwrap());
        while at < end {
            let batch = reader.fetch(at, 1 << 20, Duration::from_millis(10)).await.unwrap();
            at = batch.range.end;
            records.extend(batch.records.into_iter().map(|record| (partition, record)));
        }
    }
    records
}

pub fn header(record: &Record, name: &str) -> String {
    String::from_utf8(record.headers.get(name).unwrap_or_else(|| panic!("no {name}: {record:?}")).clone()).unwrap()
}

/// Where a record came from.
pub fn place(record: &Record, prefix: &str) -> (i32, i64) {
    let number = |name: &str| header(record, &format!("{prefix}{name}")).parse::<i64>().unwrap();
    (i32::try_from(number("partition")).unwrap(), number("offset"))
}

pub const RESULT: &str = "alluvium.";
const LETTER: &str = "__connect.errors.";

pub fn places(records: &[(i32, Record)], prefix: &str) -> BTreeSet<(i32, i64)> {
    records.iter().map(|(_, record)| place(record, prefix)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn scored_records_go_back_with_their_key_and_where_they_came_from() {
    let stage = Stage::new(2).await;
    let keyed = |id: usize| Record { key: Some(format!("key {}", id % 5).into()), ..flower(id) };
    stage.send(0, (0..40).map(keyed).collect()).await;
    stage.send(1, (40..70).map(flower).collect()).await;
    let settings = settings(&stage, "[results]\ntopic = \"{topic}.results\"\n", "roll_rows = 20\n");
    let counted = Counted::of("alluvium_outlet_records_total");
    let summary = batch(settings.clone()).await;
    counted.assert_moved();
    assert_eq!((summary.failures, summary.outlets[0].sent, summary.outlets[0].behind), (vec![], 70, 0));
    assert_eq!(summary.outlets[0].to, format!("topic {TOPIC}.results"));
    let records = read(&stage, &format!("{TOPIC}.results")).await;
    let mut lake = in_the_lake(&settings).await;
    lake.sort();
    assert_eq!(records.len(), lake.len(), "where nothing failed, nothing is sent twice");
    let by_place: BTreeMap<_, _> = records.iter().map(|(to, record)| (place(record, RESULT), (*to, record))).collect();
    let mut of_key: BTreeMap<Vec<u8>, BTreeSet<i32>> = BTreeMap::new();
    for row in lake {
        let (to, record) = by_place[&(row.0, row.1)];
        let json: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(
            (record.key.clone(), json["id"].as_i64(), json["prediction"].as_str()),
            (row.7, row.2, Some(&*row.3))
        );
        let confidence: f32 = json["confidence"].to_string().parse().unwrap();
        assert_eq!(confidence.to_bits(), row.4);
        assert_eq!(header(record, "alluvium.topic"), TOPIC);
        assert_eq!((header(record, "alluvium.model"), header(record, "alluvium.generation")), (row.8, "0".into()));
        let event = chrono::DateTime::parse_from_rfc3339(&header(record, "alluvium.event_time")).unwrap();
        assert_eq!(event.timestamp_millis(), row.6);
        match &record.key {
            Some(key) => drop(of_key.entry(key.clone()).or_default().insert(to)),
            None => assert_eq!(to, 1, "without a key it goes by the partition that it came from"),
        }
    }
    assert!(of_key.len() == 5 && of_key.values().all(|to| to.len() == 1), "one partition a key: {of_key:?}");
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_condition_says_is_sent() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 30).await;
    let outlets = "[results]\ntopic = \"alerts\"\nwhere = \"prediction = 'virginica' and id < 20\"\n";
    let settings = settings(&stage, outlets, "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    let lake = in_the_lake(&settings).await;
    let wanted = lake.iter().filter(|row| row.3 == "virginica" && row.2 < Some(20));
    let wanted: BTreeSet<_> = wanted.map(|row| (row.0, row.1)).collect();
    assert!(!wanted.is_empty() && wanted.len() < 20);
    assert_eq!(places(&read(&stage, "alerts").await, RESULT), wanted);
    let file = file(&stage, &outlets.replace("virginica", "virginika"), "");
    let ran = run(["batch".as_ref(), file.as_os_str()]).await;
    ran.assert_refused(1, &["names the class `virginika`", "setosa, versicolor, virginica"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_in_avro_are_read_by_the_schema_beside_them() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 10).await;
    let settings = settings(&stage, "[results]\ntopic = \"r\"\nformat = \"avro\"\n", "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    let records = read(&stage, "r").await;
    assert_eq!(records.len(), 10);
    for (_, record) in records {
        let value = record.value.as_ref().unwrap();
        assert_eq!(value[..2], [0xc3, 0x01]);
        let fingerprint = u64::from_le_bytes(value[2..10].try_into().unwrap());
        let path = format!("_outlets/{DATASET}/results/r/schemas/{fingerprint:016x}.avsc");
        let schema = Store::open(&settings.lake.url).unwrap().read(&path.into()).await.unwrap().expect("the schema");
        let schema = apache_avro::Schema::parse_str(std::str::from_utf8(&schema).unwrap()).unwrap();
        let read = apache_avro::from_avro_datum(&schema, &mut &value[10..], None).unwrap();
        let apache_avro::types::Value::Record(fields) = read else { panic!("a record") };
        let offset = fields.iter().find(|(name, _)| name == "_offset").unwrap();
        assert_eq!(offset.1, apache_avro::types::Value::Long(place(&record, RESULT).1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_go_out_byte_for_byte_with_the_headers_of_dead_letters() {
    let stage = Stage::new(1).await;
    let headers =
        BTreeMap::from([("trace".to_owned(), vec![0, 255]), ("__connect.errors.stage".to_owned(), b"x".to_vec())]);
    let bad = [
        Record { key: Some(vec![0, 159, 146, 150]), headers, ..value(vec![0xff, 0, b'{']) },
        Record { value: None, ..value("") },
        value("{\"id\":\"text\"}"),
    ];
    stage.send(0, vec![flower(1), bad[0].clone(), bad[1].clone(), flower(2), bad[2].clone()]).await;
    let settings = settings(&stage, "[rejected]\ntopic = \"{topic}.rejected\"\n", "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    let records = read(&stage, &format!("{TOPIC}.rejected")).await;
    assert_eq!(records.iter().map(|(_, record)| place(record, LETTER).1).collect::<Vec<_>>(), [1, 2, 4]);
    let reasons = ["not_json", "empty", "wrong_type"];
    for (((_, record), sent), reason) in records.iter().zip(&bad).zip(reasons) {
        assert_eq!((&record.key, &record.value), (&sent.key, &sent.value));
        let held = |name: &str| header(record, &format!("{LETTER}{name}"));
        assert_eq!(held("topic"), TOPIC);
        assert_eq!((held("connector.name"), held("task.id")), (DATASET.into(), "0".into()));
        assert_eq!((held("stage"), held("class.name")), ("VALUE_CONVERTER".into(), "alluvium.decode".into()));
        assert_eq!(held("exception.class.name"), reason);
        assert!(!held("exception.message").is_empty());
        assert_eq!(header(record, "alluvium.timestamp"), sent.timestamp_ms.to_string());
    }
    let first = &records[0].1;
    assert_eq!(first.headers["trace"], [0, 255]);
    assert_eq!(header(first, "previous.__connect.errors.stage"), "x", "what was there stays, under another name");
}

/// Both topics over a lake of that name; it stands still before a step if there is one.
fn held_batch(stage: &Stage, name: &str, hold: Hold<'_>) -> tokio::process::Command {
    let outlets = format!("[results]\ntopic = \"{name}.results\"\n[rejected]\ntopic = \"{name}.rejected\"\n");
    let path = stage.folder.path().join(format!("{name}.toml"));
    std::fs::write(&path, text(stage, name, &outlets, "roll_rows = 100\n")).unwrap();
    let mut command = command([PathBuf::from("batch"), path, "--json".into()]);
    program::hold(&mut command, hold);
    command
}

fn whole(ran: &Ran) {
    assert_eq!((ran.code, ran.figure("remaining")), (Some(0), 0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_a_position_is_kept_nothing_is_left_out() {
    let proof = Proof::of("topics of results and rejects: kill -9 around every kept position", OF_A_TOPIC);
    let stage = Stage::new(1).await;
    for first in [0, BATCH] {
        let record = |id| if id % 10 == 3 { value(format!("{id} is no flower")) } else { flower(id) };
        stage.send(0, (first..first + BATCH).map(record).collect()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    whole(&ended(held_batch(&stage, "whole", Some((&folder, None))).spawn().unwrap()).await);
    let steps = program::steps(&folder);
    let kept: Vec<_> = (0..steps.len()).filter(|at| steps[*at].starts_with("write _outlets")).collect();
    assert!(kept.len() >= 4, "two positions in two topics: {steps:?}");
    let cuts: BTreeSet<_> = kept.iter().flat_map(|at| [*at, at + 1]).filter(|at| *at < steps.len()).collect();
    for at in cuts {
        let (name, folder) = (format!("killed-{at}"), tempfile::tempdir().unwrap());
        let mut child = held_batch(&stage, &name, Some((&folder, Some(at)))).spawn().unwrap();
        if program::held(&mut child, &folder, at).await {
            signal(&child, &["KILL"]);
            assert_eq!(ended(child).await.code, None);
        }
        whole(&ended(held_batch(&stage, &name, None).spawn().unwrap()).await);
        proof.shown(&[Promise::Resumes]);
        let results = read(&stage, &format!("{name}.results")).await;
        let letters = read(&stage, &format!("{name}.rejected")).await;
        let (sound, bad): (BTreeSet<_>, BTreeSet<_>) = (0..600_i64).map(|at| (0, at)).partition(|(_, at)| at % 10 != 3);
        assert!(places(&results, RESULT) == sound && places(&letters, LETTER) == bad, "{name}: something is missing");
        assert!(results.len() <= 2 * sound.len(), "what is sent again is what was on its way");
        proof.shown(&[Promise::NoneLost]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expiry_deleted_before_it_was_sent_is_left_out_and_told() {
    let stage = Stage::new(1).await;
    let hours_ago = |id: usize, hours: i64| {
        let record = flower(id);
        Record { timestamp_ms: record.timestamp_ms - hours * 3_600_000, ..record }
    };
    stage.send(0, (0..10).map(|id| hours_ago(id, if id % 2 == 0 { 48 } else { 0 })).collect()).await;
    let plain = settings(&stage, "", "");
    assert_eq!(batch(plain.clone()).await.tally.counts.scored, 10);
    let store = Store::open(&plain.lake.url).unwrap();
    let before = chrono::Utc::now() - chrono::TimeDelta::hours(24);
    let expire = Expire { store: &store, dataset: DATASET, before, reason: "old", writer: "test" };
    assert_eq!(expire.delete().await.unwrap().found.scored, 5);
    let with = settings(&stage, "[results]\ntopic = \"late\"\n", "");
    let counted = Counted::of("alluvium_outlet_expired_total");
    let summary = batch(with.clone()).await;
    counted.assert_moved();
    assert_eq!((summary.failures, summary.outlets[0].sent, summary.outlets[0].expired), (vec![], 5, 5));
    assert_eq!(places(&read(&stage, "late").await, RESULT), [1, 3, 5, 7, 9].map(|at| (0, at)).into());
    // What is gone without a note is no such thing.
    stage.send(0, vec![flower(20)]).await;
    assert_eq!(batch(plain.clone()).await.tally.counts.scored, 1);
    for file in files(&plain).await.into_iter().filter(|file| file.contains("00000000000000000010")) {
        store.delete(&file.as_str().into()).await.unwrap();
    }
    let counted = Counted::of("alluvium_outlet_errors_total");
    let summary = batch(with).await;
    counted.assert_moved();
    assert!(summary.failures[0].contains("is gone, and no note says that it was expired"), "{summary:?}");
}

async fn files(settings: &alluvium::pipeline::Settings) -> Vec<String> {
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    let objects = objects(settings);
    let listed: Vec<_> =
        objects.list(Some(&"scored".into())).map_ok(|object| object.location).try_collect().await.unwrap();
    listed.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_in_avro_carry_a_registry_s_number_where_there_is_one() {
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    let url = registry.start().await;
    stage.send_flowers(1, 4).await;
    let outlets = format!("[registry]\nurl = \"{url}\"\n[results]\ntopic = \"r\"\nformat = \"avro\"\n");
    let settings = settings(&stage, &outlets, "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    let records = read(&stage, "r").await;
    assert_eq!(records.len(), 4);
    let number = |record: &Record| record.value.as_ref().unwrap()[..5].to_vec();
    let first = number(&records[0].1);
    assert!(first[0] == 0 && records.iter().all(|(_, record)| number(record) == first), "{first:?}");
    let id = u32::from_be_bytes(first[1..5].try_into().unwrap());
    let schema = client(&url).schema(id).await.unwrap().expect("it is registered");
    let schema = apache_avro::Schema::parse_str(&schema.text).unwrap();
    for (_, record) in records {
        let datum = record.value.as_ref().unwrap()[5..].to_vec();
        apache_avro::from_avro_datum(&schema, &mut &datum[..], None).unwrap();
    }
}
