//! `alluvium stream`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Stream {}

impl Stream {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium stream` is not built yet")
    }
}
