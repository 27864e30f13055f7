//! Pipelines that share a topic: by a group, by fixed shares, and by mistake.

use alluvium::pipeline::Settings;

use crate::{
    matrix::{send_mixed, visible},
    support::{
        counted::Counted,
        program::{command, ended, run, written},
        proof::{OF_RIVALS, OF_TROUBLE, Promise, Proof, Sent},
        stage::{Behind, DATASET, Running, Stage, objects},
        until,
        witness::Witness,
    },
};

const PARTITIONS: i32 = 8;
/// The shortest session that a broker allows by default.
const PATIENCE: &str = "session_timeout = \"6s\"\nheartbeat = \"200ms\"\nhandover = \"10s\"";
const SMALL_SEGMENTS: &str = "roll_rows = 50\nroll_age = \"300ms\"";

/// A worker's settings, with more keys of `[source]`.
fn settings(stage: &Stage, source: &str) -> Settings {
    let lake = stage.lake_folder("lake");
    let text = text(stage, lake.to_str().unwrap(), source) + SMALL_SEGMENTS;
    alluvium::config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// A pipeline file that ends in `[lake]`.
pub fn text(stage: &Stage, lake: &str, source: &str) -> String {
    let text = stage.pipeline(lake, "[limits]\nfetch_wait = \"10ms\"\n");
    text.replacen("\n\n", &format!("\n{source}\n\n"), 1)
}

fn of_group(name: &str) -> String {
    format!("group = \"{name}\"\n{PATIENCE}")
}

fn lanes(workers: &[Running]) -> Vec<usize> {
    workers.iter().map(|worker| worker.pipeline.progress().lanes).collect()
}

/// Until each has its share, and together they have all.
async fn shared(workers: &[Running]) {
    let all = usize::try_from(PARTITIONS).unwrap();
    let (least, most) = (all / workers.len(), all.div_ceil(workers.len()));
    until("the partitions are shared evenly", async || {
        let lanes = lanes(workers);
        lanes.iter().sum::<usize>() == all && lanes.iter().all(|lanes| (least..=most).contains(lanes))
    })
    .await;
}

/// Sends more, and waits until a reader sees it all.
async fn send_and_see(stage: &Stage, sent: &mut Sent, settings: &Settings) {
    send_mixed(stage, sent, PARTITIONS, 30).await;
    until("the reader sees all", async || visible(settings).await == sent.len()).await;
}

/// Of the three that come first one is killed: the one that leads, or another.
async fn come_and_go(stage: &Stage, proof: &Proof, leader_dies: bool) {
    let (settings, mut sent) = (settings(stage, &of_group(&stage.topic)), Sent::default());
    let witness = Witness::of(&objects(&settings), DATASET);
    let mut workers = vec![];
    for _ in 0..3 {
        workers.push(Running::start(settings.clone()).await);
    }
    shared(&workers).await;
    send_and_see(stage, &mut sent, &settings).await;
    let leads = |worker: &Running| worker.pipeline.group().is_some_and(|group| group.leads);
    let killed = workers.iter().position(|worker| leads(worker) == leader_dies).expect("one leads, two do not");
    workers.remove(killed).kill().await;
    send_and_see(stage, &mut sent, &settings).await;
    shared(&workers).await;
    for _ in 0..2 {
        workers.push(Running::start(settings.clone()).await);
    }
    shared(&workers).await;
    for _ in 0..workers.len() {
        let summary = workers.remove(0).stop().await;
        assert_eq!(summary.failures, Vec::<String>::new());
        workers.push(Running::start(settings.clone()).await);
        send_and_see(stage, &mut sent, &settings).await;
    }
    shared(&workers).await;
    for worker in workers {
        assert_eq!(worker.stop().await.failures, Vec::<String>::new());
    }
    proof.shown(&[Promise::Resumes]);
    witness.agree(proof).await;
    proof.lake(&objects(&settings), &sent).await;
    stage.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_and_go_share_a_topic_and_each_record_is_there_once() {
    let proof =
        Proof::of("workers of a group join, leave, die and are replaced one by one: embedded broker", OF_TROUBLE);
    // That broker never lets anybody in again when a leader is gone without a word.
    come_and_go(&Stage::new(PARTITIONS).await, &proof, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_and_go_share_a_topic_of_kafka_and_each_record_is_there_once() {
    let proof = Proof::of("workers of a group join, leave, die and are replaced one by one: Apache Kafka", OF_TROUBLE);
    let Some(stage) = Stage::on(Behind::Kafka, PARTITIONS).await else { return proof.left_out() };
    come_and_go(&stage, &proof, true).await;
}

async fn check_the_group(stage: &Stage) {
    let lake = stage.lake_folder("lake");
    let file = written(stage, &text(stage, lake.to_str().unwrap(), &of_group(&stage.topic)));
    let check = async || run(["check", file.to_str().unwrap()]).await;
    // The embedded broker does not tell who is in a group.
    let nobody =
        if stage.behind == Behind::Embedded { "is empty with 0 members" } else { "can be reached, and is not there" };
    // A partition may lack a leader for a moment when its topic is new.
    until("the topic is ready", async || check().await.code == Some(0)).await;
    check().await.assert_told(0, &[&format!("{} {nobody}", stage.topic)]);
    let settings = settings(stage, &of_group(&stage.topic));
    let workers = [Running::start(settings.clone()).await, Running::start(settings).await];
    shared(&workers).await;
    if stage.behind == Behind::Kafka {
        let told = check().await;
        told.assert_told(0, &[&format!("{} is stable with 2 members: ", stage.topic), "has 4 partitions, "]);
    }
    for worker in &workers {
        let group = async || worker.pipeline.group().unwrap();
        until("the pipeline knows its share", async || group().await.assigned.len() == 4).await;
        assert_eq!(group().await.group, stage.topic);
    }
    for worker in workers {
        worker.stop().await;
    }
    stage.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_whether_the_group_is_there_and_who_is_in_it() {
    check_the_group(&Stage::new(PARTITIONS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_of_a_group_of_kafka() {
    if let Some(stage) = Stage::on(Behind::Kafka, PARTITIONS).await {
        check_the_group(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_on_one_dataset_waste_work_and_corrupt_nothing() {
    let proof = Proof::of("two groups on one dataset", OF_RIVALS);
    let (stage, mut sent) = (Stage::new(PARTITIONS).await, Sent::default());
    let (one, other) = (settings(&stage, &of_group("one")), settings(&stage, &of_group("other")));
    let witness = Witness::of(&objects(&one), DATASET);
    let counted = [Counted::of("alluvium_fences_total"), Counted::of("alluvium_group_rebalances_total")];
    let (first, second) = (Running::start(one.clone()).await, Running::start(other).await);
    until("each has all partitions", async || {
        [&first, &second].iter().all(|worker| worker.pipeline.progress().lanes_open == 8)
    })
    .await;
    for _ in 0..3 {
        send_and_see(&stage, &mut sent, &one).await;
    }
    let (first, second) = (first.stop().await, second.stop().await);
    assert_eq!((&first.failures, &second.failures), (&vec![], &vec![]));
    assert!(first.tally.fences + second.tally.fences > 0, "they met at least once");
    counted.iter().for_each(Counted::assert_moved);
    proof.shown(&[Promise::L6]);
    witness.agree(&proof).await;
    proof.lake(&objects(&one), &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_shares_cover_every_partition_once() {
    let proof = Proof::of(
        "workers with fixed shares",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    let (stage, mut sent) = (Stage::new(PARTITIONS).await, Sent::default());
    let mut workers = vec![];
    for worker in 1..=3 {
        workers.push(Running::start(settings(&stage, &format!("worker = \"{worker}/3\""))).await);
    }
    let settings = settings(&stage, "");
    send_and_see(&stage, &mut sent, &settings).await;
    assert_eq!(lanes(&workers), [3, 3, 2]);
    for worker in workers {
        let summary = worker.stop().await;
        assert_eq!((summary.tally.fences, summary.failures), (0, vec![]), "nobody met anybody");
    }
    proof.lake(&objects(&settings), &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_group_is_shared_and_each_process_ends_by_itself() {
    let proof = Proof::of(
        "a batch shared by a group",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact],
    );
    let (stage, mut sent) = (Stage::new(PARTITIONS).await, Sent::default());
    send_mixed(&stage, &mut sent, PARTITIONS, 400).await;
    let lake = stage.lake_folder("lake");
    let file = written(&stage, &(text(&stage, lake.to_str().unwrap(), &of_group("g")) + "roll_rows = 100\n"));
    let processes = [(); 3].map(|()| command(["batch", file.to_str().unwrap(), "--json"]).spawn().unwrap());
    let mut records = 0;
    for process in processes {
        let ran = ended(process).await;
        assert_eq!((ran.code, ran.figure("remaining")), (Some(0), 0), "{ran:?}");
        records += ran.figure("records");
    }
    assert_eq!(usize::try_from(records).unwrap(), sent.len(), "each record is one process's work");
    proof.lake(&objects(&settings(&stage, "")), &sent).await;
}
