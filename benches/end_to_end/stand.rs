//! What an experiment stands on: a broker, the topics that it makes there, a store, and a folder that goes afterwards.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use alluvium::broker::{Broker, Compression};
use clap::ValueEnum;
use rskafka::client::ClientBuilder;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    apart::{BrokerProcess, broker_at, send},
    args::{Args, Experiment},
    common::folder,
    job::Job,
    padded,
    pipeline::{Pipeline, Place},
    s3::S3Process,
};

/// How long a broker may take to delete a topic.
const DELETE_WAIT_MS: i32 = 30_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    #[default]
    Local,
    S3,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "a local folder",
            Self::S3 => "an S3 server beside it",
        })
    }
}

/// A topic of ours.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub records: u64,
    pub value_bytes: u64,
}

impl Topic {
    /// Of a value.
    pub fn mean_bytes(&self) -> u64 {
        self.value_bytes.checked_div(self.records).unwrap_or_default()
    }
}

/// How a job differs from the shipped pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variation<'a> {
    pub roll_age: Option<&'a str>,
    pub model: Option<&'a str>,
    /// How many of the machine's the program may use.
    pub cores: Option<usize>,
}

pub struct Stand {
    pub address: String,
    pub broker: Broker,
    pub pipeline: Pipeline,
    compression: Compression,
    /// The broker is the built-in one, ours alone.
    embedded: Option<BrokerProcess>,
    s3: Option<Arc<S3Process>>,
    folder: TempDir,
    topics: Vec<String>,
    jobs: usize,
}

impl Stand {
    pub async fn open(args: &Args, experiment: Experiment) -> anyhow::Result<Self> {
        let (address, embedded) = match &args.broker {
            Some(address) => (address.clone(), None),
            None => BrokerProcess::start().map(|process| (process.address.clone(), Some(process)))?,
        };
        let folder = folder();
        let s3 = match args.store {
            StoreKind::S3 if experiment != Experiment::Start => {
                Some(Arc::new(S3Process::start(&made(&folder.path().join("s3"))?).await?))
            }
            StoreKind::Local | StoreKind::S3 => None,
        };
        Ok(Self {
            broker: broker_at(&address).await?,
            address,
            pipeline: args.pipeline,
            compression: args.compression,
            embedded,
            s3,
            folder,
            topics: vec![],
            jobs: 0,
        })
    }

    /// A new topic with so many records in it.
    pub async fn topic(&mut self, partitions: i32, records: u64) -> anyhow::Result<Topic> {
        let name = self.new_topic(partitions).await?;
        let source = self.pipeline.source();
        let value_bytes = send(&self.broker, &name, source, partitions, records, self.compression).await?;
        Ok(Topic { name, partitions, records, value_bytes })
    }

    /// The same, but each record has a text more, of so many bytes, that no pipeline reads.
    pub async fn padded_topic(&mut self, partitions: i32, records: u64, padding: usize) -> anyhow::Result<Topic> {
        let name = self.new_topic(partitions).await?;
        let value_bytes =
            padded::send(&self.broker, &name, self.pipeline.source(), partitions, records, padding).await?;
        Ok(Topic { name, partitions, records, value_bytes })
    }

    /// What is made in it goes when the stand does.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A pipeline file from a topic to a new lake.
    pub fn job(&mut self, topic: &Topic) -> anyhow::Result<Job> {
        self.varied_job(topic, Variation::default())
    }

    pub fn varied_job(&mut self, topic: &Topic, variation: Variation<'_>) -> anyhow::Result<Job> {
        self.jobs += 1;
        let name = format!("lake-{}", self.jobs);
        let local = self.folder.path().join(&name);
        let lake = match self.s3 {
            Some(_) => S3Process::url(&name),
            None => local.display().to_string(),
        };
        let place = Place {
            broker: &self.address,
            topic: &topic.name,
            lake: &lake,
            short_waits: self.embedded.is_some(),
            roll_age: variation.roll_age,
            model: variation.model,
        };
        let text = self.pipeline.file(&place)?;
        let file = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        let dataset = self.pipeline.name();
        Ok(Job { file, topic: topic.clone(), dataset, name, lake, local, s3: self.s3.clone(), cores: variation.cores })
    }

    async fn new_topic(&mut self, partitions: i32) -> anyhow::Result<String> {
        let name = format!("alluvium-bench-{}-{}", self.pipeline.name(), Uuid::new_v4().simple());
        self.topics.push(name.clone());
        self.broker.create_topic(&name, partitions, 1).await?;
        Ok(name)
    }

    /// Leaves the broker as it was.
    pub async fn close(self) -> anyhow::Result<()> {
        if self.embedded.is_none() && !self.topics.is_empty() {
            let controller = ClientBuilder::new(vec![self.address]).build().await?.controller_client()?;
            for topic in self.topics {
                controller.delete_topic(topic, DELETE_WAIT_MS).await?;
            }
        }
        Ok(())
    }
}

fn made(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir(folder)?;
    Ok(folder.to_owned())
}

/// The program that is measured.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_alluvium");
