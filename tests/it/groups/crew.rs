//! Workers of the real program that share a stage's topic by a group.

use std::{fs, path::PathBuf, process::Stdio};

use tokio::process::Child;

use crate::support::{
    LIMIT,
    program::{command, signal},
    stage::Stage,
    until,
};

/// Small fetches and small segments, and a broker's shortest session.
const LIMITS: &str = "[limits]\nfetch_wait = \"10ms\"\nfetch_bytes = \"16KiB\"\nrequest_timeout = \"2s\"\n";
const SMALL_SEGMENTS: &str = "roll_rows = 50\nroll_age = \"200ms\"\n";
const SESSION: &str = "session_timeout = \"6s\"\n";
const HEARTBEAT: &str = "heartbeat = \"300ms\"\n";
/// What a worker says each time that it has its part of the partitions.
const SHARED: &str = " rebalanced group=";

/// One worker, for as long as it runs; it doesn't outlive the test.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

/// How many partitions a worker has, by what it said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub generation: i32,
    pub held: usize,
}

impl Worker {
    /// Starts a stream of that name in the group that is called as the topic is; `more` are lines of `[source]`, and may set another session.
    pub fn start(stage: &Stage, name: &str, more: &str) -> Self {
        let lake = stage.lake_folder("lake");
        let session = if more.contains("session_timeout") { "" } else { SESSION };
        let source = format!("[source]\ngroup = \"{}\"\n{session}{HEARTBEAT}{more}", stage.topic);
        let text = stage.pipeline(lake.to_str().unwrap(), LIMITS).replacen("[source]\n", &source, 1) + SMALL_SEGMENTS;
        let [file, log] = ["toml", "log"].map(|kind| stage.folder.path().join(format!("{name}.{kind}")));
        fs::write(&file, text).unwrap();
        let said = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut stream = command(["stream", file.to_str().unwrap(), "--json"]);
        let child = stream.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { child, log }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Each time that the group gave it a part; a log goes on when a worker of the same name is started again.
    pub fn parts(&self) -> Vec<Part> {
        self.log().lines().filter(|line| line.contains(SHARED)).map(Part::of).collect()
    }

    pub async fn joined(&self) {
        until("the worker has joined", async || !self.parts().is_empty()).await;
    }

    /// SIGTERM, and an end with all in hand committed.
    pub async fn stop(mut self) {
        signal(&self.child, &["TERM"]);
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Part {
    fn of(line: &str) -> Self {
        let figure = |name: &str| {
            let behind = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in: {line}")).1;
            behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        Self { generation: i32::try_from(figure("generation")).unwrap(), held: figure("held") }
    }
}

/// Until the workers have all partitions between them, as evenly as can be.
pub async fn share_evenly(workers: &[&Worker], partitions: usize) {
    let fair = partitions / workers.len()..=partitions.div_ceil(workers.len());
    until("the partitions are shared evenly", async || {
        let parts: Vec<Part> = workers.iter().filter_map(|worker| worker.parts().last().copied()).collect();
        let held: usize = parts.iter().map(|part| part.held).sum();
        let even = parts.iter().all(|part| fair.contains(&part.held) && part.generation == parts[0].generation);
        parts.len() == workers.len() && held == partitions && even
    })
    .await;
}
