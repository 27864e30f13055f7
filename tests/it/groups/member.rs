//! What a member does when others come, go, die and stand still, and when the coordinator does.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use alluvium::broker::{EmbeddedBroker, EmbeddedStorage, GroupProtocol, GroupSettings, TopicPartition};

use super::{
    hands::{Floor, Hand, SESSION, as_instance, settings},
    told_by,
};
use crate::support::{
    admin::Admin,
    counted::Counted,
    kafka::{Kafka, Setup},
    parts,
    stage::unique_topic,
    until,
};

const PARTITIONS: usize = 12;

/// A topic on a broker that others use too; its name serves for the group as well.
async fn topic(brokers: &str, partitions: usize) -> String {
    let topic = unique_topic();
    let admin = Admin::connect(brokers).await.unwrap();
    admin.create(&topic, i32::try_from(partitions).unwrap(), 1, &[]).await.unwrap();
    topic
}

async fn embedded() -> (EmbeddedBroker, String) {
    let broker = EmbeddedBroker::start(anywhere(), EmbeddedStorage::Memory).await.unwrap();
    let address = broker.address().to_string();
    (broker, address)
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn by_the_broker(group: &str) -> GroupSettings {
    GroupSettings { protocol: GroupProtocol::Consumer, ..settings(group) }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_evenly_as_they_come_and_go_on_kafka() {
    if let Some(kafka) = Kafka::shared().await {
        come_and_go(&kafka.brokers(), settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_evenly_as_they_come_and_go_where_the_broker_shares_out() {
    if let Some(kafka) = Kafka::shared().await {
        come_and_go(&kafka.brokers(), by_the_broker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_evenly_as_they_come_and_go_on_the_embedded_broker() {
    let (_broker, brokers) = embedded().await;
    come_and_go(&brokers, settings).await;
}

async fn come_and_go(brokers: &str, settings: impl Fn(&str) -> GroupSettings) {
    let topic = topic(brokers, PARTITIONS).await;
    let floor = Floor::default();
    let a = floor.joins(brokers, "a", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a], PARTITIONS).await;
    let b = floor.joins(brokers, "b", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a, &b], PARTITIONS).await;
    assert_eq!(floor.moves(), PARTITIONS + 6, "only what must move does");
    let c = floor.joins(brokers, "c", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a, &b, &c], PARTITIONS).await;
    assert_eq!(floor.moves(), PARTITIONS + 6 + 4, "only what must move does");
    let kept: Vec<_> = [&a, &c].map(Hand::held).into();
    b.leaves(false).await;
    floor.shared_evenly(&[&a, &c], PARTITIONS).await;
    assert_eq!(floor.moves(), PARTITIONS + 6 + 4 + 4, "only what must move does");
    assert!(kept[0].is_subset(&a.held()) && kept[1].is_subset(&c.held()));
    assert_eq!((floor.overlaps(), a.losses(), c.losses()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_that_come_at_once_and_go_at_once_leave_nothing_undone_on_kafka() {
    if let Some(kafka) = Kafka::shared().await {
        five_at_once(&kafka.brokers()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_that_come_at_once_and_go_at_once_leave_nothing_undone_on_the_embedded_broker() {
    let (_broker, brokers) = embedded().await;
    five_at_once(&brokers).await;
}

async fn five_at_once(brokers: &str) {
    let topic = topic(brokers, PARTITIONS).await;
    let floor = Floor::default();
    let joining = ["a", "b", "c", "d", "e"].map(|name| floor.joins(brokers, name, settings(&topic), &topic));
    let hands = futures::future::join_all(joining).await;
    floor.shared_evenly(&hands.iter().collect::<Vec<_>>(), PARTITIONS).await;
    let (staying, going): (Vec<_>, Vec<_>) = hands.into_iter().partition(|hand| ["a", "d"].contains(&&*hand.name));
    futures::future::join_all(going.into_iter().map(|hand| hand.leaves(false))).await;
    floor.shared_evenly(&staying.iter().collect::<Vec<_>>(), PARTITIONS).await;
    assert_eq!(staying.iter().map(Hand::losses).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_member_held_comes_to_the_others_when_its_session_ends_on_kafka() {
    if let Some(kafka) = Kafka::shared().await {
        death(&kafka.brokers()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_member_held_comes_to_the_others_when_its_session_ends_on_the_embedded_broker() {
    let (_broker, brokers) = embedded().await;
    death(&brokers).await;
}

async fn death(brokers: &str) {
    let topic = topic(brokers, PARTITIONS).await;
    let floor = Floor::default();
    let a = floor.joins(brokers, "a", settings(&topic), &topic).await;
    let b = floor.joins(brokers, "b", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a, &b], PARTITIONS).await;
    let kept = a.held();
    b.dies().await;
    floor.shared_evenly(&[&a], PARTITIONS).await;
    assert!(kept.is_subset(&a.held()));
    assert_eq!(a.losses(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_name_of_its_own_comes_back_and_nothing_moves_on_kafka() {
    if let Some(kafka) = Kafka::shared().await {
        back_soon(&kafka.brokers(), as_instance).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_name_of_its_own_comes_back_and_nothing_moves_where_the_broker_shares_out() {
    if let Some(kafka) = Kafka::shared().await {
        let settings = |group: &str, name: &str| GroupSettings { instance: Some(name.into()), ..by_the_broker(group) };
        back_soon(&kafka.brokers(), settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_name_of_its_own_comes_back_and_nothing_moves_on_the_embedded_broker() {
    let (_broker, brokers) = embedded().await;
    back_soon(&brokers, as_instance).await;
}

async fn back_soon(brokers: &str, settings: impl Fn(&str, &str) -> GroupSettings) {
    let topic = topic(brokers, PARTITIONS).await;
    let floor = Floor::default();
    let a = floor.joins(brokers, "a", settings(&topic, "first"), &topic).await;
    let b = floor.joins(brokers, "b", settings(&topic, "second"), &topic).await;
    floor.shared_evenly(&[&a, &b], PARTITIONS).await;
    let (of_a, of_b, moves) = (a.held(), b.held(), floor.moves());
    b.leaves(false).await;
    let b = floor.joins(brokers, "b", settings(&topic, "second"), &topic).await;
    until("it has its partitions again", async || b.held() == of_b).await;
    a.leaves(false).await;
    let a = floor.joins(brokers, "a", settings(&topic, "first"), &topic).await;
    until("the leader has its partitions again", async || a.held() == of_a).await;
    assert_eq!((b.held(), floor.moves()), (of_b, moves + PARTITIONS), "each got its own again, and nothing else");
    b.leaves(true).await;
    floor.shared_evenly(&[&a], PARTITIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_shared_out_among_those_who_want_them_while_they_do_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let brokers = kafka.brokers();
    let (group, other) = (topic(&brokers, 4).await, topic(&brokers, 4).await);
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", settings(&group), &group).await;
    let b = floor.joins(&brokers, "b", settings(&group), &group).await;
    floor.shared_evenly(&[&a, &b], 4).await;
    // Only one of them wants the other topic at first.
    b.wants(&[&group, &other]);
    until("the one that wants it has it", async || b.held().iter().any(|held| *held.topic == *other)).await;
    a.wants(&[&group, &other]);
    floor.shared_evenly(&[&a, &b], 8).await;
    a.wants(&[&group]);
    b.wants(&[&group]);
    floor.shared_evenly(&[&a, &b], 4).await;
    assert_eq!((floor.overlaps(), a.losses(), b.losses()), (0, 0, 0));
}

const ADD_PARTITIONS: &str = r#"
import sys
from confluent_kafka.admin import AdminClient, NewPartitions
brokers, topic, count = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})
admin.create_partitions([NewPartitions(topic, int(count))])[topic].result()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_shared_out_and_no_other_moves_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let Some(python) = parts::python_with("confluent_kafka") else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 4).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", settings(&topic), &topic).await;
    let b = floor.joins(&brokers, "b", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a, &b], 4).await;
    let (of_a, of_b, moves) = (a.held(), b.held(), floor.moves());
    told_by(&python, ["-c", ADD_PARTITIONS, &brokers, &topic, "8"]).await;
    floor.shared_evenly(&[&a, &b], 8).await;
    assert!(of_a.is_subset(&a.held()) && of_b.is_subset(&b.held()));
    assert_eq!(floor.moves(), moves + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_takes_longer_than_a_session_costs_no_session_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 4).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a], 4).await;
    a.clings(true);
    let b = floor.joins(&brokers, "b", settings(&topic), &topic).await;
    tokio::time::sleep(SESSION + Duration::from_secs(2)).await;
    assert_eq!((a.held().len(), b.held().len(), a.losses()), (4, 0, 0), "nobody gets what is still worked on");
    a.clings(false);
    floor.shared_evenly(&[&a, &b], 4).await;
    assert_eq!((floor.overlaps(), a.losses(), b.losses()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_killed_and_comes_back_costs_nothing_on_kafka() {
    let Some(mut kafka) = Kafka::start(Setup { brokers: 1, advertised_port: 0 }).await else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 4).await;
    let floor = Floor::default();
    // Long enough for the broker to be there again.
    let patient = GroupSettings { session_timeout: Duration::from_mins(1), ..settings(&topic) };
    let a = floor.joins(&brokers, "a", patient.clone(), &topic).await;
    let b = floor.joins(&brokers, "b", patient.clone(), &topic).await;
    floor.shared_evenly(&[&a, &b], 4).await;
    let (held, moves) = (a.held(), floor.moves());
    kafka.kill(0);
    kafka.restart(0);
    kafka.wait_until_ready().await;
    b.leaves(false).await;
    floor.shared_evenly(&[&a], 4).await;
    assert!(held.is_subset(&a.held()));
    assert_eq!((floor.moves(), a.losses()), (moves + 2, 0), "the session went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_gone_for_longer_than_a_session_costs_all_and_is_joined_again() {
    let (broker, brokers) = embedded().await;
    let address = broker.address();
    let topic = topic(&brokers, 4).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a], 4).await;
    let counted = Counted::of("alluvium_group_losses_total");
    broker.stop().await;
    until("all is lost", async || a.losses() == 1).await;
    counted.assert_moved();
    assert_eq!(a.held(), BTreeSet::new());
    let _broker = EmbeddedBroker::start(address, EmbeddedStorage::Memory).await.unwrap();
    Admin::connect(&brokers).await.unwrap().create(&topic, 4, 1, &[]).await.unwrap();
    floor.shared_evenly(&[&a], 4).await;
    assert_eq!(a.status().expelled, 1);
}

/// What an administrator sees by another's client: state, assignor, members with their partitions, committed offsets.
const DESCRIBE: &str = r#"
import json, sys
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
brokers, group = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})
told = admin.describe_consumer_groups([group])[group].result()
offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
print(json.dumps({
    "state": told.state.name, "assignor": told.partition_assignor,
    "members": {m.group_instance_id: [[p.topic, p.partition] for p in m.assignment.topic_partitions] for m in told.members},
    "offsets": {f"{p.topic}/{p.partition}": p.offset for p in offsets.topic_partitions},
}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn others_clients_see_the_members_their_partitions_and_their_offsets_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let Some(python) = parts::python_with("confluent_kafka") else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 4).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", as_instance(&topic, "first"), &topic).await;
    let b = floor.joins(&brokers, "b", as_instance(&topic, "second"), &topic).await;
    floor.shared_evenly(&[&a, &b], 4).await;
    let reached = TopicPartition { topic: topic.as_str().into(), partition: a.held().first().unwrap().partition };
    a.reached(&reached, 42);
    let expected = |hand: &Hand| {
        let held = hand.held();
        held.iter().map(|held| serde_json::json!([&*held.topic, held.partition])).collect::<Vec<_>>()
    };
    let offset = format!("{topic}/{}", reached.partition);
    let mut told = serde_json::Value::Null;
    until("the offset is committed", async || {
        told = serde_json::from_str(&told_by(&python, ["-c", DESCRIBE, &brokers, &topic]).await).unwrap();
        told["offsets"][&offset] == 42
    })
    .await;
    assert_eq!(told["state"], "STABLE");
    assert_eq!(told["assignor"], "cooperative-sticky");
    assert_eq!(told["members"]["first"], serde_json::Value::from(expected(&a)));
    assert_eq!(told["members"]["second"], serde_json::Value::from(expected(&b)));
}

/// A consumer that joins, says so, and stays until its input ends.
const RANGE: &str = r#"
import sys, threading
from confluent_kafka import Consumer
brokers, topic = sys.argv[1:3]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": topic, "session.timeout.ms": 6000, "partition.assignment.strategy": "%STRATEGY%"})
consumer.subscribe([topic], on_assign=lambda _, given: print(len(given), flush=True))
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
ended = threading.Event()
while not ended.is_set():
    consumer.poll(0.1)
consumer.close()
"#;

/// One that ends when it is dropped.
struct Foreigner {
    child: std::process::Child,
}

impl Foreigner {
    async fn joins(python: &std::path::Path, strategy: &str, brokers: &str, topic: &str) -> Self {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        let mut command = Command::new(python);
        command.args(["-c", &RANGE.replace("%STRATEGY%", strategy), brokers, topic]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            // Kept open, as it would end over the next word.
            std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
            line
        });
        assert!(!tokio::time::timeout(crate::support::LIMIT, line).await.unwrap().unwrap().is_empty());
        Self { child }
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_consumer_in_the_same_group_gets_its_share_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let Some(python) = parts::python_with("confluent_kafka") else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 6).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", settings(&topic), &topic).await;
    floor.shared_evenly(&[&a], 6).await;
    let foreigner = Foreigner::joins(&python, "cooperative-sticky", &brokers, &topic).await;
    until("it gets half", async || a.held().len() == 3).await;
    drop(foreigner);
    let b = floor.joins(&brokers, "b", settings(&topic), &topic).await;
    until("both share what it leaves", async || a.held().len() + b.held().len() == 6).await;
    assert_eq!(a.losses() + b.losses(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_another_kind_is_refused_with_a_line_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let Some(python) = parts::python_with("confluent_kafka") else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 2).await;
    let _foreigner = Foreigner::joins(&python, "range", &brokers, &topic).await;
    let a = Floor::default().joins(&brokers, "a", settings(&topic), &topic).await;
    assert_eq!(
        a.fails().await,
        format!(
            "cannot take part in the group: `{topic}`: its members share out partitions in another way; \
             stop them, or give this pipeline a group of its own"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_one_name_are_told_apart_with_a_line_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 2).await;
    let floor = Floor::default();
    let a = floor.joins(&brokers, "a", as_instance(&topic, "same"), &topic).await;
    floor.shared_evenly(&[&a], 2).await;
    let b = floor.joins(&brokers, "b", as_instance(&topic, "same"), &topic).await;
    assert_eq!(
        a.fails().await,
        format!(
            "cannot take part in the group: `{topic}`: another process has joined under this worker's group_instance; \
             give each worker a name of its own"
        )
    );
    assert_eq!((a.held().len(), a.losses()), (0, 1), "the one that is refused holds nothing");
    floor.shared_evenly(&[&b], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_broker_finds_too_short_is_refused_with_a_line_on_kafka() {
    let Some(kafka) = Kafka::shared().await else { return };
    let brokers = kafka.brokers();
    let topic = topic(&brokers, 2).await;
    let hasty = GroupSettings { session_timeout: Duration::from_secs(1), ..settings(&topic) };
    let told = Floor::default().joins(&brokers, "a", hasty, &topic).await.fails().await;
    assert!(told.contains("group.min.session.timeout.ms"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_share_out_itself_is_told_with_the_way_out() {
    let (_broker, brokers) = embedded().await;
    let topic = topic(&brokers, 2).await;
    assert_eq!(
        Floor::default().joins(&brokers, "a", by_the_broker(&topic), &topic).await.fails().await,
        format!(
            "cannot take part in the group: `{topic}`: the broker does not know the `consumer` protocol of groups; \
             set group_protocol = \"classic\""
        )
    );
}
