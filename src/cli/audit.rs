//! `alluvium audit`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Audit {}

impl Audit {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium audit` is not built yet")
    }
}
