//! Producers that share nothing with Alluvium: librdkafka behind kcat, and behind Python.

use std::{collections::BTreeMap, path::Path};

use alluvium::{lake::FileKind, pipeline::Settings, record::Record};
use arrow::{array::AsArray, datatypes::TimestampMillisecondType};

use super::{told_by, told_by_python};
use crate::support::{
    kafka::Kafka,
    lake::{binaries, places, rows},
    parts,
    proof::{Promise, Proof, Sent},
    stage::{DATASET, Stage, batch, flower, objects, unique_topic, value},
};

/// Every compression, on a topic of each kind of time. Prints what the broker said of each record: place and time.
const PRODUCE: &str = r#"
import json, sys
from confluent_kafka import Producer
brokers, topic = sys.argv[1:]
def told(error, message):
    if error: sys.exit(str(error))
    key = message.key()
    print(json.dumps([message.partition(), message.offset(), message.timestamp()[1], key and key.decode(), message.value().decode()]))
made = 0
for compression in ["none", "gzip", "snappy", "lz4", "zstd"]:
    producer = Producer({"bootstrap.servers": brokers, "compression.type": compression, "linger.ms": 20})
    for n in range(200):
        flower = {"id": made, "sepal_length": 5.9, "sepal_width": 3.0, "petal_length": 1.4, "petal_width": 0.2}
        text = "no flower" if n % 20 == 7 else json.dumps(flower)
        producer.produce(topic, text.encode(), key=None if n % 3 else str(made).encode(), partition=n % 2,
                         timestamp=1_700_000_000_000 + made * 60_000,
                         headers=[("trace", b"\x00\xff"), ("empty", b"")], on_delivery=told)
        made += 1
    producer.flush()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_python_sends_lands_with_its_keys_and_the_producers_time() {
    let proof = Proof::of(
        "foreign producers: every compression, keys, headers, timestamps",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    if !from_python(&proof, "CreateTime").await {
        proof.left_out();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_sends_lands_with_the_brokers_time_where_the_topic_says_so() {
    let proof = Proof::of(
        "foreign producers: every compression, keys, headers, timestamps",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    if !from_python(&proof, "LogAppendTime").await {
        proof.left_out();
    }
}

/// False where a part is missing, which is said.
async fn from_python(proof: &Proof, time: &str) -> bool {
    let Some(python) = parts::python_with("confluent_kafka") else { return false };
    let Some(stage) = stage_with(2, time).await else { return false };
    let (mut sent, mut told) = (Sent::default(), BTreeMap::new());
    for line in told_by_python(&python, PRODUCE, &stage).await.lines() {
        let (partition, offset, time_ms, key, text): (i32, i64, i64, Option<String>, String) =
            serde_json::from_str(line).unwrap();
        sent.at(partition, offset, &value(text));
        told.insert((partition, offset), (time_ms, key.map(String::into_bytes)));
    }
    assert_eq!(told.len(), 1000);
    let settings = stage.settings("lake", "partition_by = \"day\"");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    proof.lake(&objects(&settings), &sent).await;
    assert!(told_by_the_lake(&settings).await == told, "times and keys are those that the broker told the producer");
    stage.leave().await;
    true
}

async fn stage_with(partitions: i32, time: &str) -> Option<Stage> {
    let stage = Stage::at(&Kafka::shared().await?.brokers(), &unique_topic()).await;
    let settings = [("message.timestamp.type", time)];
    stage.admin().await.create(&stage.topic, partitions, 1, &settings).await.unwrap();
    Some(stage)
}

/// Each row's time and key, by partition and offset.
async fn told_by_the_lake(settings: &Settings) -> BTreeMap<(i32, i64), (i64, Option<Vec<u8>>)> {
    let mut told = BTreeMap::new();
    for kind in [FileKind::Scored, FileKind::Rejected] {
        let rows = rows(&objects(settings), kind, DATASET).await.unwrap();
        let times = rows.column_by_name("_timestamp").unwrap().as_primitive::<TimestampMillisecondType>().clone();
        let each = times.values().iter().copied().zip(binaries(&rows, "_key"));
        told.extend(places(&rows).into_iter().zip(each));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kcat_sends_lands_whatever_the_compression() {
    let proof = Proof::of(
        "foreign producers: every compression, keys, headers, timestamps",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    let Some(kcat) = parts::program("kcat") else { return proof.left_out() };
    let Some(stage) = stage_with(1, "CreateTime").await else { return proof.left_out() };
    let mut sent = Sent::default();
    for (batch, compression) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let records: Vec<Record> =
            (0..100).map(|n| if n == 50 { value("no flower") } else { flower(batch * 100 + n) }).collect();
        sent.add(0, &records);
        kcat_sends(&kcat, &stage, compression, &records).await;
    }
    let settings = stage.settings("lake", "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    proof.lake(&objects(&settings), &sent).await;
    let keys: Vec<_> = told_by_the_lake(&settings).await.into_values().map(|(_, key)| key).collect();
    assert!(keys.iter().all(|key| key.as_deref() == Some(&b"a key"[..])), "{keys:?}");
    stage.leave().await;
}

async fn kcat_sends(kcat: &Path, stage: &Stage, compression: &str, records: &[Record]) {
    let lines: Vec<_> = records.iter().map(|record| record.value.as_deref().unwrap()).collect();
    let file = stage.folder.path().join("lines");
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    let to = ["-P", "-b", &stage.brokers, "-t", &stage.topic, "-p", "0", "-z", compression];
    let with = ["-k", "a key", "-H", "trace=1", "-H", "empty=", "-l", file.to_str().unwrap()];
    told_by(kcat, to.into_iter().chain(with)).await;
}
