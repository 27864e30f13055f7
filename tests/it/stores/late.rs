//! A request that has left its writer and takes its time: it lands when the writer is dead and another has gone on.

use std::time::Duration;

use super::Scene;
use crate::support::{
    proof::{OF_A_FREEZE, Promise, Proof},
    s3::{Act, Gate, Verb, When},
};

/// The first request of this kind waits while its writer dies and another does its work; then it lands.
async fn lands_late(proof: &Proof, late: Verb) {
    let mut scene = Scene::new().await;
    let first = scene.stream(Duration::from_secs(30)).await;
    scene.send(50).await;
    scene.all_visible().await;
    let witness = scene.witness();
    let (gate, held) = (Gate::new(), std::sync::Mutex::new(false));
    let at = gate.clone();
    scene.server.play(move |asked| {
        let mut held = held.lock().unwrap();
        // Hints land where they like.
        if *held || asked.verb != late || asked.key.ends_with("latest.json") {
            return Act::Pass;
        }
        *held = true;
        Act::Hold(When::Before, at.clone())
    });
    scene.send(50).await;
    gate.reached().await;
    first.kill().await;
    let second = scene.stream(Duration::from_secs(30)).await;
    scene.send(50).await;
    scene.all_visible().await;
    gate.open();
    gate.passed().await;
    scene.send(50).await;
    scene.all_visible().await;
    let summary = second.stop().await;
    assert_eq!((summary.failures, summary.tally.fences), (vec![], 0));
    witness.agree(proof).await;
    scene.resumes(proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_lands_after_its_writer_s_death_changes_nothing() {
    let proof = Proof::of("a request lands when its writer is long gone: S3", OF_A_FREEZE);
    for late in [Verb::Put, Verb::Create, Verb::Copy, Verb::Delete] {
        lands_late(&proof, late).await;
    }
    proof.shown(&[Promise::L6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_writer_s_claim_that_lands_first_is_kept_and_published_by_the_one_who_lost() {
    let proof = Proof::of(
        "a request lands when its writer is long gone: S3",
        &[Promise::L1, Promise::L2, Promise::L6, Promise::NoneLost, Promise::NoneDoubled],
    );
    let mut scene = Scene::new().await;
    let first = scene.stream(Duration::from_secs(30)).await;
    scene.send(50).await;
    scene.all_visible().await;
    let gates = [Gate::new(), Gate::new()];
    let (script, creations) = (gates.clone(), std::sync::atomic::AtomicUsize::new(0));
    scene.server.play(move |asked| {
        if asked.verb != Verb::Create || !asked.key.starts_with("_ledger/") {
            return Act::Pass;
        }
        let creation = creations.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        script.get(creation).map_or(Act::Pass, |gate| Act::Hold(When::Before, gate.clone()))
    });
    scene.send(50).await;
    gates[0].reached().await;
    first.kill().await;
    let second = scene.stream(Duration::from_secs(30)).await;
    gates[1].reached().await;
    gates[0].open();
    gates[0].passed().await;
    gates[1].open();
    scene.all_visible().await;
    assert_eq!(second.stop().await.tally.fences, 1);
    proof.shown(&[Promise::L6]);
    proof.lake(&scene.objects, &scene.sent).await;
}
