//! A schema registry: which schema an id in a record stands for.
//!
//! Owns: Confluent's REST API as Redpanda, Confluent, karapace and Apicurio's `ccompat` speak it, what is remembered of the
//! answers, and what a failure means. Does not own: what a schema says; to it a schema is a text.
//!
//! An id means the same schema for ever, so an answer is kept until there is no room. "There is no such schema" is kept
//! for [`UNKNOWN_FOR`]. However many lanes want the same id, it is asked for once.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use self::{
    answers::{RegisteredAnswer, SchemaAnswer, SubjectAnswer},
    client::Client,
    memory::Memory,
};
use crate::record::{Import, Schema, SchemaKind};

mod answers;
mod client;
mod error;
mod memory;
#[cfg(test)]
mod tests;

pub use self::error::{RegistryError, RegistryErrorKind};
pub use crate::secret::Secret;

/// How long it is believed that there is no schema of an id.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Schemas that one schema may import, those that they import among them.
const IMPORTS_MAX: usize = 200;

/// Where the registry is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Asked one after the other until one answers; a path in them is kept.
    pub urls: Vec<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// A file of certificates in PEM that are trusted in place of the system's.
    pub ca: Option<PathBuf>,
    /// For one answer.
    pub timeout: Duration,
    /// Schemas that are remembered; beyond, the one that was not wanted for longest is forgotten, and asked for again.
    pub schemas_max: usize,
}

/// A version of a subject that a schema imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: u32,
}

/// The newest schema of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    pub id: u32,
    pub version: u32,
    pub schema: Arc<Schema>,
}

/// A connection to a registry, and its memory.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    schemas: Memory,
}

impl Registry {
    /// Nothing is asked yet; fails if the certificates or a URL can't be used.
    pub fn open(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        Ok(Self { client: Client::new(settings)?, schemas: Memory::new(settings.schemas_max) })
    }

    /// Whether it can be reached, and takes the credentials.
    pub async fn reach(&self) -> Result<(), RegistryError> {
        self.client.get::<serde::de::IgnoredAny>(&["schemas", "types"]).await.map(drop)
    }

    /// The schema of an id; `None` if the registry says that there is none.
    pub async fn schema(&self, id: u32) -> Result<Option<Arc<Schema>>, RegistryError> {
        self.schemas.get(id, || self.ask(id)).await
    }

    /// The newest schema of a subject; `None` if there is none.
    pub async fn latest(&self, subject: &str) -> Result<Option<Latest>, RegistryError> {
        let Some(SubjectAnswer { id, version, schema }) =
            self.client.get(&["subjects", subject, "versions", "latest"]).await?
        else {
            return Ok(None);
        };
        Ok(Some(Latest { id, version, schema: Arc::new(self.whole(schema).await?) }))
    }

    /// The id of a schema of a subject, which is made known under it if it is not yet.
    pub async fn register(
        &self,
        subject: &str,
        kind: SchemaKind,
        text: &str,
        references: &[Reference],
    ) -> Result<u32, RegistryError> {
        let body = SchemaAnswer::new(kind, text, references);
        let RegisteredAnswer { id } = self.client.post(&["subjects", subject, "versions"], &body).await?;
        Ok(id)
    }

    /// How many schemas are remembered.
    #[must_use]
    pub fn schemas_max(&self) -> usize {
        self.schemas.entries_max()
    }

    async fn ask(&self, id: u32) -> Result<Option<Arc<Schema>>, RegistryError> {
        let Some(answer) = self.client.get::<SchemaAnswer>(&["schemas", "ids", &id.to_string()]).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(self.whole(answer).await?)))
    }

    async fn whole(&self, answer: SchemaAnswer) -> Result<Schema, RegistryError> {
        let kind = answer.kind()?;
        Ok(Schema { kind, text: answer.schema, imports: self.imports(answer.references).await? })
    }

    /// What is behind the references, each once, those that others need first. The walk keeps its own stack: how deep
    /// imports go is not ours to say.
    async fn imports(&self, references: Vec<Reference>) -> Result<Vec<Import>, RegistryError> {
        let mut imports = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting: Vec<Step> = references.into_iter().rev().map(Step::Ask).collect();
        while let Some(step) = waiting.pop() {
            let reference = match step {
                Step::Ask(reference) => reference,
                Step::Done(import) => {
                    imports.push(import);
                    continue;
                }
            };
            if !seen.insert(reference.clone()) {
                continue;
            }
            if seen.len() > IMPORTS_MAX {
                return Err(RegistryError::person(format!("a schema imports more than {IMPORTS_MAX} others")));
            }
            let SchemaAnswer { schema: text, references, .. } = self.referenced(&reference).await?;
            waiting.push(Step::Done(Import { name: reference.name, text }));
            waiting.extend(references.into_iter().rev().map(Step::Ask));
        }
        Ok(imports)
    }

    async fn referenced(
        &self,
        Reference { name, subject, version }: &Reference,
    ) -> Result<SchemaAnswer, RegistryError> {
        let answer: Option<SubjectAnswer> =
            self.client.get(&["subjects", subject, "versions", &version.to_string()]).await?;
        let missing =
            || format!("a schema imports {name:?}, and there is no version {version} of the subject {subject:?}");
        answer.map(|answer| answer.schema).ok_or_else(|| RegistryError::person(missing()))
    }
}

enum Step {
    Ask(Reference),
    /// All that it needs stands before it.
    Done(Import),
}
