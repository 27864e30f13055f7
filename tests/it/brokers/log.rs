//! What may stand in a Kafka log: compacted records, transactions, records too large and too strange.

use std::path::Path;

use alluvium::{
    lake::{FileKind, Store},
    pipeline::{
        Flow,
        doctor::{Doctor, State},
    },
    record::Record,
};

use super::told_by_python;
use crate::{
    matrix::SMALL_SEGMENTS,
    support::{
        kafka::Kafka,
        lake::{numbers, rows},
        parts,
        proof::{Promise, Proof, Sent},
        stage::{DATASET, Running, Stage, batch, flower, objects, unique_topic, value},
        until,
    },
};

/// A stage on the shared Kafka, whose topic has settings of its own.
async fn stage_with(settings: &[(&str, &str)]) -> Option<Stage> {
    let stage = Stage::at(&Kafka::shared().await?.brokers(), &unique_topic()).await;
    let created = stage.admin().await.create(&stage.topic, 1, 1, settings).await;
    created.unwrap();
    until("the topic is there", async || stage.broker.partition(&stage.topic, 0).await.is_ok()).await;
    Some(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_is_read_to_its_end_and_what_it_lacks_is_counted() {
    let proof =
        Proof::of("log compaction", &[Promise::L1, Promise::L2, Promise::L3, Promise::NoneLost, Promise::NoneDoubled]);
    let compacted = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001")];
    let Some(stage) = stage_with(&compacted).await else { return proof.left_out() };
    // Each batch ends with a key that every later batch has, too: compaction takes its last record.
    let keyed = |id: usize, key: String| Record { key: Some(key.into_bytes()), ..flower(id) };
    for batch in 0..12 {
        let own = (0..9).map(|n| keyed(batch * 10 + n, format!("{}", (batch % 4) * 9 + n)));
        let records = own.chain([keyed(batch * 10 + 9, "last of every batch".into())]).collect();
        stage.send(0, records).await;
    }
    let admin = stage.admin().await;
    let mut id = 120;
    until("the log is compacted", async || {
        // A segment is closed by the next record, and only closed segments are compacted.
        stage.send(0, vec![keyed(id, format!("single {}", id % 3))]).await;
        id += 1;
        admin.read(&stage.topic, 0).await.len() < 60
    })
    .await;
    let settings = stage.settings("lake", SMALL_SEGMENTS);
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.remaining), (vec![], 0));
    // It may be compacted further after it was read, so what was sent says what may be there.
    let landed = rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap();
    let landed: Vec<i64> = numbers(&landed, "id");
    let mut sent = Sent::default();
    for id in 0..id {
        let at = i64::try_from(id).unwrap();
        if landed.contains(&at) {
            sent.at(0, at, &flower(id));
        }
    }
    let left: Vec<i64> = admin.read(&stage.topic, 0).await.iter().map(|record| record.offset).collect();
    assert!(left.iter().all(|offset| landed.contains(offset)), "{left:?} is in the topic, {landed:?} in the lake");
    proof.lake(&objects(&settings), &sent).await;
    stage.leave().await;
}

/// Two producers' transactions run into one another on one partition, with plain records between them; some are
/// committed, some aborted, one of these larger than a fetch, and the last is left open. Prints what a reader of
/// committed records sees.
const TRANSACTIONS: &str = r#"
import json, sys
from confluent_kafka import Consumer, Producer, TopicPartition
brokers, topic = sys.argv[1:]
common = {"bootstrap.servers": brokers, "linger.ms": 5}
one, two = (Producer({**common, "transactional.id": topic + str(n)}) for n in (1, 2))
plain = Producer(common)
one.init_transactions(); two.init_transactions()
made = 0
def send(producer, count):
    global made
    for _ in range(count):
        flower = {"id": made, "sepal_length": 5.9, "sepal_width": 3.0, "petal_length": 1.4, "petal_width": 0.2}
        producer.produce(topic, json.dumps(flower).encode(), partition=0)
        made += 1
        if made % 1000 == 0: producer.flush()
    producer.flush()
for round in range(8):
    one.begin_transaction(); two.begin_transaction()
    send(one, 30); send(two, 30); send(plain, 20); send(one, 20000 if round == 5 else 30)
    (one.abort_transaction if round % 2 else one.commit_transaction)()
    send(two, 10); send(plain, 5)
    (two.commit_transaction if round % 4 else two.abort_transaction)()
one.begin_transaction(); send(one, 10)
reader = Consumer({"bootstrap.servers": brokers, "group.id": topic, "isolation.level": "read_committed",
                   "enable.partition.eof": True, "enable.auto.commit": False})
reader.assign([TopicPartition(topic, 0, 0)])
while True:
    message = reader.poll(30)
    if message is None: sys.exit("nothing more is read")
    if message.error(): break
    print(json.dumps([message.offset(), message.value().decode()]))
sys.stdout.flush()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn of_transactions_the_committed_records_land_and_the_others_never() {
    let proof = Proof::of(
        "transactions, committed and aborted",
        &[Promise::L2, Promise::L3, Promise::NoneLost, Promise::NoneDoubled],
    );
    let Some(python) = parts::python_with("confluent_kafka") else { return proof.left_out() };
    let Some(stage) = stage_with(&[]).await else { return proof.left_out() };
    let settings = stage.limited("stream", "fetch_bytes = \"64KiB\"", SMALL_SEGMENTS);
    // One reads along, and so never sees more of a transaction than there is.
    let running = Running::start(settings.clone()).await;
    let sent = transactions(&python, &stage).await;
    until("the stream has all", async || running.committed() == sent.len() as u64).await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    proof.lake(&objects(&settings), &sent).await;
    // The open transaction holds back its own records and nothing else: a batch ends before it.
    let by_batch = stage.limited("batch", "fetch_bytes = \"64KiB\"", "");
    let summary = batch(by_batch.clone()).await;
    assert_eq!((summary.failures, summary.remaining), (vec![], 0));
    proof.lake(&objects(&by_batch), &sent).await;
    // The doctor tells why the partition seems to end before its last record.
    let store = Store::open(&by_batch.lake.url).unwrap();
    let flow = Flow { topic: stage.topic.as_str().into(), dataset: DATASET.into() };
    let doctor =
        Doctor { settings: &by_batch, flow: &flow, store: &store, broker: Some(&stage.broker), writer: "test" };
    let patients = doctor.look(Some(&[0])).await.unwrap();
    assert_eq!(patients[0].state, State::Well, "{patients:?}");
    assert!(patients[0].notes.iter().any(|note| note.starts_with("an open transaction holds back [")), "{patients:?}");
    stage.leave().await;
}

async fn transactions(python: &Path, stage: &Stage) -> Sent {
    let mut sent = Sent::default();
    for line in told_by_python(python, TRANSACTIONS, stage).await.lines() {
        let (offset, text): (i64, String) = serde_json::from_str(line).unwrap();
        sent.at(0, offset, &value(text));
    }
    sent
}

const MB: usize = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn records_of_ten_megabytes_land_or_are_kept_as_they_are() {
    let proof = Proof::of(
        "records of 10 MB",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact, Promise::MemoryInBudget],
    );
    let Some(stage) = stage_with(&[("max.message.bytes", "20971520")]).await else { return proof.left_out() };
    let mut sent = Sent::default();
    for id in 0..6 {
        // Sound but for its size, or nothing at all.
        let record = if id % 3 == 2 { value(vec![b'x'; 10 * MB]) } else { large_flower(id, 10 * MB) };
        sent.add(0, [&record, &flower(100 + id)]);
        stage.send(0, vec![record]).await;
        stage.send(0, vec![flower(100 + id)]).await;
    }
    let settings = stage.limited("lake", "record_bytes = \"16MiB\"\nmemory = \"64MiB\"", "");
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.tally.counts.rejected), (vec![], 2));
    assert!(summary.memory_peak_bytes <= 64 << 20, "{} bytes at most", summary.memory_peak_bytes);
    proof.shown(&[Promise::MemoryInBudget]);
    proof.lake(&objects(&settings), &sent).await;

    let by_default = stage.settings("small", "");
    assert_eq!(batch(by_default).await.tally.counts.rejected, 6, "by default a record of 10 MB is too large");
    stage.leave().await;
}

/// Blanks between the members of an object are as good as none.
fn large_flower(id: usize, bytes: usize) -> Record {
    let sound = String::from_utf8(flower(id).value.unwrap()).unwrap();
    value(format!("{{{}{}", " ".repeat(bytes), &sound[1..]))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_rejects_and_harm_nothing_beside_them() {
    let proof = Proof::of(
        "hostile bytes",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact, Promise::MemoryInBudget],
    );
    let Some(stage) = stage_with(&[("max.message.bytes", "20971520")]).await else { return proof.left_out() };
    let many_headers = (0..100_000).map(|n| (format!("{n:06}"), vec![255; 8])).collect();
    let records = vec![
        Record { headers: many_headers, ..value("no json") },
        flower(1),
        value("[".repeat(900_000)),
        value(vec![0; 100_000]),
        value(vec![0xff; 1_000]),
        value("{\"id\":1e999999999,\"sepal_length\":-0}"),
        value("\u{feff}{}"),
        Record { key: Some(vec![0; 300_000]), ..flower(2) },
    ];
    let mut sent = Sent::default();
    sent.add(0, &records);
    for record in records {
        stage.send(0, vec![record]).await;
    }
    let settings = stage.limited("lake", "memory = \"96MiB\"", "");
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.tally.counts.scored), (vec![], 2));
    assert!(summary.memory_peak_bytes <= 96 << 20, "{} bytes at most", summary.memory_peak_bytes);
    proof.shown(&[Promise::MemoryInBudget]);
    proof.lake(&objects(&settings), &sent).await;
    stage.leave().await;
}

/// Sound records around one whose header has no value, each in a batch of its own.
const NULL_HEADER: &str = r#"
import json, sys
from confluent_kafka import Producer
brokers, topic = sys.argv[1:]
producer = Producer({"bootstrap.servers": brokers})
for made in range(10):
    flower = {"id": made, "sepal_length": 5.9, "sepal_width": 3.0, "petal_length": 1.4, "petal_width": 0.2}
    producer.produce(topic, json.dumps(flower).encode(), headers=[("trace", None if made == 5 else b"")])
    producer.flush()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_a_value_stops_the_lane_right_there() {
    let proof = Proof::of("headers without a value", &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled]);
    let Some(python) = parts::python_with("confluent_kafka") else { return proof.left_out() };
    let Some(stage) = stage_with(&[]).await else { return proof.left_out() };
    told_by_python(&python, NULL_HEADER, &stage).await;
    let settings = stage.settings("lake", "");
    for _ in 0..2 {
        let summary = batch(settings.clone()).await;
        let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
        assert!(failure.contains("offset 5") && failure.contains("a header without a value"), "{failure}");
        assert_eq!(summary.remaining, 5);
    }
    let mut sent = Sent::default();
    sent.add(0, (0..5).map(flower).collect::<Vec<_>>());
    proof.lake(&objects(&settings), &sent).await;
    stage.leave().await;
}
