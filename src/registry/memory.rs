//! What is remembered of the registry's answers, and that one question is asked once.
//!
//! Owns: the limit, and for how long an answer holds. Does not own: how it is asked for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::time::Instant;

use super::{RegistryError, UNKNOWN_FOR};
use crate::record::Schema;

#[derive(Debug)]
pub(super) struct Memory {
    entries: Mutex<HashMap<u32, Arc<Entry>>>,
    /// Counts the questions: an entry that was wanted last has the highest.
    clock: AtomicU64,
    entries_max: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// Held by whoever asks, while all others wait.
    answer: tokio::sync::Mutex<Answer>,
    wanted: AtomicU64,
    found: AtomicBool,
}

#[derive(Debug, Default)]
enum Answer {
    #[default]
    None,
    Found(Arc<Schema>),
    Unknown(Instant),
    /// Holds for those alone who were waiting when it came.
    Failed(Instant, RegistryError),
}

impl Memory {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: Mutex::default(), clock: AtomicU64::new(0), entries_max }
    }

    pub(super) fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// What is remembered, or what `ask` brings.
    pub(super) async fn get<F>(&self, id: u32, ask: impl FnOnce() -> F) -> Result<Option<Arc<Schema>>, RegistryError>
    where
        F: Future<Output = Result<Option<Arc<Schema>>, RegistryError>>,
    {
        let began = Instant::now();
        let entry = self.entry(id);
        let mut answer = entry.answer.lock().await;
        match &*answer {
            Answer::Found(schema) => return Ok(Some(schema.clone())),
            Answer::Unknown(since) if since.elapsed() < UNKNOWN_FOR => return Ok(None),
            Answer::Failed(at, error) if *at > began => return Err(error.clone()),
            Answer::None | Answer::Unknown(_) | Answer::Failed(..) => {}
        }
        let asked = ask().await;
        *answer = match &asked {
            Ok(Some(schema)) => Answer::Found(schema.clone()),
            Ok(None) => Answer::Unknown(Instant::now()),
            Err(error) => Answer::Failed(Instant::now(), error.clone()),
        };
        entry.found.store(matches!(asked, Ok(Some(_))), Ordering::Relaxed);
        asked
    }

    fn entry(&self, id: u32) -> Arc<Entry> {
        let wanted = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id).or_default().clone();
        entry.wanted.store(wanted, Ordering::Relaxed);
        if entries.len() > self.entries_max {
            forget_one(&mut entries, id);
        }
        entry
    }
}

/// Forgets what was not wanted for longest; ids that no schema has go first, so that garbage does not push schemas out.
fn forget_one(entries: &mut HashMap<u32, Arc<Entry>>, but: u32) {
    let age = |entry: &Entry| (entry.found.load(Ordering::Relaxed), entry.wanted.load(Ordering::Relaxed));
    let oldest = entries.iter().filter(|(id, _)| **id != but).min_by_key(|(_, entry)| age(entry)).map(|(id, _)| *id);
    if let Some(id) = oldest
        && entries.remove(&id).is_some_and(|entry| entry.found.load(Ordering::Relaxed))
    {
        tracing::debug!(id, "a schema was forgotten: there are more than `schemas_max`");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::record::SchemaKind;

    #[expect(clippy::unnecessary_wraps, reason = "it stands for an answer")]
    fn schema(text: &str) -> Option<Arc<Schema>> {
        Some(Arc::new(Schema { kind: SchemaKind::Avro, text: text.to_owned(), imports: vec![] }))
    }

    #[tokio::test]
    async fn many_who_want_one_id_ask_once() {
        let (memory, asked) = (Memory::new(10), AtomicUsize::new(0));
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(schema("a"))
        };
        let all = futures::future::join_all((0..50).map(|_| memory.get(7, ask))).await;
        assert!(all.iter().all(|answer| answer.as_ref().unwrap() == &schema("a")));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_share_a_failure_and_the_next_asks_again() {
        let (memory, asked) = (Memory::new(10), AtomicUsize::new(0));
        let fail = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            Err(RegistryError::transient("away"))
        };
        let all = futures::future::join_all((0..50).map(|_| memory.get(7, fail))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(memory.get(7, || async { Ok(schema("b")) }).await.unwrap(), schema("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_schema_is_believed_for_a_while() {
        let memory = Memory::new(10);
        assert_eq!(memory.get(7, || async { Ok(None) }).await.unwrap(), None);
        assert_eq!(memory.get(7, || async { Ok(schema("late")) }).await.unwrap(), None);
        tokio::time::advance(UNKNOWN_FOR).await;
        assert_eq!(memory.get(7, || async { Ok(schema("late")) }).await.unwrap(), schema("late"));
    }

    #[tokio::test]
    async fn a_flood_of_unknown_ids_pushes_no_schema_out() {
        let memory = Memory::new(4);
        memory.get(1, || async { Ok(schema("kept")) }).await.unwrap();
        for id in 100..200 {
            memory.get(id, || async { Ok(None) }).await.unwrap();
        }
        assert_eq!(memory.entries.lock().unwrap().len(), 4);
        assert_eq!(memory.get(1, || async { Ok(None) }).await.unwrap(), schema("kept"));
    }

    #[tokio::test]
    async fn of_too_many_schemas_the_one_not_wanted_for_longest_is_forgotten() {
        let memory = Memory::new(2);
        for id in [1, 2, 1, 3] {
            memory.get(id, || async { Ok(schema(&id.to_string())) }).await.unwrap();
        }
        assert_eq!(memory.get(1, || async { Ok(None) }).await.unwrap(), schema("1"));
        assert_eq!(memory.get(2, || async { Ok(None) }).await.unwrap(), None, "asked for again");
    }
}
