//! One lake and the pipeline file that leads to it, and runs of the program with it.

use std::{ffi::OsString, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::{
    bare::Fetched,
    child,
    measured::{self, Measured, Running},
    s3::S3Process,
    stand::{PROGRAM, Topic},
};

/// How many records a run says that it read.
pub fn records_of(run: &Measured) -> anyhow::Result<u64> {
    Ok(Summary::of(run)?.records)
}

/// The lake goes when this does.
#[derive(Debug)]
pub struct Job {
    pub file: PathBuf,
    pub topic: Topic,
    pub dataset: &'static str,
    /// The lake's, among those of one stand.
    pub name: String,
    /// As the program is told.
    pub lake: String,
    /// Where it would be in a local folder.
    pub local: PathBuf,
    pub s3: Option<Arc<S3Process>>,
    /// How many the program may use; all if not set.
    pub cores: Option<usize>,
}

/// What a run says of itself.
#[derive(Debug, Deserialize)]
struct Summary {
    records: u64,
    scored: u64,
}

impl Summary {
    fn of(run: &Measured) -> anyhow::Result<Self> {
        serde_json::from_str(&run.output).context("read a run's summary")
    }
}

impl Job {
    /// `alluvium batch`, which is to find so many records that nobody had.
    pub async fn batch(&self, records: u64) -> anyhow::Result<Measured> {
        let measured = measured::run(self.command("batch"), self.environment()).await?;
        let summary = Summary::of(&measured)?;
        let right = summary.records == records && summary.scored == records;
        ensure!(right, "a run read {} of {records} records and scored {}", summary.records, summary.scored);
        Ok(measured.quiet())
    }

    /// The bare loop over the same topic.
    pub async fn bare(&self) -> anyhow::Result<Measured> {
        let Topic { name, partitions, records, .. } = &self.topic;
        let partitions = partitions.to_string();
        let words = ["bare".into(), self.file.clone().into_os_string(), name.into(), partitions.into()];
        let measured = measured::run(child::command::<OsString>(words)?, &[]).await?;
        let fetched: Fetched = serde_json::from_str(&measured.output).context("read what the bare loop saw")?;
        ensure!(fetched.records == *records, "the bare loop saw {} of {records} records", fetched.records);
        Ok(measured.quiet())
    }

    /// `alluvium stream`, until it is stopped.
    pub fn stream(&self) -> anyhow::Result<Running> {
        Running::start(self.command("stream"), self.environment())
    }

    fn command(&self, mode: &str) -> Vec<OsString> {
        let mut command: Vec<OsString> = vec![];
        if let Some(cores) = self.cores {
            let only = format!("0-{}", cores.saturating_sub(1));
            command.extend(["taskset".into(), "--cpu-list".into(), only.into()]);
        }
        command.extend([PROGRAM, mode, "--json", "--log", "warn"].map(Into::into));
        command.push(self.file.clone().into_os_string());
        command
    }

    pub fn environment(&self) -> &[(String, String)] {
        self.s3.as_ref().map_or(&[], |s3| &s3.environment)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(s3) = &self.s3 {
            s3.forget(&self.name);
        }
        let _ = fs::remove_dir_all(&self.local);
    }
}
