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
    /// Where clients are told to come to, if a proxy or a forwarded port stands between
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<String>,
    /// Keep topics and records in this file; without it they are gone when the broker stops.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl Broker {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        use crate::broker::{EmbeddedBroker, EmbeddedStorage};

        let listen = self.address().await?;
        let storage = self.file.map_or(EmbeddedStorage::Memory, EmbeddedStorage::File);
        let broker = EmbeddedBroker::start_behind(listen, self.advertise.as_deref(), storage).await?;
        let address = broker.address();
        println!("listening on {address}");
        let reached_at = self.advertise.unwrap_or_else(|| address.to_string());
        println!("try: alluvium produce --brokers {reached_at} --topic iris --source iris --partitions 4");
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

fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) { Ok(text.to_owned()) } else { Err("write it as HOST:PORT".into()) }
}
