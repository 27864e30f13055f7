//! `alluvium produce`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Produce {}

impl Produce {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium produce` is not built yet")
    }
}
