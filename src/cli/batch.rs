//! `alluvium batch`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Batch {}

impl Batch {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium batch` is not built yet")
    }
}
