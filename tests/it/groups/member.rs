//! What a member does when others come, go, die and stand still, and when the coordinator does.

use std::collections::BTreeSet;

use alluvium::broker::EmbeddedStorage;

use super::hands::{Floor, Hand, as_instance, settings};
use crate::support::{admin::Admin, kafka::Kafka, stage::unique_topic};

const PARTITIONS: usize = 12;

/// A topic on a broker that others use too, and a group's name.
async fn topic(brokers: &str, partitions: usize) -> String {
    let topic = unique_topic();
    let admin = Admin::connect(brokers).await.unwrap();
    admin.create(&topic, i32::try_from(partitions).unwrap(), 1, &[]).await.unwrap();
    topic
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_evenly_as_they_come_and_go_on_kafka() {
    if let Some(kafka) = Kafka::shared().await {
        come_and_go(&kafka.brokers()).await;
    }
}

async fn come_and_go(brokers: &str) {
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
