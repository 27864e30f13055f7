//! What one process took: time, CPU and memory, as the system booked them.
//!
//! A process of this program stands between, whose only child is the one that is measured: what is resident in a new
//! process before it becomes another program counts as that program's, and this one is small then. And it ends the
//! measured one if the benchmark is no more.

use std::{
    ffi::OsString,
    io::{self, Read},
    process::{Command as BlockingCommand, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, ChildStdin, Command};
use wait4::Wait4;

use crate::child;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// From its start to its exit.
    pub seconds: f64,
    /// User and system.
    pub cpu_seconds: f64,
    /// Resident, at the worst moment.
    pub peak_bytes: u64,
    /// What it printed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
}

impl Measured {
    /// Without what it printed.
    pub fn quiet(self) -> Self {
        Self { output: String::new(), ..self }
    }

    #[expect(clippy::cast_precision_loss, reason = "records are fewer than 2^52")]
    pub fn cpu_per_million(&self, records: u64) -> f64 {
        self.cpu_seconds / records as f64 * 1e6
    }
}

/// A process that is being measured. Dropping it asks the process to end.
#[derive(Debug)]
pub struct Running {
    between: Child,
    stdin: Option<ChildStdin>,
}

impl Running {
    pub fn start(command: Vec<OsString>, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let what = ["measure".into(), "--".into()].into_iter().chain(command);
        let mut command = as_command(&child::command::<OsString>(what)?);
        command.envs(environment.iter().cloned()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut between = command.spawn().context("start a process")?;
        let stdin = between.stdin.take();
        Ok(Self { between, stdin })
    }

    /// Asks it to end, as SIGTERM does, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<Measured> {
        self.stdin = None;
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> anyhow::Result<Measured> {
        let output = self.between.wait_with_output().await?;
        drop(self.stdin);
        ensure!(output.status.success(), "a process that was measured failed");
        serde_json::from_slice(&output.stdout).context("read what a process took")
    }
}

pub async fn run(command: Vec<OsString>, environment: &[(String, String)]) -> anyhow::Result<Measured> {
    Running::start(command, environment)?.ended().await
}

/// In the repository, where the models are.
pub fn as_command(words: &[OsString]) -> Command {
    let mut command = Command::new(words.first().expect("a command has a name"));
    command.args(words.iter().skip(1)).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("ALLUVIUM_LOG");
    command
}

/// Of the process between: runs the command, and ends it early if standard input ends.
pub fn measure(command: &[OsString]) -> anyhow::Result<Measured> {
    let (program, arguments) = command.split_first().context("name a program")?;
    let began = Instant::now();
    let mut process = BlockingCommand::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    end_with_input(process.id());
    let mut output = String::new();
    process.stdout.take().context("its output")?.read_to_string(&mut output)?;
    let ended = process.wait4()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(ended.status.success(), "{} ended with {}: {output}", program.display(), ended.status);
    let took = ended.rusage;
    let cpu_seconds = (took.utime + took.stime).as_secs_f64();
    Ok(Measured { seconds, cpu_seconds, peak_bytes: took.maxrss, output })
}

fn end_with_input(process: u32) {
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = BlockingCommand::new("kill").args(["-TERM", &process.to_string()]).status();
    });
}
