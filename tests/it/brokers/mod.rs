//! Brokers: the same journeys on each, and what a real one goes through in its life.

mod foreign;
mod log;
mod suite;
#[cfg(unix)]
mod trouble;

use std::ffi::OsStr;

use tokio::process::Command;

use crate::support::{LIMIT, stage::Stage};

/// Where brokers differ in what a reader of them can promise; each line stands in `docs/guarantees.md`.
const DIFFERENCES: &[&str] = &[
    "The embedded broker has no transactions and no compaction, and keeps every record.",
    "A header's name that repeats in a record is kept once, with its last value.",
    "A header without a value (null) stops the lane at its batch, on every broker.",
    "On a topic with `LogAppendTime` a record's time is the broker's, as it is for every Kafka consumer.",
    "A transaction that is open holds its partition back for everyone, up to the producer's `transaction.timeout.ms`.",
];

#[test]
fn the_page_of_guarantees_names_the_differences_between_brokers() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guarantees.md")).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for difference in DIFFERENCES {
        assert!(page.contains(difference), "docs/guarantees.md lacks: {difference}");
    }
}

/// Runs another's program to its end, and gives what it printed.
async fn told_by<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new(program);
    let ran = tokio::time::timeout(LIMIT, command.args(arguments).kill_on_drop(true).output());
    let ran = ran.await.expect("it ends").unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Runs a script that is given the stage's brokers and topic.
async fn told_by_python(python: &std::path::Path, script: &str, stage: &Stage) -> String {
    told_by(python, ["-c", script, &stage.brokers, &stage.topic]).await
}
