//! This program once more, for a part that must be a process of its own. All but one end when their standard input does,
//! so that none outlives the one that started it.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    thread,
};

use clap::Parser;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::{bare, measured, observer, s3};

/// Before the part's name.
const MARK: &str = "child";

#[derive(Debug, Parser)]
pub enum Child {
    /// Runs a program and says what it took.
    Measure {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// The bare loop, to the topic's end.
    Bare { file: PathBuf, topic: String, partitions: i32 },
    /// Looks at the lake.
    Observe(observer::Watch),
    /// An S3 server.
    S3,
}

/// The part that this process is, if it is one.
pub fn asked_for() -> Option<Child> {
    (env::args().nth(1)? == MARK).then(|| Child::parse_from(env::args_os().skip(1)))
}

/// The command line of a part.
pub fn command<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> io::Result<Vec<OsString>> {
    let mut command = vec![env::current_exe()?.into_os_string(), MARK.into()];
    command.extend(arguments.into_iter().map(Into::into));
    Ok(command)
}

impl Child {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Measure { command } => say(&measured::measure(&command)?),
            Self::Bare { file, topic, partitions } => say(&bare::run(&file, &topic, partitions).await?),
            Self::Observe(watch) => {
                let seen = tokio::select! {
                    seen = watch.run() => seen?,
                    () = input_ends() => return Ok(()),
                };
                say(&seen)
            }
            Self::S3 => s3::serve().await,
        }
    }
}

pub fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

pub async fn input_ends() {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
