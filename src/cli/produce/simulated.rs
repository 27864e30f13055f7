//! `alluvium produce --source`: what the options say, as a feed.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use clap::ValueEnum;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::{Exit, Produce, Usage, registry::register, summary, watched};
use crate::{
    registry::Registry,
    simulate::{
        Disorder, Source,
        encoding::{Encoding, Format, describe},
        feed::{self, Feed, Key, Sent},
    },
    telemetry::progress,
};

/// Unless a number or a time is asked for.
const COUNT: u64 = 1_000_000;

impl Produce {
    pub(super) async fn simulate(self, source: Source) -> anyhow::Result<Exit> {
        if self.show_schema {
            println!("{}", describe(self.format, source, self.simulated.with_truth).records);
            return Ok(Exit::Done);
        }
        let registry = self.registry.open(self.format)?;
        let mut feed = self.feed(source)?;
        if let Some(registry) = &registry {
            feed.encoding = registered(registry, &feed).await?;
        }
        let broker = self.connect().await?;
        let partitions = self.topic.open(&broker).await?;
        if feed.truth_topic {
            self.topic.open_beside(&broker, &feed.truth_topic_name(), partitions.len()).await?;
        }
        let (began, sent, stop) = (Instant::now(), Arc::new(Sent::default()), CancellationToken::new());
        let feeding = feed::run(&feed, &broker, &partitions, &sent, &stop);
        let outcome = watched(bar(&feed), &sent, &stop, feeding).await;
        outcome.with_context(|| format!("{} records were sent", progress::count(sent.records())))?;
        println!("{}", summary(&sent, wanted(&feed), partitions.len(), &feed.topic, began.elapsed()));
        if feed.truth_topic {
            println!("their truth is in `{}`", feed.truth_topic_name());
        }
        Ok(Exit::Done)
    }

    fn feed(&self, source: Source) -> anyhow::Result<Feed> {
        let options = &self.simulated;
        let feed = Feed {
            topic: self.topic.name().to_owned(),
            source,
            seed: options.seed,
            count: self.count.unwrap_or(if self.time.is_some() { u64::MAX } else { COUNT }),
            time: self.time,
            rate: self.rate,
            key: self.key.as_deref().map_or(Ok(Key::None), key)?,
            compression: self.compression,
            encoding: self.encoding(source)?,
            disorder: Disorder {
                late: options.late,
                out_of_order: options.out_of_order,
                duplicates: options.duplicates,
            },
            corruption: options.corrupt,
            stamps: options.timestamps,
            truth_topic: options.truth,
        };
        feed.check().map_err(Usage)?;
        Ok(feed)
    }

    fn encoding(&self, source: Source) -> anyhow::Result<Encoding> {
        let with_truth = self.simulated.with_truth;
        Ok(match self.format {
            Format::Json => Encoding::json(with_truth),
            Format::Csv => Encoding::csv(with_truth),
            Format::Avro => Encoding::avro(source, with_truth)?,
        })
    }
}

/// The labels' schema is made known only if labels are sent.
async fn registered(registry: &Registry, feed: &Feed) -> anyhow::Result<Encoding> {
    let with_truth = feed.encoding.with_truth;
    let described = describe(Format::Avro, feed.source, with_truth);
    let records = register(registry, &feed.topic, &described.records).await?;
    let labels =
        if feed.truth_topic { register(registry, &feed.truth_topic_name(), &described.labels).await? } else { records };
    Ok(Encoding::registered(with_truth, records, labels))
}

fn key(text: &str) -> Result<Key, Usage> {
    Key::from_str(text, true)
        .map_err(|_| Usage(format!("--key {text}: the key of a simulated record is none, id or entity")))
}

/// How many records it is to be, if that is known.
fn wanted(feed: &Feed) -> Option<u64> {
    Some(feed.records_max()).filter(|count| *count < u64::MAX)
}

fn bar(feed: &Feed) -> ProgressBar {
    wanted(feed).map_or_else(|| progress::counter("producing"), |count| progress::bar("producing", count))
}
