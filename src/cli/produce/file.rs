//! `alluvium produce --file`: what the options say, as a playback.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{Exit, Produce, Usage, registry::register, summary, watched};
use crate::{
    simulate::{
        feed::Sent,
        playback::{Destination, Options, PlayError, Playback, Timing},
    },
    table::TableError,
    telemetry::progress,
};

impl Produce {
    pub(super) async fn play(self) -> anyhow::Result<Exit> {
        if self.time.is_some() {
            return Err(Usage("--for goes with --source; use --count to send a part of the files".to_owned()).into());
        }
        let registry = self.registry.open(self.format)?;
        let mut playback = self.playback().await?;
        if self.show_schema {
            println!("{}", playback.described());
            return Ok(Exit::Done);
        }
        if let Some(registry) = &registry {
            let id = register(registry, self.topic.name(), playback.described()).await?;
            playback.register(id);
        }
        let broker = self.connect().await?;
        let partitions = self.topic.open(&broker).await?;
        let destination = Destination::open(&broker, self.topic.name(), &partitions, self.compression).await?;
        let (began, sent, stop) = (Instant::now(), Arc::new(Sent::default()), CancellationToken::new());
        let outcome =
            watched(progress::counter("producing"), &sent, &stop, playback.run(&destination, &sent, &stop)).await;
        let outcome = outcome.map_err(choice);
        outcome.with_context(|| format!("{} records were sent", progress::count(sent.records())))?;
        println!("{}", summary(&sent, None, partitions.len(), self.topic.name(), began.elapsed()));
        Ok(Exit::Done)
    }

    async fn playback(&self) -> anyhow::Result<Playback> {
        let timing = match (&self.files.pauses, self.rate) {
            (Some(column), _) => Timing::Pauses { column: column.clone(), speed: self.files.speed },
            (None, Some(rate)) => Timing::Rate(rate),
            (None, None) => Timing::Full,
        };
        let options = Options {
            format: self.format,
            key: self.key.clone(),
            timing,
            // Once; as often as asked; `--loop` alone is 0, for ever.
            rounds: Some(self.files.rounds.unwrap_or(1)).filter(|rounds| *rounds > 0),
            count: self.count,
        };
        let inputs = self.file.clone();
        let opened = spawn_blocking(move || Playback::open(&inputs, options)).await?;
        opened.map_err(choice)
    }
}

/// What a person chose wrongly is a fault of the command line.
fn choice(error: PlayError) -> anyhow::Error {
    match error {
        PlayError::Choice(fault) => Usage(fault).into(),
        PlayError::Table(error @ TableError::Choice { .. }) => Usage(error.to_string()).into(),
        error => error.into(),
    }
}
