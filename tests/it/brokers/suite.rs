//! The journeys that mean something on every broker: the embedded one, Apache Kafka, and whichever
//! `ALLUVIUM_TEST_BROKERS` names.

use alluvium::{
    lake::FileKind,
    record::{Reason, Record},
};

use crate::{
    matrix::{SMALL_SEGMENTS, send_mixed, visible},
    support::{
        lake::{binaries, rows, texts},
        proof::{OF_A_CRASH, Promise, Proof, Sent},
        stage::{Behind, DATASET, Running, Stage, batch, flower, objects, value},
        until,
        witness::Witness,
    },
};

macro_rules! on_every_broker {
    ($($journey:ident on $partitions:literal,)*) => {
        on_every_broker!(embedded Behind::Embedded: $($journey on $partitions,)*);
        on_every_broker!(kafka Behind::Kafka: $($journey on $partitions,)*);
        on_every_broker!(named Behind::Named: $($journey on $partitions,)*);
    };
    ($name:ident $behind:path: $($journey:ident on $partitions:literal,)*) => {
        mod $name {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $journey() {
                    let Some(stage) = Stage::on($behind, $partitions).await else { return };
                    super::$journey(&stage).await;
                    stage.leave().await;
                }
            )*
        }
    };
}

on_every_broker! {
    each_record_lands_once_and_a_batch_equals_the_stream on 2,
    rejects_are_kept_byte_for_byte on 1,
    two_workers_waste_work_and_corrupt_nothing on 2,
    retention_that_overtakes_the_reader_is_counted on 1,
    a_topic_recreated_with_fewer_records_stops_the_lane on 1,
    a_topic_recreated_with_more_records_stops_the_lane on 1,
    a_deleted_topic_stops_the_lane_and_stays_deleted on 1,
}

async fn each_record_lands_once_and_a_batch_equals_the_stream(stage: &Stage) {
    let proof = Proof::of("nothing in particular", OF_A_CRASH);
    let mut sent = Sent::default();
    let by_stream = stage.settings("stream", SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&by_stream), DATASET);
    for _ in 0..2 {
        let running = Running::start(by_stream.clone()).await;
        send_mixed(stage, &mut sent, 2, 300).await;
        until("all is visible", async || visible(&by_stream).await == sent.len()).await;
        assert_eq!(running.stop().await.failures, Vec::<String>::new());
    }
    proof.shown(&[Promise::Resumes]);
    witness.agree(&proof).await;
    let by_batch = stage.settings("batch", "");
    batch(by_batch.clone()).await;
    proof.lake(&objects(&by_stream), &sent).await;
    proof.lake(&objects(&by_batch), &sent).await;
    proof.same_rows(&objects(&by_stream), &objects(&by_batch)).await;
}

async fn rejects_are_kept_byte_for_byte(stage: &Stage) {
    let proof = Proof::of(
        "nothing in particular",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    let all_bytes: Vec<u8> = (0..=255).collect();
    let records = [
        Record { key: Some(all_bytes.clone()), ..value(all_bytes.clone()) },
        Record { key: Some(vec![]), value: None, ..value("") },
        Record { headers: [("trace".to_owned(), vec![0, 255]), (String::new(), vec![])].into(), ..value("{}") },
        Record { key: None, ..value("[1, 2") },
        flower(4),
    ];
    let mut sent = Sent::default();
    sent.add(0, &records);
    stage.send(0, records.to_vec()).await;
    let settings = stage.settings("lake", "");
    batch(settings.clone()).await;
    proof.lake(&objects(&settings), &sent).await;

    let rejects = rows(&objects(&settings), FileKind::Rejected, DATASET).await.unwrap();
    let keys: Vec<_> = records[..4].iter().map(|record| record.key.clone()).collect();
    assert_eq!(binaries(&rejects, "_key"), keys);
    let reasons = [Reason::NotJson, Reason::Empty, Reason::MissingField, Reason::NotJson];
    assert_eq!(texts(&rejects, "reason"), reasons.map(|reason| reason.code().to_owned()));
}

async fn two_workers_waste_work_and_corrupt_nothing(stage: &Stage) {
    let proof = Proof::of(
        "two workers on the same partitions",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::RejectsExact,
        ],
    );
    let mut sent = Sent::default();
    let settings = stage.settings("lake", SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&settings), DATASET);
    let (one, two) = (Running::start(settings.clone()).await, Running::start(settings.clone()).await);
    for _ in 0..4 {
        send_mixed(stage, &mut sent, 2, 100).await;
        until("all is visible", async || visible(&settings).await == sent.len()).await;
    }
    for worker in [one, two] {
        assert_eq!(worker.stop().await.failures, Vec::<String>::new());
    }
    witness.agree(&proof).await;
    proof.lake(&objects(&settings), &sent).await;
}

async fn retention_that_overtakes_the_reader_is_counted(stage: &Stage) {
    let proof = Proof::of(
        "retention overtakes the reader",
        &[Promise::L1, Promise::L2, Promise::L3, Promise::NoneLost, Promise::NoneDoubled, Promise::Resumes],
    );
    if stage.behind == Behind::Embedded {
        // It keeps every record, and deletes none when asked.
        return proof.left_out();
    }
    let mut sent = Sent::default();
    let settings = stage.settings("lake", SMALL_SEGMENTS);
    send_mixed(stage, &mut sent, 1, 300).await;
    batch(settings.clone()).await;
    send_mixed(stage, &mut sent, 1, 300).await;
    stage.admin().await.delete_records(&stage.topic, 0, 450).await;
    sent.gone(0, 300..450);
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.tally.counts.absent, summary.remaining), (vec![], 150, 0));
    proof.shown(&[Promise::Resumes]);
    proof.lake(&objects(&settings), &sent).await;
}

async fn a_topic_recreated_with_fewer_records_stops_the_lane(stage: &Stage) {
    let proof = Proof::of(
        "the topic is re-created with fewer records",
        &[Promise::L2, Promise::L10, Promise::NoneLost, Promise::NoneDoubled],
    );
    recreated(stage, &proof, 10).await;
}

async fn a_topic_recreated_with_more_records_stops_the_lane(stage: &Stage) {
    let proof = Proof::of(
        "the topic is re-created with more records",
        &[Promise::L2, Promise::L10, Promise::NoneLost, Promise::NoneDoubled],
    );
    recreated(stage, &proof, 300).await;
}

/// The lake keeps what it has, nothing is added to it, and the next generation holds the new records.
async fn recreated(stage: &Stage, proof: &Proof, count: usize) {
    let mut before = Sent::default();
    let settings = stage.settings("lake", "");
    send_mixed(stage, &mut before, 1, 100).await;
    batch(settings.clone()).await;
    let admin = stage.admin().await;
    admin.delete(&stage.topic).await;
    until("the topic is there again", async || admin.create(&stage.topic, 1, 1, &[]).await.is_ok()).await;
    let (records, mut after) = ((0..count).map(|id| flower(id + 5000)).collect::<Vec<_>>(), Sent::default());
    after.add(0, &records);
    stage.send(0, records).await;

    let summary = batch(settings.clone()).await;
    let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
    assert!(failure.contains("re-created or truncated") && failure.contains("generation = 1"), "{failure}");
    assert_eq!(summary.tally.counts.records, 0);
    proof.shown(&[Promise::L10]);
    proof.lake(&objects(&settings), &before).await;
    let next = stage.settings("lake", "generation = 1");
    assert_eq!(batch(next.clone()).await.failures, Vec::<String>::new());
    proof.lake_of(&objects(&next), DATASET, 1, &after).await;
}

async fn a_deleted_topic_stops_the_lane_and_stays_deleted(stage: &Stage) {
    let proof =
        Proof::of("the topic is deleted", &[Promise::L2, Promise::L10, Promise::NoneLost, Promise::NoneDoubled]);
    let mut sent = Sent::default();
    let settings = stage.limited("lake", "request_timeout = \"2s\"", SMALL_SEGMENTS);
    let running = Running::start(settings.clone()).await;
    send_mixed(stage, &mut sent, 1, 100).await;
    until("all is visible", async || visible(&settings).await == sent.len()).await;
    let admin = stage.admin().await;
    admin.delete(&stage.topic).await;
    let summary = running.ended().await;
    let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
    assert!(failure.contains(&format!("topic `{}`, partition 0", stage.topic)), "{failure}");
    assert!(!admin.knows(&stage.topic).await, "to ask for a topic must not create it");
    proof.shown(&[Promise::L10]);
    proof.lake(&objects(&settings), &sent).await;
}
