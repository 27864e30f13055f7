//! The command line: one file a command. Results go to stdout, everything else to stderr.

use std::{
    env, fs,
    process::{self, ExitCode},
};

use clap::{Args, Parser, Subcommand};

use crate::{
    record::name::visible,
    telemetry::{LogFormat, chain_in_lines},
};

mod asked;
mod audit;
mod batch;
#[cfg(feature = "embedded")]
mod broker;
mod check;
#[cfg(feature = "embedded")]
mod demo;
mod doctor;
mod draw;
mod expire;
mod flows;
mod grid;
mod health;
mod infer;
mod model_spec;
mod models;
mod moment;
mod page;
mod produce;
mod rejects;
mod replay;
mod rescore;
mod run;
mod score;
mod security;
mod stream;
mod summary;
mod top;
mod train;
mod wanted;

#[derive(Debug, Parser)]
#[command(name = "alluvium", version, about, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, or a filter such as `alluvium=debug,rskafka=warn`.
    #[arg(long = "log", value_name = "FILTER", env = "ALLUVIUM_LOG", default_value = "info", global = true)]
    pub filter: String,
    /// How to log: `auto` is text on a terminal, and JSON lines where stderr is a file or a pipe.
    // With an id of its own: commands have a `format` too.
    #[arg(
        id = "log_format",
        long = "log-format",
        value_name = "FORMAT",
        env = "ALLUVIUM_LOG_FORMAT",
        default_value = "auto",
        value_parser = log_format,
        global = true
    )]
    pub format: LogFormat,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("it is auto, text or json".into()),
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "embedded")]
    Demo(demo::Demo),
    Stream(stream::Stream),
    Batch(batch::Batch),
    Top(top::Top),
    Rescore(rescore::Rescore),
    Rejects(rejects::Rejects),
    Replay(replay::ReplayArgs),
    Check(check::Check),
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    Expire(expire::Expire),
    Train(Box<train::Train>),
    Score(score::Score),
    Models(models::Models),
    Produce(produce::Produce),
    Draw(draw::Draw),
    Infer(infer::Infer),
    Health(health::Health),
    #[cfg(feature = "embedded")]
    Broker(broker::Broker),
}

/// How a command ended; each is an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// Something failed at run time, and was reported.
    Failed,
    /// The pipeline file is wrong, and its faults were shown.
    Faulty,
    /// The audit found a fault, and showed it.
    Unclean,
}

/// The command line or the pipeline file is wrong; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Who did it, for what is written down for ever: `maria@db7 (pid 4711)`.
fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok()).unwrap_or_else(|| "somebody".into());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| env::var("HOSTNAME"));
    let host = host.map(|host| format!("@{}", host.trim())).unwrap_or_default();
    format!("{user}{host} (pid {})", process::id())
}

impl Cli {
    pub async fn run(self) -> ExitCode {
        let outcome = match self.command {
            #[cfg(feature = "embedded")]
            Command::Demo(command) => command.run().await,
            Command::Stream(command) => command.run().await,
            Command::Batch(command) => command.run().await,
            Command::Top(command) => command.run().await,
            Command::Rescore(command) => command.run().await,
            Command::Rejects(command) => command.run().await,
            Command::Replay(command) => command.run().await,
            Command::Check(command) => command.run().await,
            Command::Audit(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Expire(command) => command.run().await,
            Command::Train(command) => command.run().await,
            Command::Score(command) => command.run().await,
            Command::Models(command) => command.run().await,
            Command::Produce(command) => command.run().await,
            Command::Draw(command) => command.run().await,
            Command::Health(command) => command.run().await,
            Command::Infer(command) => command.run().await,
            #[cfg(feature = "embedded")]
            Command::Broker(command) => command.run().await,
        };
        match outcome {
            Ok(Exit::Done) => ExitCode::SUCCESS,
            Ok(Exit::Failed) => ExitCode::from(1),
            Ok(Exit::Faulty) => ExitCode::from(2),
            Ok(Exit::Unclean) => ExitCode::from(3),
            Err(error) => {
                eprintln!("error: {}", visible(&chain_in_lines(error.as_ref())));
                ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
            }
        }
    }
}
