//! `alluvium models promote` and `alluvium models rollback`

use clap::Args;
use serde::Serialize;

use super::opened;
use crate::{
    cli::{Exit, Usage, model_spec::ModelSpec},
    model::{Champion, Changes, Registry, Verified},
    telemetry::chain,
};

/// Make a version the champion, which pipelines use
///
/// The version is verified first, and a broken one is refused. If a pipeline that runs the present champion would have to
/// be changed for it (another field, another kind, other classes), that is told and nothing is promoted. A running stream
/// takes the new champion by itself.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium models promote models/iris@2")]
pub(super) struct Promote {
    /// The version to promote
    #[arg(value_name = "MODEL@VERSION")]
    model: ModelSpec,
    /// Promote even if pipelines must be changed for it
    #[arg(long)]
    anyway: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Go back to the champion before
///
/// The champions of the past stand in the model's `champion` file. The version is verified before it is used again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium models rollback models/iris")]
pub(super) struct Rollback {
    /// The model's folder or URL
    #[arg(value_name = "MODEL")]
    model: ModelSpec,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    model: &'a str,
    champion: Option<u32>,
    before: Option<u32>,
    promoted: bool,
    #[serde(flatten)]
    changes: &'a Changes,
    verified: &'a Verified,
}

impl Promote {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let Some(version) = self.model.version else {
            let name = &self.model.name;
            return Err(
                Usage(format!("say which version: {name}@VERSION; `alluvium models list {name}` has them")).into()
            );
        };
        let registry = Registry::open(&self.model.name)?;
        let verified = registry.verify(version).await?;
        let before = registry.champions().await?.first().map(|champion| champion.version);
        let changes = changes(&registry, before, version).await?;
        let fits = changes.needed.is_empty() || self.anyway;
        let promoted = fits && registry.name_champion(version).await?;
        let champion = if fits { Some(version) } else { before };
        let outcome =
            Outcome { model: registry.name(), champion, before, promoted, changes: &changes, verified: &verified };
        self.tell(&outcome, version)?;
        Ok(if fits { Exit::Done } else { Exit::Failed })
    }

    fn tell(&self, outcome: &Outcome<'_>, version: u32) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(outcome)?);
            return Ok(());
        }
        let (model, Changes { needed, notes }) = (outcome.model, outcome.changes);
        for told in needed {
            eprintln!("change: {told}");
        }
        for told in notes {
            eprintln!("note: {told}");
        }
        match outcome.before {
            _ if !needed.is_empty() && !self.anyway => {
                eprintln!(
                    "error: {model}@{version} was not promoted, because a pipeline must be changed for it first;"
                );
                eprintln!("  change the pipeline file, try it with `version = {version}`, then promote with --anyway");
            }
            Some(before) if before == version => println!("{model}@{version} is the champion already"),
            Some(before) => println!("{model}@{version} is the champion now; it was {model}@{before}"),
            None => println!("{model}@{version} is the champion now; there was none"),
        }
        Ok(())
    }
}

/// A champion that can't be read can't be compared with, and is a reason the more to promote another.
async fn changes(registry: &Registry, before: Option<u32>, version: u32) -> anyhow::Result<Changes> {
    let Some(before) = before.filter(|before| *before != version) else { return Ok(Changes::default()) };
    let new = registry.about(version).await?;
    Ok(match registry.about(before).await {
        Ok(old) => Changes::between(&old.manifest, &new.manifest),
        Err(error) => {
            let told = format!("the champion so far can't be compared with: {}", chain(&error));
            Changes { notes: vec![told], ..Changes::default() }
        }
    })
}

impl Rollback {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        if self.model.version.is_some() {
            let name = &self.model.name;
            return Err(Usage(format!(
                "a rollback goes to the champion before; to name a version, alluvium models promote {name}@VERSION"
            ))
            .into());
        }
        let (registry, present) = opened(&self.model).await?;
        let champions = registry.champions().await?;
        let [_, Champion { version, .. }, ..] = champions.as_slice() else {
            anyhow::bail!(
                "{}: no champion before {present} is recorded; promote a version by its number",
                self.model.name
            );
        };
        let verified = registry.verify(*version).await?;
        let changes = changes(&registry, Some(present), *version).await?;
        if !registry.unname_champion(present).await? {
            anyhow::bail!("{}: the champion was changed by another meanwhile; look, and try again", self.model.name);
        }
        let name = registry.name();
        if self.json {
            let (champion, before) = (Some(*version), Some(present));
            let outcome =
                Outcome { model: name, champion, before, promoted: true, changes: &changes, verified: &verified };
            println!("{}", serde_json::to_string_pretty(&outcome)?);
            return Ok(Exit::Done);
        }
        for told in &changes.needed {
            eprintln!("change: {told}");
        }
        println!("{name}@{version} is the champion again; it was {name}@{present}");
        Ok(Exit::Done)
    }
}
