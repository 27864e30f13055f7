//! Consumer groups: members alone, whole pipelines that share a topic, and the real program's workers.

#[cfg(unix)]
pub mod crew;
mod hands;
#[cfg(unix)]
mod kafka;
mod member;
mod pipeline;
#[cfg(unix)]
mod steps;
mod topics;

use std::{ffi::OsStr, path::Path};

use tokio::process::Command;

use crate::support::LIMIT;

/// Runs another's program to its end, and gives what it printed.
async fn told_by<S: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new(program);
    let ran = tokio::time::timeout(LIMIT, command.args(arguments).kill_on_drop(true).output());
    let ran = ran.await.expect("it ends").unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
