//! Signals to the running program: what was begun is finished, or recovered by the next start.

use std::{path::Path, time::Duration};

use alluvium::{lake::FileKind, pipeline::Settings};
use tokio::{net::TcpListener, process::Child};

use crate::support::{
    lake::{places, rows},
    program::{self, command, ended, pipeline_file, run, signal, written},
    proof::{Promise, Proof, Sent},
    stage::{DATASET, Stage, assert_clean, batch, flower, objects},
    until,
    witness::{DuckDb, Witness},
};

/// Small fetches and small segments, so that there is always a segment in hand.
const SMALL_FETCHES: &str = "[limits]\nfetch_wait = \"10ms\"\nfetch_bytes = \"16KiB\"\n";
const SMALL_SEGMENTS: &str = "roll_rows = 200\nroll_age = \"200ms\"\n";
const RECORDS: i64 = 30_000;
/// A step of a stream's store that comes when it has committed and is at it again.
const HELD_AT: usize = 20;

/// One partition with a backlog, in many small batches.
async fn backlog() -> Stage {
    let stage = Stage::new(1).await;
    for chunk in 0..RECORDS / 100 {
        let first = usize::try_from(chunk * 100).unwrap();
        stage.send(0, (first..first + 100).map(flower).collect()).await;
    }
    stage
}

async fn landed(settings: &Settings) -> Vec<(i32, i64)> {
    rows(&objects(settings), FileKind::Scored, DATASET).await.map_or(vec![], |rows| places(&rows))
}

/// Starts the program on the stage's backlog, and waits until the first rows are in the lake.
async fn started(mode: &str, stage: &Stage) -> Child {
    let file = pipeline_file(stage, SMALL_FETCHES, SMALL_SEGMENTS);
    let child = command([mode, file.to_str().unwrap(), "--json"]).spawn().unwrap();
    let settings = stage.settings("lake", "");
    until("the first rows are there", async || !landed(&settings).await.is_empty()).await;
    child
}

/// The next run brings the rest, and each offset is there once.
async fn assert_next_run_completes(proof: &Proof, stage: &Stage) {
    let settings = stage.settings("lake", "");
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.remaining), (vec![], 0));
    proof.shown(&[Promise::Resumes]);
    let mut sent = Sent::default();
    sent.add(0, (0..usize::try_from(RECORDS).unwrap()).map(flower));
    proof.lake(&objects(&settings), &sent).await;
}

async fn assert_stream_commits_and_exits(proof: &Proof, name: &str) {
    let stage = backlog().await;
    let child = started("stream", &stage).await;
    signal(&child, &[name]);
    let ran = ended(child).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("stopping: committing what is in hand"), "{ran:?}");
    proof.shown(&[Promise::StopsInTime]);
    let settings = stage.settings("lake", "");
    let there = i64::try_from(landed(&settings).await.len()).unwrap();
    assert_eq!(ran.figure("records"), there, "the summary counts what is in the lake");
    assert_clean(&settings).await;
    assert_next_run_completes(proof, &stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_makes_a_stream_commit_and_exit() {
    let proof = Proof::of(
        "SIGTERM, SIGINT, and twice",
        &[Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    assert_stream_commits_and_exits(&proof, "TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_makes_a_stream_commit_and_exit() {
    let proof = Proof::of(
        "SIGTERM, SIGINT, and twice",
        &[Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    assert_stream_commits_and_exits(&proof, "INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_end_a_stream_at_once_and_the_next_start_recovers() {
    let proof = Proof::of(
        "SIGTERM, SIGINT, and twice",
        &[Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    let (stage, hold) = (backlog().await, tempfile::tempdir().unwrap());
    let file = pipeline_file(&stage, SMALL_FETCHES, SMALL_SEGMENTS);
    let mut stream = command(["stream", file.to_str().unwrap(), "--json"]);
    // It stands before a step of its store, so that it can't be done with what is in hand when the second one comes.
    program::hold(&mut stream, Some((&hold, Some(HELD_AT))));
    let child = stream.spawn().unwrap();
    program::stands_still(&hold).await;
    signal(&child, &["TERM", "INT"]);
    let ran = ended(child).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran:?}");
    assert!(ran.stderr.contains("left at once"), "{ran:?}");
    proof.shown(&[Promise::StopsInTime]);
    assert_next_run_completes(&proof, &stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_at_any_moment_it_goes_on_each_time() {
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
    let stage = backlog().await;
    let settings = stage.settings("lake", "");
    let witness = Witness::of(&objects(&settings), DATASET);
    let duckdb = DuckDb::over(&stage.lake_folder("lake"));
    let file = pipeline_file(&stage, SMALL_FETCHES, SMALL_SEGMENTS);
    for kill in 0..5 {
        let before = landed(&settings).await.len();
        let child = command(["stream", file.to_str().unwrap()]).spawn().unwrap();
        // A little further each time, so that it dies at another moment.
        until("it has gone on", async || landed(&settings).await.len() > before + kill * 130).await;
        signal(&child, &["KILL"]);
        assert_eq!(ended(child).await.code, None);
    }
    assert_next_run_completes(&proof, &stage).await;
    witness.agree(&proof).await;
    if let Some(duckdb) = duckdb {
        assert_eq!(i64::try_from(duckdb.agree(&proof).await), Ok(RECORDS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_batch_says_what_remains_and_the_next_one_finishes() {
    let proof = Proof::of(
        "SIGTERM, SIGINT, and twice",
        &[Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    let stage = backlog().await;
    let child = started("batch", &stage).await;
    signal(&child, &["TERM"]);
    let ran = ended(child).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    proof.shown(&[Promise::StopsInTime]);
    let (read, remaining) = (ran.figure("records"), ran.figure("remaining"));
    assert!(read > 0 && remaining > 0, "{ran:?}");
    assert_eq!(read + remaining, RECORDS);
    let file = stage.folder.path().join("pipeline.toml");
    let next = run(["batch", file.to_str().unwrap(), "--json"]).await;
    assert_eq!((next.code, next.figure("records"), next.figure("remaining")), (Some(0), remaining, 0), "{next:?}");
    assert_next_run_completes(&proof, &stage).await;
}

async fn said(log: &Path, words: &str) -> bool {
    tokio::fs::read_to_string(log).await.is_ok_and(|log| log.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_for_a_dead_broker_can_be_ended() {
    let stage = Stage::new(1).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let text = stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), "[limits]\nconnect_timeout = \"1h\"\n");
    let file = written(&stage, &text.replace(&stage.brokers, &dead));
    let log = stage.folder.path().join("log");
    let mut stream = command(["stream", file.to_str().unwrap()]);
    let mut child = stream.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    until("it asks again", async || said(&log, "the broker is asked again").await).await;
    signal(&child, &["TERM"]);
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(said(&log, "error: interrupted before the first record was read").await);
}
