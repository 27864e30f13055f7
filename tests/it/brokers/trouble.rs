//! A broker in trouble: killed, frozen, cut off in the middle of a word, or leading no longer.

use std::time::Duration;

use alluvium::broker::{Broker, BrokerErrorKind, BrokerLimits};

use crate::{
    matrix::{SMALL_SEGMENTS, send_mixed, visible},
    support::{
        admin::Admin,
        kafka::{Kafka, Setup, any_port},
        proof::{OF_TROUBLE, Promise, Proof, Sent},
        proxy::Proxy,
        stage::{DATASET, Running, Stage, batch, objects},
        until,
        witness::Witness,
    },
};

const ALONE: Setup = Setup { brokers: 1, advertised_port: 0 };
/// Patient enough to start, and soon out of patience with a broker that says nothing.
const IMPATIENT: &str = "request_timeout = \"2s\"\nfetch_bytes = \"16KiB\"";
const TOPIC: &str = "flowers";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_and_restarted_again_and_again_loses_and_doubles_nothing() {
    let proof = Proof::of("the broker is killed and restarted", OF_TROUBLE);
    let Some(mut kafka) = Kafka::start(ALONE).await else { return proof.left_out() };
    let (stage, mut sent) = (Stage::at(&kafka.brokers(), TOPIC).await, Sent::default());
    stage.broker.create_topic(TOPIC, 2, 1).await.unwrap();
    let settings = stage.limited("lake", IMPATIENT, SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&settings), DATASET);
    let running = Running::start(settings.clone()).await;
    for _ in 0..3 {
        let before = running.committed();
        send_mixed(&stage, &mut sent, 2, 2_000).await;
        until("the reader is in the middle of it", async || running.committed() > before).await;
        kafka.kill(0);
        kafka.restart(0);
        kafka.wait_until_ready().await;
    }
    until("all is visible", async || visible(&settings).await == sent.len()).await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    proof.shown(&[Promise::Resumes]);
    witness.agree(&proof).await;
    proof.lake(&objects(&settings), &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_frozen_for_longer_than_any_request_may_take_is_waited_for() {
    let proof = Proof::of(
        "the broker is paused",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    let Some(kafka) = Kafka::start(ALONE).await else { return proof.left_out() };
    let (stage, mut sent) = (Stage::at(&kafka.brokers(), TOPIC).await, Sent::default());
    stage.broker.create_topic(TOPIC, 1, 1).await.unwrap();
    let settings = stage.limited("lake", IMPATIENT, SMALL_SEGMENTS);
    let running = Running::start(settings.clone()).await;
    send_mixed(&stage, &mut sent, 1, 2_000).await;
    until("the reader is in the middle of it", async || running.committed() > 0).await;
    let (impatient, partition) = impatient_reader(&kafka).await;
    kafka.freeze(0).await;
    // Three times as long as a request may take.
    for _ in 0..3 {
        let error = partition.fetch(0, 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Transient, "{error}");
    }
    let stopped = tokio::time::timeout(settings.limits.stop_timeout, running.stop()).await;
    assert_eq!(stopped.expect("it stops though nobody answers").failures, Vec::<String>::new());
    proof.shown(&[Promise::StopsInTime]);
    kafka.thaw(0);
    drop(impatient);

    let running = Running::start(settings.clone()).await;
    until("it reads", async || running.pipeline.progress().lanes_open > 0).await;
    kafka.freeze(0).await;
    assert!(partition.fetch(0, 1, Duration::ZERO).await.is_err());
    assert!(partition.fetch(0, 1, Duration::ZERO).await.is_err());
    kafka.thaw(0);
    until("all is visible", async || visible(&settings).await == sent.len()).await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    proof.shown(&[Promise::Resumes]);
    proof.lake(&objects(&settings), &sent).await;
}

/// Gives a broker as long as the pipeline does.
async fn impatient_reader(kafka: &Kafka) -> (Broker, alluvium::broker::Partition) {
    let limits = BrokerLimits {
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(2),
        fetch_bytes_max: 1 << 20,
        fetch_wait_max: Duration::from_millis(10),
    };
    let broker = Broker::connect(&[kafka.brokers()], limits).await.unwrap();
    let partition = broker.partition(TOPIC, 0).await.unwrap();
    (broker, partition)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_inside_a_frame_lose_and_double_nothing() {
    let proof = Proof::of(
        "the broker's connection breaks inside a frame",
        &[Promise::L1, Promise::L2, Promise::L3, Promise::NoneLost, Promise::NoneDoubled, Promise::Resumes],
    );
    let listener = any_port().await;
    let advertised_port = listener.local_addr().unwrap().port();
    let Some(kafka) = Kafka::start(Setup { brokers: 1, advertised_port }).await else { return proof.left_out() };
    // What the test itself says goes through the proxy too, but not before it is told to break anything.
    let proxy = Proxy::start(listener, kafka.address(0));
    let (stage, mut sent) = (Stage::at(&proxy.address.to_string(), TOPIC).await, Sent::default());
    stage.broker.create_topic(TOPIC, 1, 1).await.unwrap();
    let settings = stage.limited("lake", IMPATIENT, SMALL_SEGMENTS);
    send_mixed(&stage, &mut sent, 1, 100).await;
    batch(settings.clone()).await;
    for _ in 0..30 {
        send_mixed(&stage, &mut sent, 1, 100).await;
    }
    stage.admin().await.delete_records(TOPIC, 0, 150).await;
    sent.gone(0, 100..150);

    // Inside the length, the header, the first batch, and ever further on; each try comes a little further.
    proxy.break_after((0..8).map(|n| [2, 9, 40, 300][n % 4] + n * 8_000));
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.remaining), (vec![], 0));
    assert_eq!(proxy.breaks_left(), 0);
    proof.shown(&[Promise::Resumes]);
    proof.lake(&objects(&settings), &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_and_brokers_that_are_lost_lose_and_double_nothing() {
    let proof = Proof::of("the leader moves, a broker is lost", OF_TROUBLE);
    let setup = Setup { brokers: 3, advertised_port: 0 };
    let Some(mut kafka) = Kafka::start(setup).await else { return proof.left_out() };
    let stage = Stage::at(&kafka.brokers(), TOPIC).await;
    stage.broker.create_topic(TOPIC, 1, 3).await.unwrap();
    kafka.wait_until_all_know(TOPIC).await;
    let settings = stage.limited("lake", IMPATIENT, SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&settings), DATASET);
    let running = Running::start(settings.clone()).await;
    let mut count = Sent::default();
    for _ in 0..2 {
        send_mixed(&stage, &mut count, 1, 1_000).await;
        let leader = kafka.leadership(TOPIC, |led| led.in_sync == 3).await.leader;
        let node = usize::try_from(leader - 1).unwrap();
        kafka.kill(node);
        kafka.leadership(TOPIC, |led| led.leader != leader && led.leader > 0).await;
        send_mixed(&stage, &mut count, 1, 1_000).await;
        kafka.restart(node);
    }
    kafka.leadership(TOPIC, |led| led.in_sync == 3).await;
    // A producer whose answer was lost sends again, and the topic has it twice; so the topic is asked.
    let sent = in_the_topic(&kafka, &count).await;
    until("all is visible", async || visible(&settings).await == sent.len()).await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    proof.shown(&[Promise::Resumes]);
    witness.agree(&proof).await;
    proof.lake(&objects(&settings), &sent).await;
}

/// What stands in the topic, which holds at least as many records as were sent.
async fn in_the_topic(kafka: &Kafka, count: &Sent) -> Sent {
    let records = Admin::connect(&kafka.brokers()).await.unwrap().read(TOPIC, 0).await;
    assert!(records.len() >= count.len(), "{} of {} records are in the topic", records.len(), count.len());
    let mut sent = Sent::default();
    for record in &records {
        sent.at(0, record.offset, record);
    }
    sent
}
