//! The schemas that a batch's records were written by, gathered before it is decoded.
//!
//! Owns: that each schema is worked out once for a decoder. Does not own: what the registry's answers mean
//! ([`crate::registry`]), nor what a schema means ([`crate::decode`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    decode::{Decoder, Learnt, Schemas},
    record::Record,
    registry::{Registry, RegistryError},
};

/// Schemas of one batch that are asked for side by side.
const ASKED_AT_ONCE: usize = 8;

/// Where the schemas come from, and those that were worked out already for one decoder.
#[derive(Debug, Default)]
pub struct Writers {
    registry: Option<Arc<Registry>>,
    /// As many as the registry's memory holds; then all are forgotten, and worked out anew from what that remembers.
    learnt: Mutex<HashMap<u32, Arc<Learnt>>>,
}

impl Writers {
    #[must_use]
    pub fn new(registry: Option<Arc<Registry>>) -> Self {
        Self { registry, learnt: Mutex::default() }
    }

    /// All that these records name and the registry knows. An id that it does not know is left out, and its records are
    /// rejects; a registry that does not answer is an error.
    pub async fn of(&self, decoder: &Decoder, records: &[Record]) -> Result<Schemas, RegistryError> {
        let wanted = decoder.wanted(records);
        let Some(registry) = self.registry.as_deref().filter(|_| !wanted.is_empty()) else {
            return Ok(Schemas::default());
        };
        let (mut schemas, missing) = self.known(&wanted);
        let asked = stream::iter(missing).map(|id| async move { Ok((id, registry.schema(id).await?)) });
        let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
        for (id, schema) in answers {
            if let Some(schema) = schema {
                schemas.insert(id, self.remember(id, Arc::new(decoder.learn(&schema)), registry.schemas_max()));
            }
        }
        Ok(schemas)
    }

    fn known(&self, wanted: &BTreeSet<u32>) -> (Schemas, Vec<u32>) {
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut schemas, mut missing) = (Schemas::default(), Vec::new());
        for id in wanted {
            match learnt.get(id) {
                Some(known) => schemas.insert(*id, known.clone()),
                None => missing.push(*id),
            }
        }
        (schemas, missing)
    }

    fn remember(&self, id: u32, schema: Arc<Learnt>, learnt_max: usize) -> Arc<Learnt> {
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.len() >= learnt_max {
            learnt.clear();
        }
        learnt.insert(id, schema.clone());
        schema
    }
}
