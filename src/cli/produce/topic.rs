//! The topic that records go to: made if asked for, and held against what was asked for if it is there.

use anyhow::Context;
use clap::Args;

use super::Usage;
use crate::broker::Broker;

#[derive(Debug, Args)]
pub(super) struct Topic {
    /// The brokers to begin with; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required_unless_present = "show_schema")]
    pub(super) brokers: Vec<String>,
    #[arg(id = "topic", long, value_name = "TOPIC", required_unless_present = "show_schema")]
    name: Option<String>,
    /// Create the topic with so many partitions; one that is there must have as many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many brokers keep each partition of a topic that is created; one that is there must be kept by as many
    /// [default: 1 for a topic that is created]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication: Option<i16>,
}

impl Topic {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The topic's partitions.
    pub(super) async fn open(&self, broker: &Broker) -> anyhow::Result<Vec<i32>> {
        let created = match self.partitions {
            Some(partitions) => self.create(broker, self.name(), partitions).await?,
            None => false,
        };
        let found = match broker.partitions(self.name()).await {
            Err(error) if error.unknown_topic() => Err(error).context("add --partitions N to create the topic"),
            outcome => Ok(outcome?),
        }?;
        if !created {
            self.check(broker, found.len()).await?;
        }
        Ok(found)
    }

    /// The topic of that name with as many partitions; made if it is not there.
    pub(super) async fn open_beside(&self, broker: &Broker, name: &str, partitions: usize) -> anyhow::Result<()> {
        self.create(broker, name, i32::try_from(partitions)?).await?;
        let found = broker.partitions(name).await?.len();
        if found == partitions {
            return Ok(());
        }
        let fault = format!(
            "--truth: the topic `{name}` is there, with {found} partitions, and `{}` has {partitions}. Truths go where their \
             records go: delete it, or name another topic",
            self.name()
        );
        Err(Usage(fault).into())
    }

    async fn create(&self, broker: &Broker, name: &str, partitions: i32) -> anyhow::Result<bool> {
        Ok(broker.create_topic(name, partitions, self.replication.unwrap_or(1)).await?)
    }

    async fn check(&self, broker: &Broker, found: usize) -> anyhow::Result<()> {
        let name = self.name();
        if let Some(wanted) = self.partitions
            && usize::try_from(wanted) != Ok(found)
        {
            let fault = format!(
                "--partitions {wanted}: the topic `{name}` is there, with {found}. Leave the option out to send to it as it \
                 is, or name another topic"
            );
            return Err(Usage(fault).into());
        }
        let Some(wanted) = self.replication else { return Ok(()) };
        let found = broker.replication(name).await?;
        if usize::try_from(wanted) == Ok(found) {
            return Ok(());
        }
        let fault = format!(
            "--replication {wanted}: the topic `{name}` is there, and kept by {found}. Leave the option out to send to it as \
             it is, or name another topic"
        );
        Err(Usage(fault).into())
    }
}
