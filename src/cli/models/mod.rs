//! `alluvium models`: the versions of a model, and which of them is in use.
//!
//! Owns: what is asked, and how the answers are shown. Does not own: the answers; [`crate::model::Registry`] gives them.

mod champion;
mod compare;
mod list;
mod show;
mod verify;

use clap::{Args, Subcommand};

use super::{Exit, model_spec::ModelSpec};
use crate::model::{ModelError, Registry};

/// The versions of a model: list, show, compare, promote, roll back, verify
///
/// MODEL is a folder, such as models/iris, or a URL that begins with s3:// and names a bucket and a prefix. A version is
/// named with it, models/iris@3; without one the champion is meant, which is the version that pipelines use unless they
/// name another.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium models list models/iris\n  alluvium models compare models/iris@1 models/iris@2 data.csv\n  \
                  alluvium models promote models/iris@2\n  alluvium models rollback models/iris"
)]
pub(super) struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Show(show::Show),
    Compare(compare::Compare),
    Promote(champion::Promote),
    Rollback(champion::Rollback),
    Verify(verify::Verify),
}

impl Models {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        match self.action {
            Action::List(action) => action.run().await,
            Action::Show(action) => action.run().await,
            Action::Compare(action) => action.run().await,
            Action::Promote(action) => action.run().await,
            Action::Rollback(action) => action.run().await,
            Action::Verify(action) => action.run().await,
        }
    }
}

/// The place of a model, and the version that is meant.
async fn opened(spec: &ModelSpec) -> Result<(Registry, u32), ModelError> {
    let registry = Registry::open(&spec.name)?;
    let version = match spec.version {
        Some(version) => version,
        None => registry.champion().await?,
    };
    Ok((registry, version))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Enough of a digest for a person to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
