//! Several topics in one pipeline, each with a dataset of its own, and the commands over all of them.

use alluvium::lake::FileKind;
use serde_json::Value;

use crate::support::{
    lake::{places, rows},
    program::{run, written},
    stage::{Running, Stage, flower, objects},
    until,
};

/// `[source]` names a topic and a pattern in place of the stage's.
fn text(stage: &Stage, source: &str) -> String {
    let lake = stage.lake_folder("lake");
    let limits = "[limits]\nfetch_wait = \"10ms\"\npartitions_refresh = \"200ms\"\n";
    let text = stage.pipeline(lake.to_str().unwrap(), limits);
    let topics = format!("topics = [\"flowers\", \"garden.*\"]\n{source}");
    text.replace("topic = \"flowers\"", &topics).replace("dataset = \"iris\"\n", "") + "roll_age = \"200ms\"\n"
}

async fn send(stage: &Stage, topic: &str, count: usize) {
    let partition = stage.broker.partition(topic, 0).await.unwrap();
    partition.produce((0..count).map(flower).collect(), alluvium::broker::Compression::None).await.unwrap();
}

/// A stream finds the topics that are there and those that come.
async fn found(source: &str) -> Stage {
    let stage = Stage::new(1).await;
    stage.broker.create_topic("garden.east", 2, 1).await.unwrap();
    stage.broker.create_topic("meadow", 1, 1).await.unwrap();
    let settings = alluvium::config::parse(&text(&stage, source), |_| None).unwrap();
    let objects = objects(&settings);
    let landed =
        async |dataset: &str| rows(&objects, FileKind::Scored, dataset).await.map_or(0, |rows| places(&rows).len());
    let worker = Running::start(settings.clone()).await;
    send(&stage, "flowers", 10).await;
    send(&stage, "garden.east", 20).await;
    send(&stage, "meadow", 30).await;
    until("both topics land", async || landed("flowers").await == 10 && landed("garden.east").await == 20).await;
    stage.broker.create_topic("garden.west", 1, 1).await.unwrap();
    send(&stage, "garden.west", 40).await;
    until("the new topic lands", async || landed("garden.west").await == 40).await;
    let summary = worker.stop().await;
    assert_eq!((summary.partitions, summary.tally.counts.scored, summary.failures), (4, 70, vec![]));
    assert_eq!(landed("meadow").await, 0, "nobody asked for it");
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn each_topic_lands_in_its_own_dataset_and_a_new_one_is_found() {
    found("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_takes_a_new_topic_in_too() {
    found("group = \"g\"\nsession_timeout = \"6s\"\nheartbeat = \"200ms\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_are_about_every_dataset_or_the_one_that_is_named() {
    let stage = found("").await;
    let file = written(&stage, &text(&stage, ""));
    let file = file.to_str().unwrap();
    let names = ["flowers", "garden.east", "garden.west"];

    let audit = run(["audit", file]).await;
    audit.assert_told(0, &["dataset garden.east, topic garden.east\n", "clean: all 3 datasets"]);
    let audit = run(["audit", file, "--json", "--repair"]).await;
    let report: Value = serde_json::from_str(&audit.stdout).unwrap();
    let audited: Vec<_> = report["datasets"].as_array().unwrap().iter().map(|of| of["dataset"].clone()).collect();
    assert_eq!((report["verdict"].as_str(), audited), (Some("clean"), names.map(Value::from).to_vec()));
    let one = run(["audit", file, "--json", "--dataset", "garden.west"]).await;
    let report: Value = serde_json::from_str(&one.stdout).unwrap();
    assert_eq!((&report["dataset"], &report["totals"]["offsets"]), (&"garden.west".into(), &40.into()));
    run(["audit", file, "--dataset", "nobody"]).await.assert_refused(2, &["`nobody` is not in the lake"]);

    let check = run(["check", file]).await;
    check.assert_told(0, &["flowers has 1 partition, and lands in flowers", "garden.west has 1 partition"]);
    let doctor = run(["doctor", file]).await;
    doctor.assert_told(0, &["dataset garden.east\n", "all is well"]);
    let accept = run(["doctor", file, "--accept-gap", "0:1..2", "--reason", "a test"]).await;
    accept.assert_refused(2, &["say which one with --dataset"]);

    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris@1");
    let again = run(["rescore", file, "--model", model, "--json"]).await;
    let report: Value = serde_json::from_str(&again.stdout).unwrap_or_else(|_| panic!("{again:?}"));
    assert_eq!(report["datasets"], Value::from(names.map(|name| format!("{name}.iris-1")).to_vec()));
    assert_eq!(report["scored"], 70);
    let into_one = run(["rescore", file, "--model", model, "--into", "trial"]).await;
    into_one.assert_refused(2, &["several datasets can't land in one"]);
    run(["audit", file]).await.assert_told(0, &["clean: all 3 datasets"]);
    let before = run(["expire", file, "--before", "1d", "--dry-run"]).await;
    before.assert_told(0, &["dataset flowers, topic flowers\n", "nothing is deleted yet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_topics_are_not_there_says_so() {
    let stage = Stage::new(1).await;
    let file = written(&stage, &text(&stage, "").replace("\"flowers\", \"garden.*\"", "\"nowhere.*\""));
    let ran = run(["batch", file.to_str().unwrap()]).await;
    ran.assert_refused(1, &["the broker has no topic that fits `topics`"]);
}
