//! The program as child processes: started, signalled, judged by how they end.
//!
//! Owns: a child and its logs. Does not own: when it gets which signal ([`super::round`]).

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

/// What runs, and what it gets from the environment.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub environment: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Stop,
    Continue,
    Terminate,
}

/// What a command printed that ran to its end.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
}

impl Program {
    /// Starts it; what it says goes to the end of `log`. It doesn't outlive us.
    pub fn start(&self, arguments: &[&str], log: &Path) -> anyhow::Result<Child> {
        let log = appended(log)?;
        let mut command = self.command(arguments);
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("start {}", self.path.display()))
    }

    /// Runs it to its end, which must come within `limit`.
    pub async fn run(&self, arguments: &[&str], log: &Path, limit: Duration) -> anyhow::Result<Ran> {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(appended(log)?).spawn()?;
        let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
            bail!("`{}` did not end within {limit:?}; see {}", arguments.join(" "), log.display());
        };
        let output = output?;
        Ok(Ran { code: output.status.code(), stdout: String::from_utf8(output.stdout)? })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).envs(self.environment.iter().cloned()).env_remove("ALLUVIUM_LOG");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// `kill -9`, and the end of it; false if it had ended by itself before.
pub async fn kill(child: &mut Child) -> anyhow::Result<bool> {
    if child.try_wait()?.is_some() {
        return Ok(false);
    }
    child.start_kill()?;
    child.wait().await?;
    Ok(true)
}

pub async fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let Some(pid) = child.id() else { return Ok(()) };
    let name = match signal {
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
        Signal::Terminate => "-TERM",
    };
    Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status().await.context("run `kill`")?;
    Ok(())
}

/// Waits for its end, but no longer than `limit`.
pub async fn ended(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    let status = tokio::time::timeout(limit, child.wait()).await;
    Ok(status.with_context(|| format!("it did not end within {limit:?}"))??)
}

fn appended(log: &Path) -> anyhow::Result<File> {
    File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}
