//! What a replay makes rows of, handed on when the outlets have long passed its claim: to a table once, whoever does it
//! and whatever is cut short; to a topic at least once, under a header of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use alluvium::{
    config,
    lake::{Expire, Store},
    pipeline::Settings,
    record::Record,
};
use futures::StreamExt;
use tokio_postgres::Client;

use super::{
    assert_same, in_the_lake, text,
    topics::{RESULT, header, place, places, read},
};
use crate::{
    matrix::replays::padded,
    support::{
        postgres::Postgres,
        program::{self, Hold, Ran, command, ended, run, signal},
        proof::{OF_A_TABLE, OF_ROWS, Proof},
        stage::{DATASET, Running, Stage, assert_clean, batch},
        until,
    },
};

/// Runs at once; each is a process or two.
const AT_ONCE: usize = 3;
/// Under [limits]: with this, two of ten records are rejected that pass later. One of ten never does.
const THEN: &str = "record_bytes = \"1KiB\"\n";
const REVISION: &str = "alluvium.revision";

struct Scene {
    stage: Stage,
    server: Postgres,
}

/// Two partitions, each with some claims that have rejects.
async fn scene() -> Option<Scene> {
    let server = Postgres::start().await?;
    let stage = Stage::new(2).await;
    for partition in 0..2 {
        for first in [0, 60] {
            stage.send(partition, (first..first + 60).map(padded).collect()).await;
        }
    }
    Some(Scene { stage, server })
}

/// Of each partition.
const PASSED_THEN: usize = 84;
const PASS_NOW: usize = 108;

impl Scene {
    /// Lake, table and topic of that name.
    fn outlets(&self, name: &str) -> String {
        format!("[results]\ntopic = \"{name}\"\n[postgres]\nurl = \"{}\"\ntable = \"{name}\"\n", self.server.url())
    }

    fn text(&self, name: &str, outlets: &str) -> String {
        text(&self.stage, name, outlets, "roll_rows = 40\n")
    }

    fn settings(&self, name: &str, outlets: &str) -> Settings {
        config::parse(&self.text(name, outlets), |_| None).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    /// As the file was when the records came.
    fn then(&self, name: &str) -> Settings {
        self.settings(name, &format!("{THEN}{}", self.outlets(name)))
    }

    fn now(&self, name: &str) -> Settings {
        self.settings(name, &self.outlets(name))
    }

    fn command(&self, verb: &str, name: &str, outlets: &str, hold: Hold<'_>) -> tokio::process::Command {
        let file = self.stage.folder.path().join(format!("{name}-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&file, self.text(name, outlets)).unwrap();
        let mut command = command([PathBuf::from(verb), file, "--json".into()]);
        program::hold(&mut command, hold);
        command
    }

    async fn replay(&self, name: &str) -> Ran {
        ended(self.command("replay", name, &self.outlets(name), None).spawn().unwrap()).await
    }

    /// The steps of a whole replay, and the first of them after the first revision.
    async fn steps(&self) -> (Vec<String>, usize) {
        let (name, folder) = ("whole", tempfile::tempdir().unwrap());
        assert_eq!(batch(self.then(name)).await.failures, Vec::<String>::new());
        let mut replay = self.command("replay", name, &self.outlets(name), Some((&folder, None)));
        let ran = ended(replay.spawn().unwrap()).await;
        assert_eq!((ran.code, sent(&ran, "postgres")), (Some(0), 2 * (PASS_NOW - PASSED_THEN)), "{ran:?}");
        let steps = program::steps(&folder);
        let revised = steps.iter().position(|step| step.starts_with("create _ledger") && step.contains(".r1.json"));
        (steps, revised.expect("a revision") + 1)
    }

    /// The table has the lake's rows, each once, and the topic has them all.
    async fn assert_all(&self, client: &Client, name: &str, expected: usize) {
        let settings = self.now(name);
        assert_same(client, name, &settings, expected).await;
        let lake: BTreeSet<_> = in_the_lake(&settings).await.iter().map(|row| (row.0, row.1)).collect();
        assert!(places(&read(&self.stage, name).await, RESULT) == lake, "{name}: the topic has other rows");
        assert_clean(&settings).await;
    }

    /// Killed before that step of a replay; then somebody goes on.
    async fn cut(&self, at: usize) {
        let (name, folder) = (format!("killed_{at}"), tempfile::tempdir().unwrap());
        assert_eq!(batch(self.then(&name)).await.failures, Vec::<String>::new());
        let outlets = self.outlets(&name);
        let child = self.command("replay", &name, &outlets, Some((&folder, Some(at)))).spawn().unwrap();
        program::stands_still(&folder).await;
        signal(&child, &["KILL"]);
        assert_eq!(ended(child).await.code, None);
        let client = self.server.client().await;
        if at.is_multiple_of(2) {
            let next = batch(self.now(&name)).await;
            assert_eq!(next.failures, Vec::<String>::new());
            let lake = in_the_lake(&self.now(&name)).await.len();
            assert!(lake > 2 * PASSED_THEN, "there was a revision, and a follower that starts finishes it");
            assert_same(&client, &name, &self.now(&name), lake).await;
        }
        let next = self.replay(&name).await;
        assert_eq!(next.code, Some(0), "{next:?}");
        self.assert_all(&client, &name, 2 * PASS_NOW).await;
    }
}

/// What `--json` says that went to that outlet.
fn sent(ran: &Ran, outlet: &str) -> usize {
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let outlets = told["outlets"].as_array().unwrap_or_else(|| panic!("{ran:?}"));
    let found = outlets.iter().find(|found| found["outlet"] == outlet).unwrap_or_else(|| panic!("{ran:?}"));
    usize::try_from(found["sent"].as_u64().unwrap()).unwrap()
}

fn of_replays(records: &[(i32, Record)]) -> Vec<&(i32, Record)> {
    records.iter().filter(|(_, record)| record.headers.contains_key(REVISION)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replay_makes_rows_of_reaches_the_table_once_and_the_topic_under_a_header_of_its_own() {
    let Some(scene) = scene().await else { return };
    assert_eq!(batch(scene.then("f")).await.failures, Vec::<String>::new());
    let client = scene.server.client().await;
    scene.assert_all(&client, "f", 2 * PASSED_THEN).await;
    let dry = scene.command("replay", "f", &scene.outlets("f"), None).arg("--dry-run").spawn().unwrap();
    assert_eq!(ended(dry).await.code, Some(0));
    scene.assert_all(&client, "f", 2 * PASSED_THEN).await;

    let more = 2 * (PASS_NOW - PASSED_THEN);
    let ran = scene.replay("f").await;
    assert_eq!((ran.code, sent(&ran, "results"), sent(&ran, "postgres")), (Some(0), more, more), "{ran:?}");
    scene.assert_all(&client, "f", 2 * PASS_NOW).await;
    let records = read(&scene.stage, "f").await;
    assert_eq!(records.len(), 2 * PASS_NOW, "where nothing failed, nothing is sent twice");
    let mut highest = BTreeMap::new();
    let replayed = of_replays(&records);
    for (to, record) in &replayed {
        let (partition, offset) = place(record, RESULT);
        let revision = header(record, REVISION);
        let start: i64 = revision.strip_suffix(".r1").expect("the first revision").parse().unwrap();
        assert!(start <= offset && matches!(offset % 10, 6 | 7), "{revision}: {offset}");
        let before = highest.insert((*to, partition, revision), offset);
        assert!(before < Some(offset), "in the order of their offsets");
    }
    assert_eq!(replayed.len(), more);
    assert!(highest.len() > 4, "several claims: {highest:?}");

    let again = scene.replay("f").await;
    assert_eq!((again.code, sent(&again, "results"), sent(&again, "postgres")), (Some(0), 0, 0), "{again:?}");
    let next = batch(scene.now("f")).await;
    assert!(next.failures.is_empty() && next.outlets.iter().all(|outlet| outlet.sent == 0), "{next:?}");
    assert_eq!(read(&scene.stage, "f").await.len(), 2 * PASS_NOW);
    scene.assert_all(&client, "f", 2 * PASS_NOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_runs_meanwhile_neither_doubles_nor_leaves_out_anything() {
    let Some(scene) = scene().await else { return };
    let client = scene.server.client().await;
    let running = Running::start(scene.then("s")).await;
    until("all are there", async || super::count(&client, "s").await == 168).await;
    let ran = scene.replay("s").await;
    assert_eq!((ran.code, sent(&ran, "postgres")), (Some(0), 48), "{ran:?}");
    scene.stage.send_flowers(2, 20).await;
    until("the stream goes on", async || super::count(&client, "s").await == 256).await;
    running.stop().await;
    scene.assert_all(&client, "s", 256).await;
    let next = Running::start(scene.now("s")).await.stop().await;
    assert!(next.outlets.iter().all(|outlet| outlet.sent == 0), "{next:?}");
    scene.assert_all(&client, "s", 256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outlet_that_is_added_later_gets_the_rows_of_replays_too() {
    let Some(scene) = scene().await else { return };
    batch(scene.settings("l", THEN)).await;
    let ran = ended(scene.command("replay", "l", "", None).spawn().unwrap()).await;
    assert_eq!((ran.code, ran.figure("scored")), (Some(0), 48), "{ran:?}");
    let ran = scene.replay("l").await;
    assert_eq!(
        (ran.code, sent(&ran, "results"), sent(&ran, "postgres")),
        (Some(0), 0, 0),
        "they have not begun: {ran:?}"
    );
    assert_eq!(batch(scene.now("l")).await.failures, Vec::<String>::new());
    let client = scene.server.client().await;
    scene.assert_all(&client, "l", 2 * PASS_NOW).await;
    let records = read(&scene.stage, "l").await;
    assert_eq!((records.len(), of_replays(&records).len()), (2 * PASS_NOW, 48));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expiry_deleted_of_a_revision_is_left_out_and_told() {
    let Some(scene) = scene().await else { return };
    batch(scene.settings("e", THEN)).await;
    let ran = ended(scene.command("replay", "e", "", None).spawn().unwrap()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let store = Store::open(&scene.now("e").lake.url).unwrap();
    let before = "2024-01-15T10:00:00Z".parse().unwrap();
    let expire = Expire { store: &store, dataset: DATASET, before, reason: "old", writer: "test" };
    let expired = expire.delete().await.unwrap().found.scored;
    assert!(expired > 0);
    let next = batch(scene.now("e")).await;
    assert_eq!(next.failures, Vec::<String>::new());
    let left: Vec<_> = next.outlets.iter().map(|outlet| (outlet.sent, outlet.sent + outlet.expired)).collect();
    let all = 2 * PASS_NOW as u64;
    assert!(left.iter().all(|(sent, whole)| *whole == all && *sent < all), "{next:?}");
    let lake = in_the_lake(&scene.now("e")).await.len();
    scene.assert_all(&scene.server.client().await, "e", lake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_out_is_told_and_gets_the_rest_when_it_is_back() {
    let Some(mut scene) = scene().await else { return };
    assert_eq!(batch(scene.then("o")).await.failures, Vec::<String>::new());
    scene.server.crash();
    let ran = scene.replay("o").await;
    assert_eq!((ran.code, sent(&ran, "results"), sent(&ran, "postgres")), (Some(1), 48, 0), "{ran:?}");
    assert!(ran.stdout.contains("connect to PostgreSQL"), "{ran:?}");
    let file = scene.stage.folder.path().join("o.toml");
    std::fs::write(&file, scene.text("o", &scene.outlets("o"))).unwrap();
    let told = run(["replay".as_ref(), file.as_os_str()]).await;
    told.assert_told(1, &["postgres     0 rows to table o", "the lake has all of them; run the same command again"]);
    scene.server.resume().await;
    let told = run(["replay".as_ref(), file.as_os_str()]).await;
    told.assert_told(0, &["results      0 rows to topic o", "postgres     48 rows to table o"]);
    scene.assert_all(&scene.server.client().await, "o", 2 * PASS_NOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_step_after_a_revision_its_rows_are_in_the_table_once_and_in_the_topic() {
    let proof = Proof::of("what a replay made rows of is handed on: kill -9 at every step", OF_A_TABLE);
    let Some(scene) = scene().await else { return proof.left_out() };
    let (steps, first) = scene.steps().await;
    let ours = |begin: &str| steps.iter().filter(|step| step.starts_with(begin)).count();
    for step in ["postgres begin", "postgres copy", "postgres revision", "postgres commit", "write _outlets"] {
        assert!(ours(step) >= 4, "{step}: {steps:?}");
    }
    // Of a partition's revisions two are enough.
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cuts = vec![];
    for (at, step) in steps.iter().enumerate().skip(first) {
        let times = seen.entry(step.split(['/', '_', ' ']).next().unwrap()).or_default();
        *times += 1;
        if *times <= 4 || step.starts_with("postgres") && *times <= 9 {
            cuts.push(at);
        }
    }
    let last = steps.len() - 1;
    cuts.push(last);
    let cuts = cuts.into_iter().collect::<BTreeSet<_>>().into_iter().map(|at| scene.cut(at));
    futures::stream::iter(cuts).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    proof.shown(OF_A_TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_hand_on_the_same_revision_at_once_one_writes_it_to_the_table() {
    let proof = Proof::of("what a replay made rows of is handed on by two at once", OF_ROWS);
    let Some(scene) = scene().await else { return proof.left_out() };
    let (steps, _) = scene.steps().await;
    let client = scene.server.client().await;
    for step in ["postgres begin", "postgres copy", "postgres revision"] {
        let at = steps.iter().position(|found| found.starts_with(step)).unwrap();
        let (name, folder) = (step.replace(' ', "_"), tempfile::tempdir().unwrap());
        assert_eq!(batch(scene.then(&name)).await.failures, Vec::<String>::new());
        let outlets = scene.outlets(&name);
        let first = scene.command("replay", &name, &outlets, Some((&folder, Some(at)))).spawn().unwrap();
        program::stands_still(&folder).await;
        let second = scene.replay(&name).await;
        assert_eq!((second.code, sent(&second, "postgres")), (Some(0), 48), "{second:?}");
        program::let_go(&folder);
        let first = ended(first).await;
        assert_eq!((first.code, sent(&first, "postgres")), (Some(0), 0), "{first:?}");
        scene.assert_all(&client, &name, 2 * PASS_NOW).await;
        proof.shown(OF_ROWS);
    }
}
