//! `alluvium broker`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Broker {}

impl Broker {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium broker` is not built yet")
    }
}
