//! What the tests stand on.

pub mod admin;
pub mod counted;
pub mod faulty;
pub mod foreign;
pub mod kafka;
pub mod lake;
pub mod parts;
pub mod postgres;
pub mod program;
pub mod proof;
pub mod proxy;
pub mod registry;
pub mod s3;
pub mod scripted;
pub mod secure;
pub mod stage;
pub mod versions;
pub mod web;
pub mod witness;
pub mod writer;

use std::time::Duration;

/// No test waits longer for anything.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Waits until `condition` holds; fails the test if it never does.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {LIMIT:?} until {what}");
}
