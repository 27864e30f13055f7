//! `alluvium demo`

use clap::Args;

use super::Exit;

/// Not in this commit yet.
#[derive(Debug, Args)]
pub struct Demo {}

impl Demo {
    pub async fn run(self) -> anyhow::Result<Exit> {
        anyhow::bail!("`alluvium demo` is not built yet")
    }
}
