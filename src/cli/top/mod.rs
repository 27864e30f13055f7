//! `alluvium top`
//!
//! Owns: when it is asked and shown. Does not own: what is shown of it (`sheet`), the terminal (`screen`).

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use self::screen::{Screen, size};
use super::{Exit, Usage, run::Signals};
use crate::telemetry::{
    chain,
    history::Told,
    http::{Client, ClientError, Token},
};

mod screen;
mod sheet;

const ASK_EVERY: Duration = Duration::from_secs(1);
/// Holds the token of the run that is asked.
const TOKEN: &str = "ALLUVIUM_HTTP_TOKEN";

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
    /// Where the page of the run is
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9184")]
    url: String,
    /// Print one report, and exit
    #[arg(long)]
    once: bool,
    /// Print what `/status` says, as JSON, and exit
    #[arg(long, conflicts_with = "once")]
    json: bool,
    /// For https: a file of certificates (PEM) that are trusted in place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Top {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = Client::new(&self.url, self.ca_file.as_deref(), token()?).map_err(|error| match error {
            ClientError::Url { .. } => Usage(error.to_string()).into(),
            error => anyhow::Error::new(error),
        })?;
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

fn token() -> Result<Option<Token>, Usage> {
    let bad = || Usage(format!("{TOKEN} holds no token: one is 16 to 1024 letters, digits and signs"));
    let given = env::var(TOKEN).ok().filter(|token| !token.is_empty());
    given.map(|token| Token::new(&token).ok_or_else(bad)).transpose()
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
