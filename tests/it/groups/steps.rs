//! The real program in a group, at every step of its commits: its partition is taken from it, or it is frozen until the
//! group has given it up.

use std::{fs::File, path::PathBuf, sync::Arc};

use futures::StreamExt;
use object_store::ObjectStore;
use tempfile::TempDir;
use tokio::process::Child;

use super::pipeline::text;
use crate::{
    matrix::visible_in,
    support::{
        program::{self, command, ended, signal},
        proof::{OF_TROUBLE, Promise, Proof, Sent},
        stage::{DATASET, Stage, flower, value},
        until,
        witness::Witness,
    },
};

/// Runs at once; each is two processes.
const AT_ONCE: usize = 3;
const BATCH: usize = 300;
/// What moves when a second member comes.
const MOVING: i32 = 1;
/// A hold outlives this hand-over.
const SHORT: &str = "session_timeout = \"6s\"\nheartbeat = \"100ms\"\nhandover = \"1s\"";
const LONG: &str = "session_timeout = \"6s\"\nheartbeat = \"100ms\"\nhandover = \"1m\"";
const BRIEF_SESSION: &str = "session_timeout = \"2s\"\nheartbeat = \"100ms\"\nhandover = \"2s\"";

/// A topic whose moving partition has two batches of records, some of them bad.
struct Scene {
    stage: Stage,
    sent: Sent,
}

/// A worker of a run of its own: its log stands in a file.
struct Worker {
    child: Child,
    log: Log,
    hold: TempDir,
}

/// Shown if the test fails.
struct Log(PathBuf);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.0.display(), std::fs::read_to_string(&self.0).unwrap_or_default());
        }
    }
}

impl Scene {
    async fn new() -> Self {
        let (stage, mut sent) = (Stage::new(2).await, Sent::default());
        for first in [0, BATCH] {
            let records: Vec<_> = (first..first + BATCH)
                .map(|id| if id % 10 == 3 { value(format!("{id} is no flower")) } else { flower(id) })
                .collect();
            sent.add(MOVING, &records);
            stage.send(MOVING, records).await;
        }
        Self { stage, sent }
    }

    fn objects(&self, lake: &str) -> Arc<dyn ObjectStore> {
        let folder = self.stage.lake_folder(lake);
        alluvium::lake::Store::open(folder.to_str().unwrap()).unwrap().objects().clone()
    }

    /// A worker of the group that is named after its lake; held before that step, if there is one.
    fn worker(&self, name: &str, lake: &str, patience: &str, at: Option<usize>) -> Worker {
        let folder = self.stage.lake_folder(lake);
        let source = format!("group = \"{lake}\"\n{patience}");
        let text = text(&self.stage, folder.to_str().unwrap(), &source).replacen(
            "[limits]\n",
            "[limits]\nfetch_bytes = \"16KiB\"\n",
            1,
        );
        let file = self.stage.folder.path().join(format!("{lake}.{name}.toml"));
        std::fs::write(&file, text + "roll_rows = 100\nroll_age = \"1s\"\n").unwrap();
        let (log, hold) = (file.with_extension("log"), tempfile::tempdir().unwrap());
        let mut command = command([PathBuf::from("stream"), file, "--json".into()]);
        command.stderr(File::create(&log).unwrap());
        program::hold(&mut command, Some((&hold, at)));
        Worker { child: command.spawn().unwrap(), log: Log(log), hold }
    }

    /// The steps of a worker that nobody disturbs.
    async fn steps(&self) -> usize {
        let worker = self.worker("alone", "whole", SHORT, None);
        self.all_are_seen("whole").await;
        let hold = stopped(worker).await;
        std::fs::read_to_string(hold.path().join("steps")).unwrap().lines().count()
    }

    async fn all_are_seen(&self, lake: &str) {
        let objects = self.objects(lake);
        until("a reader sees all", async || visible_in(&objects).await == self.sent.len()).await;
    }

    /// Whether what it had in hand was dropped.
    async fn revoked(&self, proof: &Proof, at: usize, in_time: bool) -> bool {
        let lake = format!("revoked-{at}-{in_time}");
        let witness = Witness::of(&self.objects(&lake), DATASET);
        let patience = if in_time { LONG } else { SHORT };
        let one = self.worker("one", &lake, patience, Some(at));
        until("it is held", async || one.is_held()).await;
        let other = self.worker("other", &lake, patience, None);
        until("a partition is taken from it", async || one.has_logged("to be given up")).await;
        if in_time {
            one.let_go();
        }
        until("the other has it", async || other.has_logged("the group has handed over")).await;
        if !in_time {
            // What is held may be no part of what moves; then only this one can finish it.
            one.let_go();
        }
        self.all_are_seen(&lake).await;
        let dropped = one.has_logged("not committed within");
        stopped(one).await;
        stopped(other).await;
        self.assert_lake(proof, &lake, witness).await;
        dropped
    }

    async fn frozen(&self, proof: &Proof, at: usize) {
        let lake = format!("frozen-{at}");
        let witness = Witness::of(&self.objects(&lake), DATASET);
        let one = self.worker("one", &lake, BRIEF_SESSION, Some(at));
        until("it is held", async || one.is_held()).await;
        signal(&one.child, &["STOP"]);
        let other = self.worker("other", &lake, BRIEF_SESSION, None);
        until("the session has run out, and the other has all", async || other.has_logged("held=2")).await;
        self.all_are_seen(&lake).await;
        one.let_go();
        signal(&one.child, &["CONT"]);
        until("it knows that all was lost", async || one.has_logged("what was in hand is dropped")).await;
        until("it has a share again", async || one.times_logged("the group has handed over") > 1).await;
        stopped(one).await;
        stopped(other).await;
        self.assert_lake(proof, &lake, witness).await;
    }

    async fn assert_lake(&self, proof: &Proof, lake: &str, witness: Witness) {
        proof.shown(&[Promise::Resumes]);
        witness.agree(proof).await;
        proof.lake(&self.objects(lake), &self.sent).await;
    }
}

impl Worker {
    fn is_held(&self) -> bool {
        self.hold.path().join("held").exists()
    }

    fn let_go(&self) {
        program::let_go(&self.hold);
    }

    fn has_logged(&self, words: &str) -> bool {
        self.times_logged(words) > 0
    }

    fn times_logged(&self, words: &str) -> usize {
        std::fs::read_to_string(&self.log.0).unwrap().matches(words).count()
    }
}

/// Gives back the folder that it could have been held by.
async fn stopped(worker: Worker) -> TempDir {
    signal(&worker.child, &["TERM"]);
    let ran = ended(worker.child).await;
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", std::fs::read_to_string(&worker.log.0).unwrap());
    worker.hold
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_taken_away_at_any_step_of_a_commit_is_whole_all_the_same() {
    let proof = Proof::of("a rebalance at every step of a commit", OF_TROUBLE);
    let scene = Scene::new().await;
    let steps = scene.steps().await;
    assert!(steps > 8, "two commits have more steps than {steps}");
    let takings = (0..steps * 2).map(|at| scene.revoked(&proof, at / 2, at % 2 == 0));
    let dropped: Vec<_> = futures::stream::iter(takings).buffer_unordered(AT_ONCE).collect().await;
    let dropped = dropped.into_iter().filter(|&dropped| dropped).count();
    // All but the steps of the partition that stays, and those that a worker does only once in a while.
    assert!(dropped >= steps / 2, "{dropped} of {steps} were dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_frozen_past_its_session_drops_all_and_joins_again() {
    let proof = Proof::of("a member of a group is frozen past its session", OF_TROUBLE);
    let scene = Scene::new().await;
    let steps = scene.steps().await;
    let freezes = (0..steps).step_by(2).map(|at| scene.frozen(&proof, at));
    futures::stream::iter(freezes).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
}
