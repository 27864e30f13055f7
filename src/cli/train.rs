//! `alluvium train`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Train {}

impl Train {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium train` is not built yet")
    }
}
