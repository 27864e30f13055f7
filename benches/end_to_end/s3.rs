//! An S3 server in a process of its own: the one that the tests have, which keeps the contract of conditional creation.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::{child, measured::as_command};

/// The tests' own; nothing here comes near it.
const LIMIT: Duration = Duration::from_mins(2);

#[path = "../../tests/it/support/s3.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "shared with the tests")]
mod server;

/// What the program is told of it.
pub type Environment = Vec<(String, String)>;

/// Of the process that is the server, until its standard input ends.
pub async fn serve() -> anyhow::Result<()> {
    let server = server::S3Server::start(true).await;
    child::say(&server.environment())?;
    child::input_ends().await;
    Ok(())
}

/// The server, from outside. It ends when this is dropped.
#[derive(Debug)]
pub struct S3Process {
    pub environment: Environment,
    /// Where it makes its own folder, for cleaning up.
    folder: PathBuf,
    _process: Child,
}

impl S3Process {
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = as_command(&child::command::<OsString>(["s3".into()])?);
        command.env("TMPDIR", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start the S3 server")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("the S3 server's output")?;
        BufReader::new(stdout).read_line(&mut line).await?;
        let environment = serde_json::from_str(&line).context("the S3 server did not say where it listens")?;
        Ok(Self { environment, folder: folder.to_owned(), _process: process })
    }

    pub fn url(lake: &str) -> String {
        format!("s3://{}/{lake}", server::BUCKET)
    }

    /// Behind the server's back, so that a lake that is done with takes no room.
    pub fn forget(&self, lake: &str) {
        for folder in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(folder.path().join(server::BUCKET).join(lake));
        }
    }
}
