//! A stream whose store fails it, in every way and at every kind of request, while readers look on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::Scene;
use crate::support::{
    proof::{OF_TROUBLE, Promise, Proof},
    s3::{Act, Asked, Verb, When},
    until,
};

/// The requests that a stream makes. It reads and lists when it has to go back to the ledger.
const VERBS: [Verb; 8] =
    [Verb::Put, Verb::Create, Verb::Copy, Verb::Head, Verb::Delete, Verb::Get, Verb::List, Verb::Create];

/// How long the client waits for an answer here.
const PATIENCE: Duration = Duration::from_millis(500);

/// Each of these befalls each kind of request once, one after the other.
fn each(acts: &[Act]) -> VecDeque<(Verb, Act)> {
    let all = acts.iter().flat_map(|act| VERBS.map(|verb| (verb, act.clone())));
    // That something is done which is not, S3 may say of a copy alone.
    all.filter(|(verb, act)| *verb == Verb::Copy || !matches!(act, Act::Say(_, 200, _))).collect()
}

fn befalls(asked: &Asked, left: &Mutex<VecDeque<(Verb, Act)>>) -> Act {
    let mut left = left.lock().unwrap();
    match left.front() {
        Some((verb, _)) if *verb == asked.verb => left.pop_front().map_or(Act::Pass, |(_, act)| act),
        // Only a lane that is sent back to the ledger reads it…
        Some((Verb::Get | Verb::List, _)) if asked.verb == Verb::Put => Act::Say(When::Before, 400, "Planted"),
        // …and lists only if it finds no hint.
        Some((Verb::List, _)) if asked.key.ends_with("latest.json") => Act::Say(When::Before, 404, "NoSuchKey"),
        _ => Act::Pass,
    }
}

/// A stream goes through all of it, and so does what it leaves.
async fn goes_through(proof: &Proof, acts: &[Act]) {
    let mut scene = Scene::new().await;
    let running = scene.stream(PATIENCE).await;
    scene.send(50).await;
    scene.all_visible().await;
    let witness = scene.witness();
    let left = Arc::new(Mutex::new(each(acts)));
    let script = left.clone();
    scene.server.play(move |asked| befalls(asked, &script));
    while !left.lock().unwrap().is_empty() {
        let before = left.lock().unwrap().len();
        scene.send(25).await;
        let next = format!("this has happened: {:?}", left.lock().unwrap().front());
        until(&next, async || left.lock().unwrap().len() < before).await;
    }
    scene.all_visible().await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    witness.agree(proof).await;
    scene.resumes(proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_every_answer_that_says_no() {
    let proof = Proof::of(
        "the store fails before or after the effect: 500, 503, 409, 412",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::L7,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::RejectsExact,
            Promise::Resumes,
        ],
    );
    let says = [
        (500, "InternalError"),
        (503, "SlowDown"),
        (409, "ConditionalRequestConflict"),
        (412, "PreconditionFailed"),
        // Of a moment: whoever hands out the credentials was about to renew them.
        (403, "AccessDenied"),
        (200, "InternalError"),
        (200, "Nothing"),
    ];
    let before = says.map(|(status, code)| Act::Say(When::Before, status, code));
    // Who is told 200 after the effect is told the truth.
    let after = [500, 503, 409, 412, 403].map(|status| Act::Say(When::After, status, "Planted"));
    goes_through(&proof, &[&before[..], &after].concat()).await;
    proof.shown(&[Promise::L7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_answers_that_never_come() {
    let proof = Proof::of(
        "the store never answers",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L5,
            Promise::L7,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::Resumes,
        ],
    );
    goes_through(&proof, &[Act::Silence(When::Before), Act::Silence(When::After)]).await;
    proof.shown(&[Promise::L7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_connections_that_are_reset() {
    let proof = Proof::of("the store resets the connection, a body half sent", OF_TROUBLE);
    goes_through(&proof, &[Act::Reset(When::Before), Act::Reset(When::After), Act::ResetInRequest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_answers_that_are_cut_short() {
    let proof = Proof::of("the store's answer is cut short", OF_TROUBLE);
    goes_through(&proof, &[Act::ResetInAnswer, Act::Truncate]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_any_trouble_at_random() {
    let proof = Proof::of("the store in any trouble, at random", OF_TROUBLE);
    let seed = Uuid::new_v4().as_u64_pair().0;
    eprintln!("seed {seed}");
    let dice = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
    let acts = [
        Act::Say(When::Before, 500, "InternalError"),
        Act::Say(When::After, 500, "InternalError"),
        Act::Say(When::Before, 503, "SlowDown"),
        Act::Say(When::After, 409, "ConditionalRequestConflict"),
        Act::Say(When::After, 412, "PreconditionFailed"),
        Act::Reset(When::Before),
        Act::Reset(When::After),
        Act::ResetInRequest,
        Act::ResetInAnswer,
        Act::Truncate,
        Act::Silence(When::Before),
        Act::Silence(When::After),
    ];
    let mut scene = Scene::new().await;
    let running = scene.stream(PATIENCE).await;
    scene.send(50).await;
    scene.all_visible().await;
    let witness = scene.witness();
    scene.server.play(move |_| {
        let mut dice = dice.lock().unwrap();
        if dice.random_bool(0.1) { acts[dice.random_range(0..acts.len())].clone() } else { Act::Pass }
    });
    for _ in 0..8 {
        scene.send(50).await;
        scene.all_visible().await;
    }
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    witness.agree(&proof).await;
    scene.resumes(&proof).await;
}
