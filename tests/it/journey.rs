//! A record's whole journey, over the embedded broker and a local folder.

use std::collections::{BTreeMap, BTreeSet};

use alluvium::{
    lake::{FileKind, Ledger},
    offset::LaneId,
    pipeline::Settings,
    record::{Reason, Record},
};
use arrow::array::RecordBatch;

use crate::support::{
    lake::{binaries, places, rows, texts},
    proof::{Promise, Proof},
    stage::{DATASET, Running, Stage, TOPIC, assert_clean, batch, flower, objects, value},
    until,
};

async fn scored(settings: &Settings) -> RecordBatch {
    rows(&objects(settings), FileKind::Scored, DATASET).await.expect("there are scored rows")
}

async fn rejected(settings: &Settings) -> RecordBatch {
    rows(&objects(settings), FileKind::Rejected, DATASET).await.expect("there are rejects")
}

fn all_offsets(partitions: i32, count: i64) -> Vec<(i32, i64)> {
    (0..partitions).flat_map(|partition| (0..count).map(move |offset| (partition, offset))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lands_each_record_once_and_a_second_one_has_nothing_to_do() {
    let stage = Stage::new(3).await;
    stage.send_flowers(3, 500).await;
    let settings = stage.settings("lake", "");
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.tally.counts.scored, summary.tally.counts.rejected), (1500, 0));
    assert_eq!(places(&scored(&settings).await), all_offsets(3, 500));

    let again = batch(settings.clone()).await;
    assert_eq!(again.tally.counts.records, 0);
    assert_eq!(places(&scored(&settings).await), all_offsets(3, 500));
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_says_what_the_flowers_are() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 300).await;
    let settings = stage.settings("lake", "");
    batch(settings.clone()).await;
    let rows = scored(&settings).await;
    let by_class = texts(&rows, "prediction").into_iter().fold(BTreeMap::new(), |mut sums, class| {
        *sums.entry(class).or_insert(0) += 1;
        sums
    });
    let expected = [("setosa", 100), ("versicolor", 100), ("virginica", 100)];
    assert_eq!(by_class, expected.map(|(class, n)| (class.to_owned(), n)).into());
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names.join(" "),
        "id sepal_length sepal_width petal_length petal_width prediction confidence p_setosa p_versicolor p_virginica \
         _generation _partition _offset _timestamp _key _model"
    );
    assert!(texts(&rows, "_model").iter().all(|model| model.starts_with("iris@")));
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_equals_stream_row_for_row() {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 700).await;
    stage.send(1, vec![value("no json"), value("{}")]).await;
    let (by_batch, by_stream) =
        (stage.settings("batch", ""), stage.settings("stream", "roll_rows = 100\nroll_age = \"1s\""));
    batch(by_batch.clone()).await;
    let running = Running::start(by_stream.clone()).await;
    until("the stream has all", async || running.committed() == 1402).await;
    running.stop().await;
    assert!(scored(&by_batch).await == scored(&by_stream).await);
    assert!(rejected(&by_batch).await == rejected(&by_stream).await);
    assert_clean(&by_batch).await;
    assert_clean(&by_stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_kept_byte_for_byte_with_a_reason() {
    let stage = Stage::new(1).await;
    let row = |petal: &str| {
        format!("{{\"sepal_length\":5.9,\"sepal_width\":3,\"petal_length\":1.4,\"petal_width\":{petal}}}")
    };
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(4096));
    let bad: Vec<(Reason, Record)> = vec![
        (Reason::NotJson, value("\u{0}\u{1}not json")),
        (Reason::WrongType, value(row("\"wide\""))),
        (Reason::MissingField, value("{\"sepal_length\":5.9}")),
        (Reason::NotANumber, value(row("NaN"))),
        (Reason::Empty, Record { value: None, key: Some(b"tombstone".to_vec()), ..value("") }),
        (Reason::TooLarge, value(large)),
        (Reason::EventTime, Record { timestamp_ms: 1000, ..flower(1) }),
    ];
    let reasons: BTreeSet<Reason> = bad.iter().map(|(reason, _)| *reason).collect();
    // Those of other formats have tests of their own.
    let others = [
        Reason::NotUtf8,
        Reason::NotCsv,
        Reason::NotDebezium,
        Reason::NotAvro,
        Reason::NotProtobuf,
        Reason::UnknownSchema,
    ];
    assert!(Reason::ALL.iter().filter(|reason| !others.contains(reason)).all(|reason| reasons.contains(reason)));
    let mut records: Vec<Record> = bad.iter().map(|(_, record)| record.clone()).collect();
    records[0].headers = [("trace".to_owned(), vec![0, 255])].into();
    records.push(flower(7));
    stage.send(0, records.clone()).await;

    let mut settings = stage.settings("lake", "");
    settings.decode.record_bytes_max = 4096;
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.tally.counts.scored, summary.tally.counts.rejected), (1, 7));
    let rejects = rejected(&settings).await;
    assert_eq!(texts(&rejects, "reason"), bad.iter().map(|(reason, _)| reason.code()).collect::<Vec<_>>());
    assert_eq!(
        binaries(&rejects, "_value"),
        records[..7].iter().map(|record| record.value.clone()).collect::<Vec<_>>()
    );
    assert_eq!(binaries(&rejects, "_key")[4], Some(b"tombstone".to_vec()));
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_on_the_same_partitions_leave_a_clean_lake() {
    let stage = Stage::new(2).await;
    let settings = stage.settings("lake", "roll_rows = 50\nroll_age = \"1s\"");
    let (one, two) = (Running::start(settings.clone()).await, Running::start(settings.clone()).await);
    for round in 0..6 {
        stage.send_flowers(2, 100).await;
        let goal = 200 * (round + 1);
        until("both have caught up", async || {
            one.committed() + two.committed() >= goal && one.pipeline.progress().lag + two.pipeline.progress().lag == 0
        })
        .await;
    }
    let (one, two) = (one.stop().await, two.stop().await);
    assert_eq!(one.tally.counts.records + two.tally.counts.records, 1200);
    assert!(one.tally.fences + two.tally.fences > 0, "they met at least once");
    assert_eq!(places(&scored(&settings).await), all_offsets(2, 600));
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_any_moment_sees_no_offset_twice_and_nothing_that_is_gone_later() {
    let stage = Stage::new(2).await;
    let settings = stage.settings("lake", "roll_rows = 20\nroll_age = \"1s\"");
    let (one, two) = (Running::start(settings.clone()).await, Running::start(settings.clone()).await);
    let sending = async {
        for _ in 0..40 {
            stage.send_flowers(2, 25).await;
        }
    };
    let reading = async {
        let mut seen = BTreeSet::new();
        until("all is visible", async || {
            let Some(rows) = rows(&objects(&settings), FileKind::Scored, DATASET).await else { return false };
            let places = places(&rows);
            let now: BTreeSet<_> = places.iter().copied().collect();
            assert_eq!(now.len(), places.len(), "an offset is visible twice");
            assert!(now.is_superset(&seen), "what was visible is gone");
            seen = now;
            seen.len() == 2000
        })
        .await;
    };
    tokio::join!(sending, reading);
    one.stop().await;
    two.stop().await;
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_many_hours_go_to_their_own_folders_and_cut_a_segment_early() {
    let stage = Stage::new(1).await;
    let hour = 3_600_000;
    let first = 1_700_000_000_000 - 1_700_000_000_000 % hour;
    let records = (0..60).map(|n| Record { timestamp_ms: first + (n % 6) * hour, ..flower(1) });
    stage.send(0, records.collect()).await;
    let mut settings = stage.settings("lake", "");
    settings.lake.segment_hours_max = 4;
    let summary = batch(settings.clone()).await;
    assert_eq!(summary.tally.counts.scored, 60);
    assert!(summary.tally.segments >= 10, "each claim holds at most four hours: {}", summary.tally.segments);
    assert_eq!(places(&scored(&settings).await), all_offsets(1, 60));
    let folder = stage.lake_folder("lake").join("scored").join(DATASET);
    let hours: usize =
        std::fs::read_dir(folder).unwrap().map(|date| std::fs::read_dir(date.unwrap().path()).unwrap().count()).sum();
    assert_eq!(hours, 6);
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_stops_the_lane_until_a_new_generation() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 100).await;
    let settings = stage.settings("lake", "");
    batch(settings.clone()).await;
    for shorter in [true, false] {
        recreate(&stage).await;
        let count = if shorter { 10 } else { 200 };
        stage.send(0, (0..count).map(|id| flower(id + 5000)).collect()).await;
        let summary = batch(settings.clone()).await;
        let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
        assert!(failure.contains("re-created or truncated") && failure.contains("generation = 1"), "{failure}");
        assert_eq!(summary.tally.counts.records, 0);
    }
    let next = stage.settings("lake", "generation = 1");
    assert_eq!(batch(next.clone()).await.tally.counts.scored, 200);
    assert_clean(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_of_another_topic_is_not_continued() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 10).await;
    let settings = stage.settings("lake", "");
    let store = alluvium::lake::Store::open(&settings.lake.url).unwrap();
    let id = LaneId { dataset: DATASET.into(), generation: 0, partition: 0 };
    Ledger::new(store, id, "test".into()).begin("trees", 0).await.unwrap();
    let summary = batch(settings).await;
    assert!(summary.failures[0].contains("begun from topic `trees`"), "{:?}", summary.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_stay_inside_a_small_memory_budget() {
    let stage = Stage::new(200).await;
    stage.send_flowers(200, 400).await;
    let mut settings = stage.settings("lake", "");
    settings.limits.memory_bytes_max = 24 << 20;
    let summary = batch(settings.clone()).await;
    assert_eq!(summary.failures, Vec::<String>::new());
    assert_eq!(summary.tally.counts.scored, 80_000);
    assert!(summary.memory_peak_bytes <= 24 << 20, "{} bytes at most", summary.memory_peak_bytes);
    assert_eq!(places(&scored(&settings).await), all_offsets(200, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_rejects_stays_inside_the_memory_budget() {
    let proof = Proof::of("nothing in particular", &[Promise::MemoryInBudget]);
    let stage = Stage::new(2).await;
    for _ in 0..10 {
        for partition in 0..2 {
            stage.send(partition, (0..2000).map(|n| value(format!("{n} is no flower"))).collect()).await;
        }
    }
    let mut settings = stage.settings("lake", "");
    settings.limits.memory_bytes_max = 16 << 20;
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.tally.counts.scored, summary.tally.counts.rejected), (0, 40_000));
    assert!(summary.memory_peak_bytes <= 16 << 20, "{} bytes at most", summary.memory_peak_bytes);
    proof.shown(&[Promise::MemoryInBudget]);
    assert_clean(&settings).await;
}

/// A client of the topic with the verbs that Alluvium has no use for.
async fn admin(stage: &Stage) -> rskafka::client::Client {
    let brokers = vec![stage.brokers.clone()];
    rskafka::client::ClientBuilder::new(brokers).build().await.unwrap()
}

async fn recreate(stage: &Stage) {
    let controller = admin(stage).await.controller_client().unwrap();
    controller.delete_topic(TOPIC, 5_000).await.unwrap();
    stage.broker.create_topic(TOPIC, 1, 1).await.unwrap();
}
