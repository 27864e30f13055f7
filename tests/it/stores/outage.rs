//! A store that is out for a while, or silent: what a stream does meanwhile, and that it can be stopped.

use std::{path::PathBuf, process::Command, time::Duration};

use super::Scene;
use crate::support::{
    program::{command, ended, written},
    proof::{Promise, Proof},
    s3::{Act, When},
    until,
};

/// For so many seconds the store is out; `ALLUVIUM_TEST_OUTAGE` asks for more.
const OUT_SECONDS: u64 = 5;

/// Less than what is sent while the store is out would take.
const MEMORY: usize = 16 << 20;

fn out_for() -> Duration {
    let asked = std::env::var("ALLUVIUM_TEST_OUTAGE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(OUT_SECONDS))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_a_store_that_is_out_and_stays_inside_its_memory() {
    let proof = Proof::of(
        "the store is out for a while",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::MemoryInBudget,
            Promise::Resumes,
        ],
    );
    let mut scene = Scene::new().await;
    scene.settings.lake.roll.rows_max = 2_000;
    scene.settings.limits.memory_bytes_max = MEMORY;
    let running = scene.stream(Duration::from_secs(30)).await;
    scene.send(100).await;
    scene.all_visible().await;
    let witness = scene.witness();
    scene.server.set_out(true);
    let back = tokio::time::Instant::now() + out_for();
    for _ in 0..10 {
        scene.send(6_000).await;
    }
    // This is the outage itself, not a wait for something.
    tokio::time::sleep_until(back).await;
    scene.server.set_out(false);
    scene.all_visible().await;
    let summary = running.stop().await;
    assert_eq!(summary.failures, Vec::<String>::new());
    assert!(summary.memory_peak_bytes <= MEMORY, "{} bytes at most", summary.memory_peak_bytes);
    proof.shown(&[Promise::MemoryInBudget]);
    witness.agree(&proof).await;
    scene.resumes(&proof).await;
}

/// The program as a user runs it, on a store that is as it should be.
async fn started(scene: &Scene, limits: &str) -> (tokio::process::Child, PathBuf) {
    let file = written(&scene.stage, &scene.file(limits));
    let log = scene.stage.folder.path().join("log");
    let mut stream = command(["stream", file.to_str().unwrap(), "--json"]);
    stream.envs(scene.server.environment()).stderr(std::fs::File::create(&log).unwrap());
    let child = stream.spawn().unwrap();
    scene.all_visible().await;
    (child, log)
}

/// Told to stop while its store is in trouble, the program ends within its limit, and the next start goes on.
async fn stops_in_spite_of(proof: &Proof, trouble: impl Fn(&Scene)) {
    let mut scene = Scene::new().await;
    scene.send(100).await;
    let (child, _) = started(&scene, "stop_timeout = \"1s\"\n").await;
    trouble(&scene);
    scene.send(100).await;
    until("it has tried", async || scene.server.log().len() > 3).await;
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // Its log goes to a file; within support::LIMIT, where a silent store would hold it for longer.
    let ran = ended(child).await;
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    proof.shown(&[Promise::StopsInTime]);
    scene.server.set_out(false);
    scene.resumes(proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_store_is_out_can_be_stopped() {
    let proof = Proof::of(
        "the store is out for a while",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    let trouble = |scene: &Scene| scene.server.play(|_| Act::Reset(When::Before));
    stops_in_spite_of(&proof, trouble).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_store_is_silent_can_be_stopped() {
    let proof = Proof::of(
        "the store never answers",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::StopsInTime, Promise::Resumes],
    );
    let first_only =
        |asked: &crate::support::s3::Asked| if asked.number > 3 { Act::Silence(When::After) } else { Act::Pass };
    stops_in_spite_of(&proof, |scene| scene.server.play(first_only)).await;
}
