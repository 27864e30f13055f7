//! Credentials that expire under a running program.

use super::Scene;
use crate::support::{
    program::{command, ended, written},
    proof::{Promise, Proof},
    s3::{Act, When},
};

/// The stream ends with one line that says what the store said and what to do; with fresh credentials it goes on.
async fn ends_with_the_remedy(proof: &Proof, status: u16) {
    let mut scene = Scene::new().await;
    scene.send(100).await;
    let file = written(&scene.stage, &scene.file("retry_for = \"1s\"\n"));
    let child = command(["stream", file.to_str().unwrap()]).envs(scene.server.environment()).spawn().unwrap();
    scene.all_visible().await;
    scene.server.play(move |_| Act::Say(When::Before, status, "ExpiredToken"));
    scene.send(100).await;
    let ran = ended(child).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told: Vec<_> = ran.stderr.lines().filter(|line| line.contains("trying again")).collect();
    assert!(!told.is_empty() && told.iter().all(|line| line.contains("ExpiredToken")), "told at once: {ran:?}");
    let stopped: Vec<_> = ran.stderr.lines().filter(|line| line.contains("lane stopped")).collect();
    let [stopped] = stopped[..] else { panic!("{ran:?}") };
    for part in ["iris/g0/p0", "ExpiredToken: planted by the test", "put fresh AWS_* keys into the environment"] {
        assert!(stopped.contains(part), "`{part}` is missing in: {stopped}");
    }
    scene.resumes(proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_credentials_expire_says_so_and_the_next_one_goes_on() {
    let proof = Proof::of(
        "credentials expire",
        &[Promise::L1, Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::Resumes],
    );
    // S3 says 400; others say 403.
    for status in [400, 403] {
        ends_with_the_remedy(&proof, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_at_the_start_are_said_in_one_line() {
    let scene = Scene::new().await;
    scene.server.play(|_| Act::Say(When::Before, 403, "InvalidAccessKeyId"));
    let file = written(&scene.stage, &scene.file(""));
    let child = command(["stream", file.to_str().unwrap()]).envs(scene.server.environment()).spawn().unwrap();
    let ran = ended(child).await;
    ran.assert_refused(1, &["InvalidAccessKeyId: planted by the test", "check the credentials"]);
    assert_eq!(ran.stderr.lines().filter(|line| line.contains("InvalidAccessKeyId")).count(), 1, "{ran:?}");
}
