//! Rejects that are taken through the pipeline once more: cut at every call to the store, frozen while others work, and
//! beside expiries, repairs and streams.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use alluvium::{
    lake::{Expire, FileKind, Store, Wanted, audit, repair},
    pipeline::{PipelineError, Replay, Replayed, Settings},
    record::Record,
};
use bytes::Bytes;
use chrono::{DateTime, DurationRound as _, TimeDelta};
use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory, path::Path};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::support::{
    faulty::{Call, Fault, Faulty, Meddle},
    lake::{binaries, numbers, places, rows_of},
    proof::{OF_A_REPLAY, Promise, Proof, Sent},
    stage::{DATASET, Running, Stage, batch, flower, objects, value},
    until,
};

pub const BATCH: usize = 60;
/// With this, what is padded is rejected.
pub const THEN: &str = "fetch_bytes = \"16KiB\"\nrecord_bytes = \"1KiB\"\n";
pub const IN_SMALL_SEGMENTS: &str = "roll_rows = 40\n";
/// 2024-01-15T10:30:00Z; half of the records are of the hour before.
const AT_MS: i64 = 1_705_314_600_000;
/// Histories of replays, repairs and crashes.
const HISTORIES: u64 = 30;

/// One in ten is no flower and never will be; one in ten is too large for the pipeline as it was.
pub fn padded(id: usize) -> Record {
    let earlier = i64::try_from(id % 2).unwrap() * 3_600_000;
    let record = match id % 10 {
        3 => value(format!("{id} is no flower")),
        6 | 7 => {
            let flower = flower(id).value.unwrap();
            value([flower, vec![b' '; 1500]].concat())
        }
        _ => flower(id),
    };
    let headers = BTreeMap::from([("sent-by".to_owned(), vec![0xff, 0x00])]);
    Record { timestamp_ms: AT_MS - earlier, key: Some(id.to_le_bytes().to_vec()), headers, ..record }
}

/// A lake of some segments over two hours, with rejects that would pass by now.
pub struct Scene {
    pub stage: Stage,
    pub sent: Sent,
    /// The pipeline of now.
    pub now: Settings,
}

impl Scene {
    pub async fn new() -> Self {
        let (stage, mut sent) = (Stage::new(1).await, Sent::default());
        for first in [0, BATCH] {
            let records: Vec<Record> = (first..first + BATCH).map(padded).collect();
            sent.add(0, &records);
            stage.send(0, records).await;
        }
        batch(stage.limited("lake", THEN, IN_SMALL_SEGMENTS)).await;
        let mut now = stage.limited("lake", "", IN_SMALL_SEGMENTS);
        // What fails in a test is not to be tried again for long.
        now.limits.retry_for_max = Duration::ZERO;
        // One claim after the other, so that a call's number tells which it is.
        now.limits.cpu_threads = 1;
        Self { stage, sent, now }
    }

    /// The lake as it was before any replay, in memory.
    async fn memory(&self) -> Arc<dyn ObjectStore> {
        let copy: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        copy_all(&objects(&self.now), &copy).await;
        copy
    }

    async fn replay(&self, store: &Store, writer: &str) -> Result<Replayed, PipelineError> {
        replay(&self.now, store, writer).await
    }

    /// After any cut: nothing is lost, doubled or unsound, though it may be half done.
    async fn assert_half_done(&self, objects: &Arc<dyn ObjectStore>, before: &View, what: &str) -> View {
        let view = View::of(objects).await;
        view.assert_follows(before, what);
        let report = audit::audit(objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
        assert!(report.is_clean(), "{what}: {report:?}");
        view
    }

    /// When all is done: each record is where it belongs, and a further replay changes nothing.
    async fn assert_done(&self, proof: &Proof, objects: &Arc<dyn ObjectStore>, before: &View, what: &str) {
        self.assert_half_done(objects, before, what).await;
        proof.lake(objects, &self.sent).await;
        let all = everything(objects).await;
        let again = self.replay(&Store::over(objects.clone(), "memory"), "again").await.unwrap();
        assert_eq!((again.revisions, again.scored, again.finished), (0, 0, 0), "{what}: {again:?}");
        assert_eq!(again.still_rejected.values().sum::<u64>(), again.taken, "{what}: {again:?}");
        assert!(everything(objects).await == all, "{what}: a replay run again changes nothing");
        let report = audit::audit(objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
        assert!(report.is_clean() && report.notes.is_empty(), "{what}: {report:?}");
        proof.shown(&[Promise::L4, Promise::R1, Promise::R2, Promise::R3, Promise::R4, Promise::R5, Promise::Resumes]);
    }
}

pub async fn replay(settings: &Settings, store: &Store, writer: &str) -> Result<Replayed, PipelineError> {
    let wanted = Wanted::default();
    Replay { settings, store, dataset: DATASET, wanted, dry_run: false, writer: writer.into() }.run(|_| ()).await
}

pub async fn copy_all(from: &Arc<dyn ObjectStore>, to: &Arc<dyn ObjectStore>) {
    for (path, bytes) in everything(from).await {
        to.put(&Path::from(path), bytes.into()).await.unwrap();
    }
}

/// Every object, byte for byte.
pub async fn everything(objects: &Arc<dyn ObjectStore>) -> BTreeMap<String, Bytes> {
    let all: Vec<_> = objects.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    let mut everything = BTreeMap::new();
    for path in all {
        let bytes = objects.get(&path).await.unwrap().bytes().await.unwrap();
        everything.insert(path.to_string(), bytes);
    }
    everything
}

/// What a reader sees, and what stands in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub scored: BTreeMap<(i32, i64), i64>,
    pub rejected: BTreeMap<(i32, i64), Option<Vec<u8>>>,
    ledger: BTreeMap<String, Bytes>,
}

impl View {
    /// Rejects first: a record that leaves them is among the rows by then.
    pub async fn of(objects: &Arc<dyn ObjectStore>) -> Self {
        let (mut scored, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        for rows in rows_of(objects, FileKind::Rejected, DATASET, 0).await {
            for (place, value) in places(&rows).into_iter().zip(binaries(&rows, "_value")) {
                assert!(rejected.insert(place, value).is_none(), "{place:?} is twice among the rejects");
            }
        }
        for rows in rows_of(objects, FileKind::Scored, DATASET, 0).await {
            for (place, id) in places(&rows).into_iter().zip(numbers(&rows, "id")) {
                assert!(scored.insert(place, id).is_none(), "{place:?} is twice among the rows");
            }
        }
        let ledger = everything(objects).await.into_iter();
        let ledger =
            ledger.filter(|(path, _)| path.starts_with("_ledger/") && !path.ends_with("latest.json")).collect();
        Self { scored, rejected, ledger }
    }

    /// Rows and ledger only grow, and every record is among the rows or the rejects.
    pub fn assert_follows(&self, before: &Self, what: &str) {
        for (path, bytes) in &before.ledger {
            assert_eq!(self.ledger.get(path), Some(bytes), "{what}: {path} was there, and is gone or another");
        }
        for (place, id) in &before.scored {
            assert_eq!(self.scored.get(place), Some(id), "{what}: {place:?} was among the rows");
        }
        for (place, value) in &before.rejected {
            let stays = self.rejected.get(place) == Some(value);
            assert!(stays || self.scored.contains_key(place), "{what}: {place:?} is nowhere");
        }
        for place in self.rejected.keys() {
            assert!(before.rejected.contains_key(place), "{what}: {place:?} became a reject");
        }
    }
}

/// An untouched lake, with two ways to it.
struct Ground {
    objects: Arc<dyn ObjectStore>,
    sound: Store,
    cut: Store,
    log: Arc<Faulty>,
    folder: Option<TempDir>,
}

#[derive(Clone, Copy, PartialEq)]
enum On {
    Memory,
    ByCopy,
    Folder,
}

impl On {
    async fn ground(self, scene: &Scene, meddle: Meddle) -> Ground {
        if self == Self::Folder {
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let root = folder.path().canonicalize().unwrap();
            let objects: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
            copy_all(&scene.memory().await, &objects).await;
            let log = Faulty::meddled(objects.clone(), false, meddle);
            let (sound, cut) = (Store::over_local(objects.clone(), root.clone()), Store::over_local(log.clone(), root));
            return Ground { objects, sound, cut, log, folder: Some(folder) };
        }
        let objects = scene.memory().await;
        let log = Faulty::meddled(objects.clone(), self == Self::ByCopy, meddle);
        let (sound, cut) = (Store::over(objects.clone(), "memory"), Store::over(log.clone(), "memory"));
        Ground { objects, sound, cut, log, folder: None }
    }

    /// The calls of a replay that nobody disturbs, without those that try the store out.
    async fn calls(self, scene: &Scene) -> Vec<(usize, String)> {
        let whole = self.ground(scene, Fault::meddle(None)).await;
        let replayed = scene.replay(&whole.cut, "whole").await.unwrap();
        assert!(replayed.revisions >= 2 && replayed.scored == 24, "{replayed:?}");
        let calls = whole.log.log().into_iter().enumerate().filter(|(_, call)| !call.contains("_probes"));
        let calls: Vec<_> = calls.collect();
        assert!(calls.len() > 25, "{calls:?}");
        calls
    }
}

async fn cut_everywhere(proof: &Proof, scene: &Scene, on: On) {
    let before = View::of(&objects(&scene.now)).await;
    // Whoever gets no answer tries again for a while.
    tokio::time::pause();
    let (mut won_all_the_same, mut half_done) = (0, 0);
    for (at, call) in on.calls(scene).await {
        for after_effect in [false, true] {
            for for_ever in [false, true] {
                let what = format!("call {at} ({call}), after effect: {after_effect}, for ever: {for_ever}");
                let ground = on.ground(scene, Fault::meddle(Some(Fault { at, after_effect, for_ever }))).await;
                let first = scene.replay(&ground.cut, "first").await;
                let creates = (call.starts_with("put _ledger") || call.starts_with("copy _ledger")) && !for_ever;
                if creates {
                    first.unwrap_or_else(|error| panic!("{what}: {error}"));
                    won_all_the_same += 1;
                }
                let half = scene.assert_half_done(&ground.objects, &before, &what).await;
                half_done += usize::from(half.rejected.keys().any(|place| half.scored.contains_key(place)));
                scene.replay(&ground.sound, "second").await.unwrap_or_else(|error| panic!("{what}: {error}"));
                scene.assert_done(proof, &ground.objects, &half, &what).await;
            }
        }
    }
    tokio::time::resume();
    assert!(won_all_the_same > 0 && half_done > 0, "{won_all_the_same} {half_done}");
}

type Task = Arc<dyn Fn(Store) -> BoxFuture<'static, ()> + Send + Sync>;

/// Before and after every call of a replay, something else is done as a whole; then the replay goes on.
async fn frozen_everywhere(scene: &Scene, on: On, rival: Task, then: impl AsyncFn(&Ground, &str)) {
    for (at, call) in on.calls(scene).await {
        for after_effect in [false, true] {
            let what = format!("frozen at call {at} ({call}), after effect: {after_effect}");
            let (way, frozen) = (Arc::new(OnceLock::<Store>::new()), Arc::new(AtomicBool::new(false)));
            let (rival, sound, held) = (rival.clone(), way.clone(), frozen.clone());
            let meddle: Meddle = Arc::new(move |call: Call| {
                let (rival, sound, held) = (rival.clone(), sound.clone(), held.clone());
                async move {
                    if call.number == at && call.after_effect == after_effect {
                        held.store(true, SeqCst);
                        rival(sound.get().expect("there is a way around the meddler").clone()).await;
                    }
                    true
                }
                .boxed()
            });
            let ground = on.ground(scene, meddle).await;
            way.set(ground.sound.clone()).unwrap();
            scene.replay(&ground.cut, "frozen").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(frozen.load(SeqCst), "{what}");
            then(&ground, &what).await;
        }
    }
}

fn rival(scene: &Scene) -> Task {
    let settings = scene.now.clone();
    Arc::new(move |store| {
        let settings = settings.clone();
        async move {
            replay(&settings, &store, "rival").await.unwrap();
        }
        .boxed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_now_becomes_rows_and_the_rest_stays() {
    let proof = Proof::of("a replay, and nothing in particular", OF_A_REPLAY);
    let scene = Scene::new().await;
    let lake = objects(&scene.now);
    let before = View::of(&lake).await;
    assert_eq!((before.scored.len(), before.rejected.len()), (84, 36));
    let store = Store::open(&scene.now.lake.url).unwrap();

    let dry = Replay {
        settings: &scene.now,
        store: &store,
        dataset: DATASET,
        wanted: Wanted::default(),
        dry_run: true,
        writer: "dry".into(),
    };
    let all = everything(&lake).await;
    let told = dry.run(|_| ()).await.unwrap();
    assert_eq!((told.taken, told.scored, told.revisions), (36, 24, 0));
    assert!(everything(&lake).await == all, "a dry run changes nothing");

    let wanted = Wanted { reasons: ["not_json".to_owned()].into(), ..Wanted::default() };
    let told = Replay { wanted, dry_run: false, ..dry }.run(|_| ()).await.unwrap();
    assert_eq!((told.taken, told.scored, told.left_out), (12, 0, 24), "{told:?}");

    let told = scene.replay(&store, "test").await.unwrap();
    assert_eq!((told.taken, told.scored, told.kept.len()), (36, 24, 0), "{told:?}");
    assert_eq!(told.still_rejected, [("not_json", 12)].into());
    scene.assert_done(&proof, &lake, &before, "done").await;
    let report = audit::audit(&lake, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
    assert_eq!((report.totals.counts.scored, report.totals.counts.rejected), (108, 12));
    assert_eq!(report.totals.revisions, told.revisions);
    let after = View::of(&lake).await;
    assert_eq!(after.rejected.len(), 12);
}

#[tokio::test]
async fn a_replay_cut_at_any_call_in_memory_loses_and_doubles_nothing() {
    let proof = Proof::of("a replay is cut at every call: memory", OF_A_REPLAY);
    let scene = Scene::new().await;
    cut_everywhere(&proof, &scene, On::Memory).await;
    frozen_everywhere(&scene, On::Memory, rival(&scene), async |ground, what| {
        let before = View::of(&objects(&scene.now)).await;
        scene.assert_done(&proof, &ground.objects, &before, what).await;
    })
    .await;
}

#[tokio::test]
async fn a_replay_cut_between_copy_and_delete_loses_and_doubles_nothing() {
    let proof = Proof::of("a replay is cut at every call: memory, publishing by copy and delete", OF_A_REPLAY);
    let scene = Scene::new().await;
    cut_everywhere(&proof, &scene, On::ByCopy).await;
    frozen_everywhere(&scene, On::ByCopy, rival(&scene), async |ground, what| {
        let before = View::of(&objects(&scene.now)).await;
        scene.assert_done(&proof, &ground.objects, &before, what).await;
    })
    .await;
}

#[tokio::test]
async fn a_replay_cut_at_any_call_on_a_local_folder_loses_and_doubles_nothing() {
    let proof = Proof::of("a replay is cut at every call: local folder", OF_A_REPLAY);
    let scene = Scene::new().await;
    cut_everywhere(&proof, &scene, On::Folder).await;
}

#[tokio::test]
async fn a_repair_at_any_call_of_a_replay_finishes_what_there_is_and_hinders_nothing() {
    let scene = Scene::new().await;
    let before = View::of(&objects(&scene.now)).await;
    let mend: Task = Arc::new(|store: Store| {
        async move {
            let repaired = repair(&store, DATASET, "repair").await.unwrap();
            assert!(repaired.left.is_empty(), "{repaired:?}");
        }
        .boxed()
    });
    let proof = Proof::of("a replay is cut at every call: memory", &[]);
    frozen_everywhere(&scene, On::ByCopy, mend, async |ground, what| {
        scene.assert_done(&proof, &ground.objects, &before, what).await;
    })
    .await;
}

#[tokio::test]
async fn a_repair_alone_finishes_a_replay_that_was_cut_short() {
    let scene = Scene::new().await;
    let before = View::of(&objects(&scene.now)).await;
    let mut finished = 0;
    for (at, call) in On::ByCopy.calls(&scene).await {
        let what = format!("call {at} ({call})");
        let fault = Fault { at, after_effect: true, for_ever: true };
        let ground = On::ByCopy.ground(&scene, Fault::meddle(Some(fault))).await;
        let _ = scene.replay(&ground.cut, "first").await;
        let half = scene.assert_half_done(&ground.objects, &before, &what).await;
        let repaired = repair(&ground.sound, DATASET, "repair").await.unwrap();
        assert!(repaired.left.is_empty(), "{what}: {repaired:?}");
        finished += repaired.published.len();
        let view = scene.assert_half_done(&ground.objects, &half, &what).await;
        assert!(!view.rejected.keys().any(|place| view.scored.contains_key(place)), "{what}: each is in one place");
        let report = audit::audit(&ground.objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
        assert!(report.is_clean() && report.notes.is_empty(), "{what}: {report:?}");
    }
    assert!(finished > 0);
}

fn expire(store: &Store) -> Expire<'_> {
    let before = DateTime::from_timestamp_millis(AT_MS).unwrap().duration_trunc(TimeDelta::hours(1)).unwrap();
    Expire { store, dataset: DATASET, before, reason: "old", writer: "test" }
}

#[tokio::test]
async fn an_expiry_at_any_call_of_a_replay_leaves_a_clean_lake() {
    let proof = Proof::of("a replay beside an expiry", &[Promise::L4, Promise::NoneDoubled, Promise::R1, Promise::R2]);
    let mut scene = Scene::new().await;
    // What an expiry deletes just when it was published is published once more.
    scene.now.limits.retry_for_max = Duration::from_secs(30);
    let before = View::of(&objects(&scene.now)).await;
    let policy: Task = Arc::new(|store: Store| async move { expire(&store).delete().await.map(drop).unwrap() }.boxed());
    frozen_everywhere(&scene, On::ByCopy, policy, async |ground, what| {
        let report = audit::audit(&ground.objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
        assert!(report.is_clean(), "{what}: {report:?}");
        expire(&ground.sound).delete().await.unwrap();
        scene.replay(&ground.sound, "second").await.unwrap();
        expire(&ground.sound).delete().await.unwrap();
        let report = audit::audit(&ground.objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap();
        assert!(report.is_clean() && report.notes.is_empty(), "{what}: {report:?}");
        let view = View::of(&ground.objects).await;
        for (path, bytes) in &before.ledger {
            assert_eq!(view.ledger.get(path), Some(bytes), "{what}: {path}");
        }
        // The records with even numbers are of the later hour.
        let ids: BTreeSet<i64> = view.scored.values().copied().collect();
        let all = 0..i64::try_from(BATCH * 2).unwrap();
        assert_eq!(ids, all.filter(|id| id % 2 == 0).collect(), "{what}");
        assert!(view.rejected.is_empty(), "{what}: {view:?}");
    })
    .await;
    proof.shown(&[Promise::L4, Promise::NoneDoubled, Promise::R1, Promise::R2]);
}

/// What is staged for a revision is needed until it is published, however old it is.
#[tokio::test]
async fn staging_of_a_revision_is_not_swept_before_it_is_published() {
    let scene = Scene::new().await;
    let calls = On::Folder.calls(&scene).await;
    let created = calls.iter().find(|(_, call)| call.starts_with("copy _ledger")).expect("a revision is made").0;
    let fault = Fault { at: created, after_effect: true, for_ever: true };
    let ground = On::Folder.ground(&scene, Fault::meddle(Some(fault))).await;
    scene.replay(&ground.cut, "first").await.unwrap_err();
    let root = ground.folder.as_ref().unwrap().path();
    let staged: Vec<_> =
        everything(&ground.objects).await.into_keys().filter(|path| path.starts_with("_staging/")).collect();
    assert!(!staged.is_empty());
    let old = std::time::SystemTime::now() - Duration::from_hours(48);
    for path in &staged {
        std::fs::File::options().write(true).open(root.join(path)).unwrap().set_modified(old).unwrap();
    }
    let id = alluvium::offset::LaneId { dataset: DATASET.into(), generation: 0, partition: 0 };
    let ledger = alluvium::lake::Ledger::new(ground.sound.clone(), id, "sweeper".into());
    let head = ledger.head(&ledger.genesis().await.unwrap().unwrap()).await.unwrap();
    ledger.sweep(head.newest.as_ref()).await.unwrap();
    let before = View::of(&objects(&scene.now)).await;
    let proof = Proof::of("a replay is cut at every call: local folder", &[]);
    scene.replay(&ground.sound, "second").await.unwrap();
    scene.assert_done(&proof, &ground.objects, &before, "swept meanwhile").await;
}

/// Delays, crashes, replays and repairs, as the seed has it.
#[tokio::test]
async fn replays_repairs_and_crashes_in_any_order_leave_every_record_in_one_place() {
    let proof = Proof::of("replays, repairs and crashes in any order", OF_A_REPLAY);
    let scene = Scene::new().await;
    tokio::time::pause();
    let before = View::of(&objects(&scene.now)).await;
    let fences = Arc::new(AtomicUsize::new(0));
    for seed in 0..HISTORIES {
        let objects = scene.memory().await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..4_u64 {
            let mut dice = ChaCha8Rng::seed_from_u64(seed);
            dice.set_stream(number);
            let crash_at = dice.random_range(0..150_usize);
            let dice = Arc::new(std::sync::Mutex::new(dice));
            let meddle: Meddle = Arc::new(move |call: Call| {
                let pause = dice.lock().unwrap().random_range(0..40_u64);
                async move {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    // The last of them lives.
                    number == 3 || call.number < crash_at
                }
                .boxed()
            });
            let store = Store::over(Faulty::meddled(objects.clone(), seed % 2 == 0, meddle), "memory");
            let (settings, fences) = (scene.now.clone(), fences.clone());
            tasks.spawn(async move {
                if number == 2 {
                    let _ = repair(&store, DATASET, "repair").await;
                } else if let Ok(told) = replay(&settings, &store, &number.to_string()).await {
                    fences.fetch_add(usize::try_from(told.fences).unwrap(), SeqCst);
                }
            });
        }
        let mut last = before.clone();
        while tasks.try_join_next().is_some() || !tasks.is_empty() {
            let what = format!("seed {seed}");
            let view = View::of(&objects).await;
            view.assert_follows(&last, &what);
            last = view;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        scene.replay(&Store::over(objects.clone(), "memory"), "last").await.unwrap();
        scene.assert_done(&proof, &objects, &last, &format!("seed {seed}")).await;
    }
    assert!(fences.load(SeqCst) > 0, "some lost a race");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_beside_a_stream_takes_nothing_from_it() {
    let proof = Proof::of("a replay beside a stream", OF_A_REPLAY);
    let mut scene = Scene::new().await;
    let lake = objects(&scene.now);
    let before = View::of(&lake).await;
    let then = scene.stage.limited("lake", THEN, "roll_rows = 20\nroll_age = \"100ms\"\n");
    let running = Running::start(then).await;
    let store = Store::open(&scene.now.lake.url).unwrap();
    let mut now = scene.now.clone();
    now.limits.retry_for_max = Duration::from_mins(1);
    for round in 2..6 {
        let first = round * BATCH;
        let records: Vec<Record> = (first..first + BATCH).map(padded).collect();
        scene.sent.add(0, &records);
        scene.stage.send(0, records).await;
        let (told, ()) = tokio::join!(
            replay(&now, &store, "beside"),
            until("it is read", async || running.committed() >= ((round - 1) * BATCH) as u64)
        );
        told.unwrap();
    }
    running.stop().await;
    replay(&now, &store, "last").await.unwrap();
    let view = View::of(&lake).await;
    for (place, id) in &before.scored {
        assert_eq!(view.scored.get(place), Some(id));
    }
    scene.assert_done(&proof, &lake, &view, "beside a stream").await;
}
