//! Topics that get results, when the broker or the workers come and go.

use std::collections::BTreeSet;

use super::{
    settings, text,
    topics::{RESULT, places, read},
};
use crate::support::{
    kafka::{Kafka, Setup},
    proof::{OF_A_TOPIC, Proof},
    stage::{Behind, Running, Stage, TOPIC, assert_clean, flower},
    until,
};

const RESULTS: &str = "[results]\ntopic = \"{topic}.results\"\n";

fn offsets(range: std::ops::Range<i64>) -> BTreeSet<(i32, i64)> {
    range.map(|offset| (0, offset)).collect()
}

/// On Kafka: the built-in broker in memory takes records for a topic that it no longer has.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_under_a_stream_is_made_again() {
    let Some(stage) = Stage::on(Behind::Kafka, 1).await else { return };
    let target = format!("{}.results", stage.topic);
    let settings = settings(&stage, &format!("[results]\ntopic = \"{target}\"\n"), "roll_rows = 10\n");
    let running = Running::start(settings.clone()).await;
    stage.send_flowers(1, 10).await;
    until("all are sent", async || read(&stage, &target).await.len() == 10).await;
    stage.admin().await.delete(&target).await;
    stage.send(0, (10..20).map(flower).collect()).await;
    until("the topic is there again, with what came later", async || {
        places(&read(&stage, &target).await, RESULT) == offsets(10..20)
    })
    .await;
    let summary = running.stop().await;
    assert_eq!((summary.failures, summary.outlets[0].behind), (vec![], 0));
    assert_clean(&settings).await;
    stage.admin().await.delete(&target).await;
    stage.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_while_results_go_out_loses_none() {
    let proof = Proof::of("topics of results: the broker is killed and restarted", OF_A_TOPIC);
    let Some(mut kafka) = Kafka::start(Setup { brokers: 1, advertised_port: 0 }).await else { return proof.left_out() };
    let stage = Stage::at(&kafka.brokers(), TOPIC).await;
    stage.broker.create_topic(TOPIC, 1, 1).await.unwrap();
    let settings = settings(&stage, RESULTS, "roll_rows = 100\n");
    let target = format!("{TOPIC}.results");
    let running = Running::start(settings.clone()).await;
    for first in [0, 3_000] {
        stage.send(0, (first..first + 3_000).map(flower).collect()).await;
        until("results go out", async || places(&read(&stage, &target).await, RESULT).len() > first).await;
        kafka.kill(0);
        kafka.restart(0);
        kafka.wait_until_ready().await;
    }
    until("none is missing", async || places(&read(&stage, &target).await, RESULT) == offsets(0..6_000)).await;
    proof.shown(OF_A_TOPIC);
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    assert_clean(&settings).await;
}

/// Each of two topics has its own topic of results; one worker leaves and another takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_over_several_topics_leaves_no_result_out_when_a_worker_goes() {
    let proof = Proof::of("topics of results: workers of a group leave and die", OF_A_TOPIC);
    let stage = Stage::new(2).await;
    stage.broker.create_topic("garden", 2, 1).await.unwrap();
    let source =
        format!("topics = [\"{TOPIC}\", \"garden\"]\ngroup = \"g\"\nsession_timeout = \"6s\"\nheartbeat = \"200ms\"");
    let text = text(&stage, "lake", RESULTS, "roll_rows = 50\n");
    let text = text.replace(&format!("topic = \"{TOPIC}\""), &source).replace("dataset = \"iris\"\n", "");
    let settings = alluvium::config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    let garden = Stage::at(&stage.brokers, "garden").await;
    let (mut first, mut expected) = (Running::start(settings.clone()).await, BTreeSet::new());
    for round in 0..3 {
        for partition in 0..2 {
            for stage in [&stage, &garden] {
                stage.send(partition, (0..200).map(flower).collect()).await;
            }
            expected.extend((round * 200..(round + 1) * 200).map(|offset| (partition, offset)));
        }
        let second = Running::start(settings.clone()).await;
        until("both have partitions", async || {
            [&first, &second].iter().all(|worker| worker.pipeline.progress().lanes == 2)
        })
        .await;
        if round == 1 {
            first.kill().await;
        } else {
            assert_eq!(first.stop().await.failures, Vec::<String>::new());
        }
        first = second;
    }
    for topic in [TOPIC, "garden"] {
        let target = format!("{topic}.results");
        until("none is missing", async || places(&read(&stage, &target).await, RESULT) == expected).await;
    }
    proof.shown(OF_A_TOPIC);
    assert_eq!(first.stop().await.failures, Vec::<String>::new());
}
