//! A topic of the broker that gets results or rejects, each at least once.
//!
//! Owns: which topic, which partition of it, and how much is on its way. Does not own: what a record holds
//! ([`super::message`], [`super::letter`]). Invariant: the position is kept after the broker has acknowledged all below it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use object_store::path::Path;
use tokio::sync::Mutex;

use super::{
    Mark, OutletError, RejectedSettings, ResultFormat, ResultsSettings, Source,
    avro::{self, Framing, Writer},
    letter,
    message::{self, Outgoing, Results},
    position,
};
use crate::{
    broker::{self, Broker, Compression, Partition},
    lake::{LakeError, Store, names},
    record::{Record, SchemaKind},
    registry::Registry,
};

/// Where the source topic's name stands in a name.
pub(super) const TOPIC: &str = "{topic}";
/// What one request holds, so that it stays below what brokers take; a larger record goes alone.
const REQUEST_BYTES_MAX: usize = 512 << 10;
/// Partitions of the topic that are sent to at once, for each claim on its way.
const PARTITIONS_AT_ONCE: usize = 8;
/// As many copies as the broker makes by itself.
const REPLICATION_OF_THE_BROKER: i16 = -1;

/// What the file says of the topic; perhaps with the source's name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicName(String);

impl TopicName {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    #[must_use]
    pub fn of(&self, source: &str) -> String {
        self.0.replace(TOPIC, source)
    }

    /// Whether it follows from the source's name.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.0.contains(TOPIC)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One outlet's topics.
#[derive(Debug)]
pub struct Topic {
    outlet: &'static str,
    name: TopicName,
    broker: Broker,
    content: Content,
    opened: Mutex<BTreeMap<String, Arc<Vec<Partition>>>>,
    writers: Mutex<BTreeMap<String, Arc<Writer>>>,
}

#[derive(Debug)]
enum Content {
    Results { results: Results, format: ResultFormat, columns: SchemaRef, registry: Option<Arc<Registry>> },
    Letters,
}

/// Records on their way to a topic.
pub(super) struct Load<'a> {
    topic: &'a Topic,
    store: &'a Store,
    path: Path,
    partitions: Option<Arc<Vec<Partition>>>,
    sent: u64,
}

impl Topic {
    /// `columns` are those of `scored`, `event` the column of the event time.
    #[must_use]
    pub fn of_results(
        settings: &ResultsSettings,
        broker: Broker,
        columns: SchemaRef,
        event: Option<String>,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        let results = Results { condition: settings.condition.clone(), event };
        let content = Content::Results { results, format: settings.format, columns, registry };
        Self::new("results", settings.topic.clone(), broker, content)
    }

    #[must_use]
    pub fn of_rejects(settings: &RejectedSettings, broker: Broker) -> Self {
        Self::new("rejected", settings.topic.clone(), broker, Content::Letters)
    }

    fn new(outlet: &'static str, name: TopicName, broker: Broker, content: Content) -> Self {
        let (opened, writers) = (Mutex::default(), Mutex::default());
        Self { outlet, name, broker, content, opened, writers }
    }

    /// What this would do with a source topic, if it were asked to; changes nothing.
    pub async fn look(&self, source: &str) -> Result<String, OutletError> {
        let name = self.name.of(source);
        match self.broker.partitions(&name).await {
            Ok(partitions) => Ok(format!("{name} has {} partitions", partitions.len())),
            Err(error) if error.unknown_topic() => {
                let partitions = self.broker.partitions(source).await?.len();
                Ok(format!("{name} is not there yet; the first record makes it, with {partitions} partitions"))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn mark(&self, store: &Store, source: &Source) -> Result<Mark, OutletError> {
        position::read(store, &self.path(source), source).await
    }

    #[expect(clippy::unused_async, reason = "as for a table")]
    pub(super) async fn begin<'a>(&'a self, store: &'a Store, source: &Source) -> Result<Load<'a>, OutletError> {
        Ok(Load { topic: self, store, path: self.path(source), partitions: None, sent: 0 })
    }

    fn path(&self, source: &Source) -> Path {
        names::outlet(self.outlet, &self.name.of(&source.topic), &source.id)
    }

    pub(super) async fn has_begun(&self, store: &Store, source: &Source) -> Result<bool, OutletError> {
        Ok(store.has(&self.path(source)).await?)
    }

    pub(super) async fn revisions(&self, store: &Store, source: &Source) -> Result<BTreeSet<(i64, u32)>, OutletError> {
        position::revisions(store, &self.revisions_folder(source)).await
    }

    fn revisions_folder(&self, source: &Source) -> Path {
        names::outlet_revisions(self.outlet, &self.name.of(&source.topic), &source.id)
    }

    async fn records(&self, store: &Store, source: &Source, rows: &RecordBatch) -> Result<Vec<Outgoing>, OutletError> {
        match &self.content {
            Content::Letters => letter::records(source, rows).ok_or_else(|| {
                let reason = "rejects with columns of an unknown type".to_owned();
                LakeError::Corrupt { path: names::data(crate::lake::FileKind::Rejected, &source.id.dataset), reason }
                    .into()
            }),
            Content::Results { results, format, columns, registry } => {
                let failed = |source| OutletError::Encode { what: "results", source };
                let rows = results.select(rows).map_err(failed)?;
                if rows.num_rows() == 0 {
                    return Ok(vec![]);
                }
                let writer = match format {
                    ResultFormat::Json => None,
                    ResultFormat::Avro => Some(self.writer(store, source, columns, registry.as_deref()).await?),
                };
                let values = message::values(&rows, writer.as_deref())?;
                results.records(source, &rows, values).map_err(failed)
            }
        }
    }

    /// The dataset's Avro writer, whose schema readers can find: in the registry, or else in the lake.
    async fn writer(
        &self,
        store: &Store,
        source: &Source,
        columns: &SchemaRef,
        registry: Option<&Registry>,
    ) -> Result<Arc<Writer>, OutletError> {
        let (dataset, topic) = (&source.id.dataset, self.name.of(&source.topic));
        let mut writers = self.writers.lock().await;
        if let Some(writer) = writers.get(&**dataset) {
            return Ok(writer.clone());
        }
        let columns = message::value_columns(columns);
        let (schema, fingerprint) = avro::schema(&columns, dataset)?;
        let framing = if let Some(registry) = registry {
            let subject = format!("{topic}-value");
            Framing::Registered(registry.register(&subject, SchemaKind::Avro, &schema, &[]).await?)
        } else {
            let named = format!("{fingerprint:016x}");
            store.write(&names::outlet_schema(dataset, self.outlet, &topic, &named), schema.into()).await?;
            Framing::Single(fingerprint)
        };
        let writer = Arc::new(Writer::new(&columns, framing));
        writers.insert(dataset.to_string(), writer.clone());
        Ok(writer)
    }

    /// The topic's partitions, made like the source's if there is no such topic.
    async fn open(&self, source: &str) -> Result<Arc<Vec<Partition>>, OutletError> {
        let name = self.name.of(source);
        let mut opened = self.opened.lock().await;
        if let Some(partitions) = opened.get(&name) {
            return Ok(partitions.clone());
        }
        let numbers = match self.broker.partitions(&name).await {
            Err(error) if error.unknown_topic() => {
                self.make(&name, source).await?;
                self.broker.partitions(&name).await?
            }
            numbers => numbers?,
        };
        let opening: Vec<_> = numbers.iter().map(|number| self.broker.partition(&name, *number).boxed()).collect();
        let opened_now: Vec<Partition> = stream::iter(opening).buffered(PARTITIONS_AT_ONCE).try_collect().await?;
        let partitions = Arc::new(opened_now);
        opened.insert(name, Arc::clone(&partitions));
        Ok(partitions)
    }

    async fn make(&self, name: &str, source: &str) -> Result<(), OutletError> {
        let like = self.broker.partitions(source).await?.len();
        let partitions = i32::try_from(like).unwrap_or(i32::MAX);
        if self.broker.create_topic(name, partitions, REPLICATION_OF_THE_BROKER).await? {
            tracing::info!(topic = name, partitions, outlet = self.outlet, "was not there, and was made");
        }
        Ok(())
    }

    /// The next to send finds its partitions anew: there may be more, or none.
    async fn forget(&self, source: &str) {
        self.opened.lock().await.remove(&self.name.of(source));
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}", self.name)
    }
}

impl Load<'_> {
    pub(super) async fn add(&mut self, source: &Source, rows: &RecordBatch) -> Result<(), OutletError> {
        let records = self.topic.records(self.store, source, rows).await?;
        if records.is_empty() {
            return Ok(());
        }
        let sent = records.len() as u64;
        if let Err(error) = self.send(source, records).await {
            self.topic.forget(&source.topic).await;
            return Err(error);
        }
        self.sent += sent;
        Ok(())
    }

    async fn send(&mut self, source: &Source, records: Vec<Outgoing>) -> Result<(), OutletError> {
        let partitions = match &self.partitions {
            Some(partitions) => partitions.clone(),
            None => self.partitions.insert(self.topic.open(&source.topic).await?).clone(),
        };
        let mut parts: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
        let now_ms = chrono::Utc::now().timestamp_millis();
        for Outgoing { came_from, record } in records {
            // Without a key by where it came from, so that these stay in their order.
            let otherwise = came_from.unsigned_abs() as usize;
            let to = broker::partition(record.key.as_deref(), otherwise, partitions.len());
            parts.entry(to).or_default().push(Record { timestamp_ms: now_ms, ..record });
        }
        let parts = parts.into_iter().filter_map(|(to, records)| Some(produce(partitions.get(to)?, records)));
        let sending: Vec<BoxFuture<'_, Result<(), OutletError>>> = parts.collect();
        stream::iter(sending).buffer_unordered(PARTITIONS_AT_ONCE).try_collect().await
    }

    pub(super) async fn end(self, source: &Source, to: Mark) -> Result<u64, OutletError> {
        position::write(self.store, &self.path, source, to).await?;
        Ok(self.sent)
    }

    /// Marks the revision whose rows these were.
    pub(super) async fn end_revision(self, source: &Source, place: (i64, u32)) -> Result<u64, OutletError> {
        let folder = self.topic.revisions_folder(source);
        position::mark_revision(self.store, &folder, source, place).await?;
        Ok(self.sent)
    }
}

/// One request after the other, so that they stay in their order.
fn produce(partition: &Partition, records: Vec<Record>) -> BoxFuture<'_, Result<(), OutletError>> {
    let sending = async move {
        for request in requests(records) {
            partition.produce(request, Compression::Lz4).await?;
        }
        Ok(())
    };
    sending.boxed()
}

/// In their order, as much at once as a request should hold.
fn requests(records: Vec<Record>) -> Vec<Vec<Record>> {
    let (mut requests, mut bytes): (Vec<Vec<Record>>, usize) = (vec![], usize::MAX);
    for record in records {
        let size = size(&record);
        if let Some(request) = requests.last_mut().filter(|_| bytes.saturating_add(size) <= REQUEST_BYTES_MAX) {
            request.push(record);
            bytes += size;
        } else {
            requests.push(vec![record]);
            bytes = size;
        }
    }
    requests
}

/// About what it takes on the wire.
fn size(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    let body = record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
    body + headers + 24
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> Record {
        Record { value: Some(vec![0; bytes]), ..Record::default() }
    }

    #[test]
    fn a_request_stays_small_and_a_large_record_goes_alone() {
        let records = vec![record(400 << 10), record(100 << 10), record(600 << 10), record(1), record(2)];
        let sizes: Vec<Vec<usize>> = requests(records)
            .iter()
            .map(|request| request.iter().map(|record| record.value.as_ref().unwrap().len()).collect())
            .collect();
        assert_eq!(sizes, [vec![400 << 10, 100 << 10], vec![600 << 10], vec![1, 2]]);
    }

    #[test]
    fn a_topic_may_be_named_after_its_source() {
        assert_eq!(TopicName::new("{topic}.rejected").of("cards"), "cards.rejected");
        assert!(!TopicName::new("alerts").follows());
    }
}
