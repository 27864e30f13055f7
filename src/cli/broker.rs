//! `alluvium broker`: the embedded broker alone.

use std::path::PathBuf;

use clap::Args;

use super::Exit;

/// Run the embedded broker until Ctrl-C, for trying things out.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  alluvium broker --listen 127.0.0.1:9092 --file broker.db
  alluvium produce --brokers 127.0.0.1:9092 --topic iris --source iris --partitions 4

Clients that speak Kafka's protocol can use it: current librdkafka and Java clients do. It is no broker for production.")]
pub(super) struct Broker {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Keep topics and records in this file; without it they are gone when the broker stops.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl Broker {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        use crate::broker::{EmbeddedBroker, EmbeddedStorage};

        let listen = self.address().await?;
        let storage = self.file.map_or(EmbeddedStorage::Memory, EmbeddedStorage::File);
        let broker = EmbeddedBroker::start(listen, storage).await?;
        let address = broker.address();
        println!("listening on {address}");
        println!("try: alluvium produce --brokers {address} --topic iris --source iris --partitions 4");
        super::run::Signals::new()?.next().await;
        broker.stop().await;
        Ok(Exit::Done)
    }

    async fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        let wrong = |cause: &str| super::Usage(format!("--listen {}: {cause}; write it as HOST:PORT", self.listen));
        let mut found = tokio::net::lookup_host(&self.listen).await.map_err(|error| wrong(&error.to_string()))?;
        Ok(found.next().ok_or_else(|| wrong("no address has that name"))?)
    }
}
