//! A run whose group is a script: what it opens, commits and drops on the group's word.

#![cfg(feature = "embedded")]

use object_store::memory::InMemory;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    broker::{Compression, EmbeddedBroker, EmbeddedStorage, Revocation, Start, Turn},
    config,
    lake::audit,
    record::Record,
};

const LIMIT: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_millis(500);
const TOPIC: &str = "flowers";

/// A topic with records, a lake in memory, and what the group says.
struct Scene {
    settings: Settings,
    store: Store,
    _broker: EmbeddedBroker,
}

/// A worker on its way, and the group's side of it.
struct Worker {
    pipeline: Arc<Pipeline>,
    turns: mpsc::Sender<Result<Turn, BrokerError>>,
    stop: CancellationToken,
    task: JoinHandle<Result<Summary, PipelineError>>,
}

impl Scene {
    /// `more` goes on in `[lake]`.
    async fn new(partitions: i32, records: usize, more: &str) -> Self {
        let broker = EmbeddedBroker::start(([127, 0, 0, 1], 0).into(), EmbeddedStorage::Memory).await.unwrap();
        let fields: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
            .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n"))
            .concat();
        let text = format!(
            "[source]\nbrokers = \"{}\"\ntopic = \"{TOPIC}\"\ngroup = \"g\"\nsession_timeout = \"1s\"\n\
             heartbeat = \"100ms\"\n{fields}[model]\npath = \"{}/models/iris\"\n[limits]\nfetch_wait = \"10ms\"\ncpu_threads = 1\nretry_for = \"3s\"\n\
             [lake]\nurl = \"memory\"\ndataset = \"iris\"\n{more}",
            broker.address(),
            env!("CARGO_MANIFEST_DIR")
        );
        let settings = config::parse(&text, |_| None).unwrap();
        let client = settings.source.connect(settings.broker).await.unwrap();
        client.create_topic(TOPIC, partitions, 1).await.unwrap();
        let scene = Self { settings, store: Store::over(Arc::new(InMemory::new()), "memory"), _broker: broker };
        for partition in 0..partitions {
            scene.produce(partition, records).await;
        }
        scene
    }

    async fn produce(&self, partition: i32, records: usize) {
        let flower = br#"{"sepal_length":5.9,"sepal_width":3.0,"petal_length":5.6,"petal_width":2.0}"#;
        let record = Record { value: Some(flower.to_vec()), timestamp_ms: 1_793_491_200_000, ..Record::default() };
        let client = self.settings.source.connect(self.settings.broker).await.unwrap();
        let partition = client.partition(TOPIC, partition).await.unwrap();
        partition.produce(vec![record; records], Compression::None).await.unwrap();
    }

    async fn worker(&self, mode: Mode) -> Worker {
        let (stop, (turns, taken)) = (CancellationToken::new(), mpsc::channel(8));
        let opened = Pipeline::over(self.store.clone(), self.settings.clone(), mode, stop.clone()).await;
        let pipeline = Arc::new(opened.unwrap());
        let running = pipeline.clone();
        let task = tokio::spawn(async move { running.run_by(|_, _| Member::scripted(taken)).await });
        Worker { pipeline, turns, stop, task }
    }

    /// How far each partition is in the lake.
    async fn heads(&self) -> Vec<i64> {
        let report = audit::audit(self.store.objects(), "iris", &BTreeMap::default(), |_| {}).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        report.partitions.iter().filter_map(|partition| partition.head).collect()
    }
}

impl Worker {
    async fn turn(&self, turn: Turn) {
        self.turns.send(Ok(turn)).await.unwrap();
    }

    async fn until(&self, what: &str, holds: impl Fn(Progress) -> bool) {
        let waited = timeout(LIMIT, async {
            while !holds(self.pipeline.progress()) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.pipeline.progress());
    }

    async fn ended(self) -> Result<Summary, PipelineError> {
        timeout(LIMIT, self.task).await.expect("the run ends").unwrap()
    }

    async fn stopped(self) -> Summary {
        self.stop.cancel();
        self.ended().await.unwrap()
    }
}

fn places<const N: usize>(partitions: [i32; N]) -> Vec<TopicPartition> {
    partitions.map(|partition| TopicPartition { topic: TOPIC.into(), partition }).into()
}

/// One that may take so long, and what tells that it is done.
fn revoked<const N: usize>(partitions: [i32; N], time: Duration) -> (Turn, CancellationToken) {
    let (revocation, done) = Revocation::new(places(partitions), Instant::now() + time);
    (Turn::Revoked(revocation), done)
}

#[tokio::test]
async fn a_revoked_partition_commits_what_is_in_hand_and_the_others_go_on() {
    let scene = Scene::new(3, 100, "roll_age = \"1h\"").await;
    let worker = scene.worker(Mode::Stream).await;
    worker.turn(Turn::Assigned(places([0, 1]))).await;
    worker.until("both are read", |now| now.advanced == 200).await;
    assert_eq!(worker.pipeline.progress().tally.counts.records, 0, "nothing is committed yet");
    let (turn, done) = revoked([0], LIMIT);
    worker.turn(turn).await;
    timeout(LIMIT, done.cancelled()).await.expect("it is given up");
    assert_eq!(scene.heads().await, [100, 0], "committed before it is given up");
    let now = worker.pipeline.progress();
    assert_eq!((now.lanes, now.partitions, now.tally.counts.records), (1, 3, 100), "its work stays in the sums");
    let summary = worker.stopped().await;
    assert_eq!((summary.tally.counts.records, summary.partitions), (200, 2));
    assert_eq!(scene.heads().await, [100, 100]);
}

#[tokio::test]
async fn a_revoked_partition_that_does_not_commit_in_time_is_dropped_and_read_again_by_the_next() {
    let scene = Scene::new(1, 100, "roll_age = \"1h\"").await;
    let worker = scene.worker(Mode::Stream).await;
    let (turns, taken) = std::sync::mpsc::channel::<()>();
    let cpu = worker.pipeline.cpu.clone();
    tokio::spawn(async move { cpu.run(move || taken.recv().is_err()).await });
    worker.turn(Turn::Assigned(places([0]))).await;
    worker.until("it is open", |now| now.lanes_open == 1).await;
    // The fetch is on its way to the segment, where it waits for ever.
    worker.until("it holds memory", |_| worker.pipeline.memory.peak() > 0).await;
    let (turn, done) = revoked([0], SOON);
    worker.turn(turn).await;
    timeout(LIMIT, done.cancelled()).await.expect("it is given up all the same");
    assert_eq!(scene.heads().await, [0]);
    drop(turns);
    worker.turn(Turn::Assigned(places([0]))).await;
    worker.until("it is read again", |now| now.advanced >= 100).await;
    worker.stopped().await;
    assert_eq!(scene.heads().await, [100]);
}

#[tokio::test]
async fn what_is_lost_is_dropped_at_once_and_gives_its_memory_back() {
    let scene = Scene::new(1, 100, "roll_age = \"1h\"").await;
    let worker = scene.worker(Mode::Stream).await;
    worker.turn(Turn::Assigned(places([0]))).await;
    worker.until("it is read", |now| now.advanced == 100).await;
    worker.turn(Turn::Lost { partitions: places([0]), why: "the session ran out".into() }).await;
    worker.until("it is gone", |now| now.lanes == 0).await;
    let room = worker.pipeline.memory.limit();
    timeout(LIMIT, worker.pipeline.memory.reserve(room)).await.expect("all memory is free");
    let summary = worker.stopped().await;
    assert_eq!((summary.tally.counts.records, summary.failures), (0, vec![]));
    assert_eq!(scene.heads().await, [0], "nothing of it was committed");
}

#[tokio::test]
async fn what_is_lost_while_it_is_given_up_is_dropped_at_once_too() {
    let scene = Scene::new(1, 100, "roll_age = \"1h\"").await;
    let worker = scene.worker(Mode::Stream).await;
    let (turns, taken) = std::sync::mpsc::channel::<()>();
    let cpu = worker.pipeline.cpu.clone();
    tokio::spawn(async move { cpu.run(move || taken.recv().is_err()).await });
    worker.turn(Turn::Assigned(places([0]))).await;
    worker.until("it holds memory", |_| worker.pipeline.memory.peak() > 0).await;
    let (turn, done) = revoked([0], LIMIT * 2);
    worker.turn(turn).await;
    worker.turn(Turn::Lost { partitions: places([0]), why: "the session ran out".into() }).await;
    timeout(LIMIT, done.cancelled()).await.expect("its lane has ended, long before the hand-over was due");
    drop(turns);
    worker.stopped().await;
    assert_eq!(scene.heads().await, [0]);
}

#[tokio::test]
async fn what_comes_back_is_opened_again_where_the_ledger_stands() {
    let scene = Scene::new(1, 100, "roll_age = \"100ms\"").await;
    let worker = scene.worker(Mode::Stream).await;
    for _ in 0..3 {
        worker.turn(Turn::Assigned(places([0]))).await;
        worker
            .until("it is committed", |now| now.lanes_open == 1 && now.lag == 0 && now.tally.counts.records == 100)
            .await;
        worker.turn(Turn::Lost { partitions: places([0]), why: "again".into() }).await;
        worker.until("it is gone", |now| now.lanes == 0).await;
    }
    assert_eq!(worker.stopped().await.tally.counts.records, 100);
}

#[tokio::test]
async fn a_group_that_has_no_place_for_the_worker_ends_the_run_after_a_last_commit() {
    let scene = Scene::new(1, 100, "roll_age = \"1h\"").await;
    let worker = scene.worker(Mode::Stream).await;
    worker.turn(Turn::Assigned(places([0]))).await;
    worker.until("it is read", |now| now.advanced == 100).await;
    let broker = Broker::connect(&scene.settings.source.brokers, scene.settings.broker).await.unwrap();
    let fenced = broker.partitions("no-such-topic").await.unwrap_err();
    worker.turns.send(Err(fenced.clone())).await.unwrap();
    let ended = worker.ended().await;
    assert!(matches!(&ended, Err(PipelineError::Broker(error)) if *error == fenced), "{ended:?}");
    assert_eq!(scene.heads().await, [100]);
}

#[tokio::test]
async fn latest_is_where_the_first_worker_began_and_not_each_one_s_own_now() {
    let mut scene = Scene::new(3, 100, "roll_age = \"100ms\"").await;
    scene.settings.source.start = Start::Latest;
    let first = scene.worker(Mode::Stream).await;
    first.turn(Turn::Assigned(places([0]))).await;
    first.until("it is open", |now| now.lanes_open == 1).await;
    scene.produce(1, 10).await;
    let second = scene.worker(Mode::Stream).await;
    second.turn(Turn::Assigned(places([1, 2]))).await;
    second.until("what came between is read", |now| now.tally.counts.records == 10).await;
    first.stopped().await;
    second.stopped().await;
    assert_eq!(scene.heads().await, [100, 110, 100]);
}

#[tokio::test]
async fn a_partition_that_came_after_the_dataset_was_begun_at_the_latest_is_read_whole() {
    let mut scene = Scene::new(2, 100, "").await;
    scene.settings.source.start = Start::Latest;
    let before = [(0, 100)].into();
    scene.store.begin_at("iris", 0, before, "another").await.unwrap();
    let worker = scene.worker(Mode::Batch).await;
    worker.turn(Turn::Assigned(places([0, 1]))).await;
    assert_eq!(worker.ended().await.unwrap().tally.counts.records, 100);
    assert_eq!(scene.heads().await, [100, 100]);
}

#[tokio::test]
async fn a_batch_ends_when_all_is_in_the_lake_whoever_brought_it() {
    let scene = Scene::new(2, 100, "").await;
    let (one, other) = (scene.worker(Mode::Batch).await, scene.worker(Mode::Batch).await);
    one.turn(Turn::Assigned(places([0]))).await;
    other.turn(Turn::Assigned(places([1]))).await;
    let (one, other) = (one.ended().await.unwrap(), other.ended().await.unwrap());
    assert_eq!((one.tally.counts.records, other.tally.counts.records), (100, 100));
    assert_eq!((one.remaining, one.failures, other.remaining, other.failures), (0, vec![], 0, vec![]));
    assert_eq!(scene.heads().await, [100, 100]);
}

#[tokio::test]
async fn a_batch_stays_until_all_is_done_and_takes_what_a_dead_one_leaves() {
    let scene = Scene::new(3, 100, "").await;
    let (one, other) = (scene.worker(Mode::Batch).await, scene.worker(Mode::Batch).await);
    one.turn(Turn::Assigned(places([0]))).await;
    one.until("its own is done", |now| now.tally.counts.records == 100).await;
    // Longer than the session of whoever should have the others.
    sleep(Duration::from_secs(2)).await;
    assert!(!one.task.is_finished(), "two are not done");
    one.turn(Turn::Lost { partitions: places([0]), why: "the coordinator was away".into() }).await;
    one.turn(Turn::Assigned(places([0, 1]))).await;
    other.turn(Turn::Assigned(places([2]))).await;
    let (one, other) = (one.ended().await.unwrap(), other.ended().await.unwrap());
    assert_eq!((one.tally.counts.records, one.partitions, one.failures), (200, 2, vec![]));
    assert_eq!((other.tally.counts.records, other.failures), (100, vec![]));
    assert_eq!(scene.heads().await, [100, 100, 100]);
}

#[tokio::test]
async fn a_batch_whose_others_get_nowhere_fails_and_names_what_is_not_done() {
    let scene = Scene::new(2, 100, "roll_age = \"1s\"").await;
    let worker = scene.worker(Mode::Batch).await;
    worker.turn(Turn::Assigned(places([0]))).await;
    let summary = worker.ended().await.unwrap();
    assert_eq!(summary.tally.counts.records, 100);
    assert!(matches!(&*summary.failures, [line] if line.contains("flowers/1;")), "{:?}", summary.failures);
}

#[tokio::test]
async fn a_batch_that_waits_in_vain_reads_on_as_who_began_later_may_wait_for_that() {
    let scene = Scene::new(2, 100, "").await;
    let earlier = scene.worker(Mode::Batch).await;
    scene.produce(0, 10).await;
    let later = scene.worker(Mode::Batch).await;
    earlier.turn(Turn::Assigned(places([0]))).await;
    earlier.until("it has read on", |now| now.tally.counts.records == 110).await;
    later.turn(Turn::Assigned(places([1]))).await;
    let (earlier, later) = (earlier.ended().await.unwrap(), later.ended().await.unwrap());
    assert_eq!((earlier.remaining, earlier.failures, later.remaining, later.failures), (0, vec![], 0, vec![]));
    assert_eq!(scene.heads().await, [110, 100]);
}

#[tokio::test]
async fn a_batch_that_has_not_joined_yet_does_not_end() {
    let scene = Scene::new(1, 100, "").await;
    let worker = scene.worker(Mode::Batch).await;
    sleep(Duration::from_secs(2)).await;
    assert!(!worker.task.is_finished(), "nobody has brought it to the lake, and who should is not known");
    worker.turn(Turn::Assigned(places([0]))).await;
    assert_eq!(worker.ended().await.unwrap().tally.counts.records, 100);
}
