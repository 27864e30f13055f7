//! Where "the latest" was, when a dataset was begun with it.
//!
//! Invariant: decided once for a generation, by whoever comes first. A worker that comes later must not take its own now
//! for it: what lies between would be in nobody's share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{LakeError, Store, claim::FORMAT, ledger, names};

/// Where each partition ended. One that is not named came later, and is read from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub format: u32,
    pub ends: BTreeMap<i32, i64>,
    pub writer: String,
    pub created: DateTime<Utc>,
}

impl Store {
    pub async fn origin(&self, dataset: &str, generation: u32) -> Result<Option<Origin>, LakeError> {
        let path = names::origin(dataset, generation);
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        ledger::parse(&bytes).map(Some).map_err(|reason| LakeError::Corrupt { path, reason })
    }

    /// Begins the generation here, unless somebody has: then theirs holds.
    pub async fn begin_at(
        &self,
        dataset: &str,
        generation: u32,
        ends: BTreeMap<i32, i64>,
        writer: &str,
    ) -> Result<Origin, LakeError> {
        let path = names::origin(dataset, generation);
        let origin = Origin { format: FORMAT, ends, writer: writer.into(), created: Utc::now() };
        let created = self.create(&path, ledger::to_json(&origin, &path)?).await;
        match (self.origin(dataset, generation).await?, created) {
            (Some(standing), _) => Ok(standing),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(LakeError::Corrupt { path, reason: "was created and can't be found".into() }),
        }
    }
}

/// Begins the datasets of topics that come while a stream runs: the stream reads them from their beginning, and so must
/// every worker that comes after it.
#[derive(Debug)]
pub struct LateOrigins {
    store: Store,
    generation: u32,
    writer: Arc<str>,
    begun: BTreeSet<Arc<str>>,
}

impl LateOrigins {
    #[must_use]
    pub fn new(store: Store, generation: u32, writer: Arc<str>) -> Self {
        Self { store, generation, writer, begun: BTreeSet::new() }
    }

    pub async fn begin(&mut self, dataset: &Arc<str>) -> Result<(), LakeError> {
        if !self.begun.contains(dataset) {
            self.store.begin_at(dataset, self.generation, BTreeMap::new(), &self.writer).await?;
            self.begun.insert(dataset.clone());
        }
        Ok(())
    }
}
