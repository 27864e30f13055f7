//! Groups of the real program on Apache Kafka: its coordinator moves and restarts, workers come and go without a pause,
//! and others look at the group. What needs no Kafka is shown on the embedded broker too.

use std::{path::Path, process::Stdio};

use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

use super::{
    crew::{Worker, share_evenly},
    told_by,
};
use crate::{
    matrix::{send_mixed, visible_in},
    support::{
        admin::Admin,
        kafka::{Kafka, Setup},
        parts,
        program::command,
        proof::{OF_TROUBLE, Promise, Proof, Sent},
        stage::{Behind, DATASET, Stage},
        until,
        witness::Witness,
    },
};

const ALONE: Setup = Setup { brokers: 1, advertised_port: 0 };
const THREE: Setup = Setup { brokers: 3, advertised_port: 0 };
/// Where Kafka keeps its groups; the leader of its only partition coordinates them all.
const GROUPS: &str = "__consumer_offsets";
const PARTITIONS: i32 = 6;
const TOPIC: &str = "flowers";

fn objects(stage: &Stage) -> std::sync::Arc<dyn object_store::ObjectStore> {
    let lake = stage.lake_folder("lake");
    alluvium::lake::Store::open(lake.to_str().unwrap()).unwrap().objects().clone()
}

async fn all_visible(stage: &Stage, sent: &Sent) {
    let objects = objects(stage);
    until("all is visible", async || visible_in(&objects).await == sent.len()).await;
}

/// Everyone stops, and the lake is whole.
async fn assert_whole(proof: &Proof, stage: &Stage, sent: &Sent, workers: Vec<Worker>, witness: Witness) {
    all_visible(stage, sent).await;
    proof.shown(&[Promise::Resumes]);
    for worker in workers {
        worker.stop().await;
    }
    witness.agree(proof).await;
    proof.lake(&objects(stage), sent).await;
}

/// What stands in the topic, which may hold more than was sent: a producer whose answer was lost sends again.
async fn in_the_topic(stage: &Stage) -> Sent {
    let (admin, mut sent) = (Admin::connect(&stage.brokers).await.unwrap(), Sent::default());
    for partition in 0..PARTITIONS {
        for record in admin.read(&stage.topic, partition).await {
            sent.at(partition, record.offset, &record);
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_when_its_coordinator_moves() {
    let proof = Proof::of("the group's coordinator moves", OF_TROUBLE);
    let Some(mut kafka) = Kafka::start(THREE).await else { return proof.left_out() };
    let stage = Stage::at(&kafka.brokers(), TOPIC).await;
    stage.broker.create_topic(TOPIC, PARTITIONS, 3).await.unwrap();
    kafka.wait_until_all_know(TOPIC).await;
    let witness = Witness::of(&objects(&stage), DATASET);
    let crew = ["a", "b", "c"].map(|name| Worker::start(&stage, name, ""));
    share_evenly(&crew.each_ref(), 6).await;
    let mut count = Sent::default();
    for _ in 0..2 {
        send_mixed(&stage, &mut count, PARTITIONS, 100).await;
        let coordinator = kafka.leadership(GROUPS, |led| led.in_sync == 3).await.leader;
        let node = usize::try_from(coordinator - 1).unwrap();
        kafka.kill(node);
        kafka.leadership(GROUPS, |led| led.leader != coordinator && led.leader > 0).await;
        send_mixed(&stage, &mut count, PARTITIONS, 100).await;
        // The group works while the old coordinator is gone: nobody else leads its last partitions either.
        until("all is visible", async || visible_in(&objects(&stage)).await >= count.len()).await;
        kafka.restart(node);
    }
    kafka.leadership(GROUPS, |led| led.in_sync == 3).await;
    share_evenly(&crew.each_ref(), 6).await;
    let sent = in_the_topic(&stage).await;
    assert!(sent.len() >= count.len());
    assert_whole(&proof, &stage, &sent, crew.into(), witness).await;
}

/// Twice the coordinator ends and comes again while two workers are at it.
async fn restarted(proof: &Proof, stage: &Stage, sent: &mut Sent, mut restart: impl AsyncFnMut()) {
    let witness = Witness::of(&objects(stage), DATASET);
    let crew = ["a", "b"].map(|name| Worker::start(stage, name, ""));
    share_evenly(&crew.each_ref(), 6).await;
    for _ in 0..2 {
        send_mixed(stage, sent, PARTITIONS, 100).await;
        restart().await;
        send_mixed(stage, sent, PARTITIONS, 100).await;
        all_visible(stage, sent).await;
    }
    // The group is still one: another gets its part.
    let third = Worker::start(stage, "c", "");
    let [a, b] = crew;
    share_evenly(&[&a, &b, &third], 6).await;
    assert_whole(proof, stage, sent, vec![a, b, third], witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_when_its_coordinator_is_restarted() {
    let proof = Proof::of("the group's coordinator is restarted", OF_TROUBLE);
    let Some(mut kafka) = Kafka::start(ALONE).await else { return proof.left_out() };
    let (stage, mut sent) = (Stage::at(&kafka.brokers(), TOPIC).await, Sent::default());
    stage.broker.create_topic(TOPIC, PARTITIONS, 1).await.unwrap();
    let restart = async || {
        kafka.kill(0);
        kafka.restart(0);
        kafka.wait_until_ready().await;
    };
    restarted(&proof, &stage, &mut sent, restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_when_the_embedded_broker_is_restarted() {
    let proof = Proof::of("the group's coordinator is restarted", OF_TROUBLE);
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let file = folder.path().join("broker.db");
    let start = async || {
        let broker = ["broker", "--listen", &address, "--file", file.to_str().unwrap()];
        let broker = command(broker).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the broker listens", async || TcpStream::connect(&address).await.is_ok()).await;
        broker
    };
    let mut broker = start().await;
    let (stage, mut sent) = (Stage::at(&address, TOPIC).await, Sent::default());
    stage.broker.create_topic(TOPIC, PARTITIONS, 1).await.unwrap();
    let restart = async || {
        broker.kill().await.unwrap();
        broker = start().await;
    };
    restarted(&proof, &stage, &mut sent, restart).await;
}

/// Three chairs, on which one worker after the other sits down and gets up, beside one that stays.
async fn comings_and_goings(proof: &Proof, stage: &Stage) {
    const TIMES: [usize; 3] = [9, 8, 8];
    let witness = Witness::of(&objects(stage), DATASET);
    let steady = Worker::start(stage, "steady", "");
    steady.joined().await;
    let mut sent = Sent::default();
    let chairs = TIMES.iter().enumerate().map(async |(chair, &times)| {
        for time in 0..times {
            let worker = Worker::start(stage, &format!("{chair}-{time}"), "");
            worker.joined().await;
            worker.stop().await;
        }
    });
    let sending = async {
        for _ in 0..20 {
            send_mixed(stage, &mut sent, PARTITIONS, 20).await;
            let before = visible_in(&objects(stage)).await;
            until("it goes on", async || visible_in(&objects(stage)).await > before).await;
        }
    };
    tokio::join!(futures::future::join_all(chairs), sending);
    assert!(steady.parts().len() > 10, "it was hard to miss: {:?}", steady.parts());
    share_evenly(&[&steady], 6).await;
    assert_whole(proof, stage, &sent, vec![steady], witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_joins_and_leaves_lose_and_double_nothing() {
    let proof = Proof::of("workers join and leave a group 50 times in a minute", OF_TROUBLE);
    comings_and_goings(&proof, &Stage::new(PARTITIONS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_joins_and_leaves_on_kafka_lose_and_double_nothing() {
    let proof = Proof::of("workers join and leave a group 50 times in a minute", OF_TROUBLE);
    let Some(kafka) = Kafka::start(THREE).await else { return proof.left_out() };
    let stage = Stage::at(&kafka.brokers(), TOPIC).await;
    stage.broker.create_topic(TOPIC, PARTITIONS, 3).await.unwrap();
    kafka.wait_until_all_know(TOPIC).await;
    comings_and_goings(&proof, &stage).await;
}

/// What librdkafka's admin client tells of a group, as JSON.
const VIEW: &str = r#"
import json, sys
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

brokers, topic = sys.argv[1], sys.argv[2]
group = topic
admin = AdminClient({"bootstrap.servers": brokers})
described = admin.describe_consumer_groups([group])[group].result()
parts = {p: TopicPartition(topic, p) for p in range(6)}
ends = admin.list_offsets({part: OffsetSpec.latest() for part in parts.values()})
ends = {part.partition: found.result().offset for part, found in ends.items()}
told = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, list(parts.values()))])[group].result()
told = {part.partition: max(part.offset, 0) for part in told.topic_partitions}
members = [
    {"instance": member.group_instance_id, "partitions": sorted(part.partition for part in member.assignment.topic_partitions)}
    for member in described.members
]
members.sort(key=lambda member: (member["instance"] or "", member["partitions"]))
print(json.dumps({
    "state": described.state.name,
    "assignor": described.partition_assignor,
    "members": members,
    "lag": sum(ends.values()) - sum(told.values()),
}))
"#;

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct View {
    state: String,
    assignor: String,
    members: Vec<Member>,
    /// Records that the group has not told to be done.
    lag: usize,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Member {
    instance: Option<String>,
    partitions: Vec<i32>,
}

async fn viewed(python: &Path, stage: &Stage) -> View {
    serde_json::from_str(&told_by(python, ["-c", VIEW, &stage.brokers, &stage.topic]).await).unwrap()
}

async fn lag_is(python: &Path, stage: &Stage, lag: usize) {
    until("others see the lag", async || viewed(python, stage).await.lag == lag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_see_the_members_and_the_lag_and_a_restart_of_a_named_member_moves_nothing() {
    let Some(python) = parts::python_with("confluent_kafka") else { return };
    let Some(stage) = Stage::on(Behind::Kafka, PARTITIONS).await else { return };
    let mut sent = Sent::default();
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    // However long a restart takes on a busy machine.
    let session = "session_timeout = \"15s\"";
    let start = |name: &str| Worker::start(&stage, name, &format!("group_instance = \"{name}\"\n{session}\n"));
    let [a, b, c] = ["a", "b", "c"].map(start);
    share_evenly(&[&a, &b, &c], 6).await;
    all_visible(&stage, &sent).await;
    lag_is(&python, &stage, 0).await;
    let before = viewed(&python, &stage).await;
    assert_eq!((before.state.as_str(), before.assignor.as_str()), ("STABLE", "cooperative-sticky"));
    let names: Vec<_> = before.members.iter().map(|member| member.instance.as_deref().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let mut partitions: Vec<_> = before.members.iter().flat_map(|member| member.partitions.clone()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3, 4, 5]);

    let before_that = [&a, &c].map(|other| other.parts().len());
    b.stop().await;
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    let b = start("b");
    all_visible(&stage, &sent).await;
    lag_is(&python, &stage, 0).await;
    assert_eq!(viewed(&python, &stage).await, before, "nothing has moved");
    // If it was the leader, it has the group formed anew to see what has changed; the others keep what they have.
    for (other, known) in [&a, &c].into_iter().zip(before_that) {
        let parts = other.parts();
        assert!(parts.iter().skip(known).all(|part| part.held == 2), "nothing moves at any time: {parts:?}");
    }

    for worker in [a, b, c] {
        worker.stop().await;
    }
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    lag_is(&python, &stage, 300).await;
    stage.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_shares_the_partitions_out_where_it_can() {
    let proof = Proof::of(
        "kill -9 at any moment",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::Resumes,
        ],
    );
    let Some(stage) = Stage::on(Behind::Kafka, PARTITIONS).await else { return proof.left_out() };
    let by_the_broker = "group_protocol = \"consumer\"\n";
    let witness = Witness::of(&objects(&stage), DATASET);
    let mut sent = Sent::default();
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    let [a, b, c] = ["a", "b", "c"].map(|name| Worker::start(&stage, name, by_the_broker));
    all_visible(&stage, &sent).await;
    b.kill().await;
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    all_visible(&stage, &sent).await;
    let d = Worker::start(&stage, "d", by_the_broker);
    d.joined().await;
    send_mixed(&stage, &mut sent, PARTITIONS, 50).await;
    assert_whole(&proof, &stage, &sent, vec![a, c, d], witness).await;
    stage.leave().await;
}
