//! The program as a user runs it: arguments in; exit code, stdout and stderr out.

use std::{ffi::OsStr, path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{LIMIT, stage::Stage, until};

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program, not started yet; it doesn't outlive the test.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("ALLUVIUM_LOG");
    // As on a terminal; what is JSON otherwise has a test of its own.
    command.env("ALLUVIUM_LOG_FORMAT", "text");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Sends signals to the running program, such as `KILL`.
pub fn signal(child: &Child, names: &[&str]) {
    let pid = child.id().expect("it runs").to_string();
    for name in names {
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }
}

/// A folder for its steps to be written down in, and the number of the one that it is to stand still before.
pub type Hold<'a> = Option<(&'a TempDir, Option<usize>)>;

/// Has the program, once it is started, write its steps down, and stand still before one.
pub fn hold(command: &mut Command, hold: Hold<'_>) {
    let Some((folder, at)) = hold else { return };
    command.env("ALLUVIUM_HOLD", folder.path());
    at.map(|at| command.env("ALLUVIUM_HOLD_AT", at.to_string()));
}

/// The steps that were written down.
pub fn steps(folder: &TempDir) -> Vec<String> {
    let steps = std::fs::read_to_string(folder.path().join("steps")).unwrap();
    steps.lines().map(str::to_owned).collect()
}

/// Waits until the program stands still.
pub async fn stands_still(folder: &TempDir) {
    let held = folder.path().join("held");
    until("it is held", async || held.exists()).await;
}

/// Lets it go on.
pub fn let_go(folder: &TempDir) {
    std::fs::write(folder.path().join("go"), "").unwrap();
}

/// Waits until the program is held before its step number `at`. False, if it has ended well with no more steps than that:
/// how many there are depends on who finishes a publishing first, the lane or the follower of an outlet.
pub async fn held(child: &mut Child, folder: &TempDir, at: usize) -> bool {
    let (held, mut over) = (folder.path().join("held"), None);
    until("it is held, or over", async || {
        over = child.try_wait().unwrap();
        over.is_some() || held.exists()
    })
    .await;
    if held.exists() {
        return true;
    }
    let steps = steps(folder);
    assert!(over.unwrap().success() && steps.len() <= at, "not held before step {at}: {steps:?}");
    false
}

/// Runs it to its end.
pub async fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    ended(command(arguments).spawn().unwrap()).await
}

pub async fn ended(child: Child) -> Ran {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the program ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A pipeline file on the stage's broker and lake; `more` may open tables, `lake` goes on in `[lake]`.
pub fn pipeline_file(stage: &Stage, more: &str, lake: &str) -> PathBuf {
    written(stage, &(stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), more) + lake))
}

pub fn written(stage: &Stage, text: &str) -> PathBuf {
    let path = stage.folder.path().join("pipeline.toml");
    std::fs::write(&path, text).unwrap();
    path
}

impl Ran {
    /// A number of the summary that `--json` prints.
    pub fn figure(&self, key: &str) -> i64 {
        let summary: serde_json::Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:?}"));
        summary[key].as_i64().unwrap_or_else(|| panic!("no {key} in {summary}"))
    }

    /// Each part stands in stderr, and stdout is empty.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, parts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is missing in: {}", self.stderr);
        }
    }

    /// Each part stands in stdout.
    #[track_caller]
    pub fn assert_told(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stdout.contains(part), "`{part}` is missing in: {}", self.stdout);
        }
    }
}
