//! `alluvium top`
//!
//! Owns: when it is asked and shown. Does not own: what is shown of it (`sheet`), the terminal (`screen`).

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use self::screen::{Screen, size};
use super::{Exit, asked::Asked, run::Signals};
use crate::telemetry::{chain, history::Told, http::Client};

mod screen;
mod sheet;

const ASK_EVERY: Duration = Duration::from_secs(1);

/// Watch a running stream or batch in the terminal
///
/// Asks the run for what its page shows, at `/status`, once a second: records a second and lag now and over the last
/// minutes, partitions, predictions, the newest records, rejects, and what happened lately. `q` or Ctrl-C leaves. Where the
/// output is no terminal, one report is printed.
///
/// A token that the run asks for is taken from the variable `ALLUVIUM_HTTP_TOKEN`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium top\n  alluvium top http://127.0.0.1:9185 --once\n  alluvium top --json | jq .totals.lag_records"
)]
pub struct Top {
    #[command(flatten)]
    asked: Asked,
    /// Print one report, and exit
    #[arg(long)]
    once: bool,
    /// Print what `/status` says, as JSON, and exit
    #[arg(long, conflicts_with = "once")]
    json: bool,
}

impl Top {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.asked.client()?;
        if self.json {
            let status = client.get("/status").await?;
            io::stdout().write_all(&status)?;
            println!();
        } else if self.once || !io::stdout().is_terminal() {
            let told = ask(&client).await?;
            let lines = sheet::all(&told, size().0);
            io::stdout().write_all((lines.join("\n") + "\n").as_bytes())?;
        } else {
            watch(&client).await?;
        }
        Ok(Exit::Done)
    }
}

async fn ask(client: &Client) -> anyhow::Result<Told> {
    let status = client.get("/status").await?;
    serde_json::from_slice(&status)
        .with_context(|| format!("{} is a page of another version of Alluvium", client.url()))
}

/// Until somebody leaves. A run that is away is shown as it was, and asked again.
async fn watch(client: &Client) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let (mut screen, mut keys) = Screen::open()?;
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        let asked = async {
            tick.tick().await;
            ask(client).await
        };
        let trouble = tokio::select! {
            () = signals.next() => return Ok(()),
            key = keys.recv() => match key {
                Some(b'q' | b'Q') | None => return Ok(()),
                Some(_) => continue,
            },
            answer = asked => match answer {
                Ok(newest) => {
                    told = Some(newest);
                    None
                }
                Err(error) => Some(chain(error.as_ref())),
            },
        };
        let (width, height) = size();
        screen.show(&sheet::page(told.as_ref(), trouble.as_deref(), client.url(), width, height))?;
    }
}
