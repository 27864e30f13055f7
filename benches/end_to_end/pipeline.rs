//! The pipelines that are measured: their files, made to fit a broker, a topic and a lake.
//!
//! Owns: what differs from the shipped files. Does not own: what they mean, which is the program's.

use std::fmt;

use alluvium::{config, pipeline::Settings, simulate::Source};
use anyhow::{Context, anyhow};
use clap::ValueEnum;
use toml::{Table, Value};

use crate::common::DEMO;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pipeline {
    #[default]
    Iris,
    Transactions,
    Sentiment,
}

/// What a pipeline file says of a run.
pub struct Place<'a> {
    pub broker: &'a str,
    pub topic: &'a str,
    pub lake: &'a str,
    /// The built-in broker holds a fetch back for half of the wait even when it has records.
    pub short_waits: bool,
    /// Its default if not set.
    pub roll_age: Option<&'a str>,
    /// The shipped one if not set.
    pub model: Option<&'a str>,
}

impl Pipeline {
    pub fn name(self) -> &'static str {
        match self {
            Self::Iris => "iris",
            Self::Transactions => "transactions",
            Self::Sentiment => "sentiment",
        }
    }

    pub fn source(self) -> Source {
        match self {
            Self::Iris => Source::Iris,
            Self::Transactions => Source::Transactions,
            Self::Sentiment => Source::Posts,
        }
    }

    fn shipped(self) -> &'static str {
        match self {
            Self::Iris => DEMO,
            Self::Transactions => include_str!("../../pipelines/fraud.toml"),
            Self::Sentiment => include_str!("../../pipelines/sentiment.toml"),
        }
    }

    fn model(self) -> &'static str {
        match self {
            Self::Iris => "models/iris",
            Self::Transactions => "models/fraud",
            Self::Sentiment => "models/sentiment",
        }
    }

    /// The file's text; paths in it are relative to the repository.
    pub fn file(self, place: &Place<'_>) -> anyhow::Result<String> {
        let mut file: Table = self.shipped().parse().context("read the shipped pipeline file")?;
        set(&mut file, "source", "brokers", place.broker)?;
        set(&mut file, "source", "topic", place.topic)?;
        set(&mut file, "model", "path", place.model.unwrap_or(self.model()))?;
        set(&mut file, "lake", "url", place.lake)?;
        set(&mut file, "lake", "dataset", self.name())?;
        set(&mut file, "lake", "generation", 0)?;
        // Its port may be taken, by another run of the same kind.
        set(&mut file, "http", "listen", "off")?;
        if place.short_waits {
            set(&mut file, "limits", "fetch_wait", "10ms")?;
        }
        if let Some(age) = place.roll_age {
            set(&mut file, "lake", "roll_age", age)?;
        }
        Ok(toml::to_string(&file)?)
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn set(file: &mut Table, section: &str, key: &str, value: impl Into<Value>) -> anyhow::Result<()> {
    let section = file.entry(section).or_insert_with(|| Table::new().into());
    let section = section.as_table_mut().context("a section is a table")?;
    section.insert(key.into(), value.into());
    Ok(())
}

/// What the file says, in the program's own terms.
pub fn settings(file: &str) -> anyhow::Result<Settings> {
    config::parse(file, |_| None).map_err(|faults| anyhow!("the pipeline file is wrong: {faults:?}"))
}
