//! `alluvium check`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Check {}

impl Check {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium check` is not built yet")
    }
}
