//! A table of PostgreSQL that gets every row once.
//!
//! A transaction copies a slice of a claim's rows, moves the partition's position from where this worker believes it to be,
//! and commits. If another worker has moved it, nothing is written, and this one goes on behind it. The position is moved
//! last: so nobody waits for a worker that stands still in the middle of its rows.
//!
//! Owns: the transaction, and the position in it. Does not own: connections ([`connect`]), what the table must look like
//! ([`table`]), the bytes ([`copy`]).

mod connect;
mod copy;
mod names;
mod revisions;
mod table;

use std::{fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::{Client, CopyInSink, types::ToSql};

pub(super) use self::names::DATASET;
pub use self::{connect::check_url, names::TableName};
use self::{
    connect::{Connections, within},
    copy::Plan,
    names::Quoted,
};
use super::{Mark, OutletError, Secret, Source};
use crate::lake::hold;

/// Bytes of rows that are gathered before they are sent on.
const CHUNK_BYTES: usize = 256 << 10;
/// A name of PostgreSQL's, in bytes; it would cut a longer one short without a word.
pub const NAME_BYTES_MAX: usize = 63;

/// `[postgres]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    pub url: Secret,
    pub table: TableName,
    /// Certificates that the server's must be signed by, in place of the system's.
    pub ca: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub answer_timeout: Duration,
}

/// What the tables of one pipeline have in common.
#[derive(Debug)]
pub struct Table {
    name: TableName,
    /// Of the rows that the model of now makes.
    columns: SchemaRef,
    connections: Connections,
}

/// A transaction on its way. Dropped before its end, it was never there.
pub(super) struct Load<'a> {
    table: &'a Table,
    client: Client,
    to: Quoted,
    copying: Option<Copying>,
    buffer: BytesMut,
    rows: u64,
    altered: u64,
}

/// A `COPY` of rows that have the same columns.
struct Copying {
    schema: SchemaRef,
    plan: Plan,
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

impl Table {
    /// `columns` are those of `scored`. Nothing is asked of the server yet.
    pub fn new(settings: &PostgresSettings, columns: SchemaRef) -> Result<Self, OutletError> {
        Ok(Self { name: settings.table.clone(), columns, connections: Connections::new(settings)? })
    }

    /// What this would do with a dataset's table, if it were asked to; changes nothing.
    pub async fn look(&self, dataset: &str) -> Result<String, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(dataset)?;
        table::look(&client, &to, &self.columns, &self.connections).await
    }

    /// Where to go on, by the server's word. Makes what is missing, and checks what is there.
    pub(super) async fn mark(&self, source: &Source) -> Result<Mark, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(&source.id.dataset)?;
        table::prepare(&client, &to, &self.columns, &self.connections).await?;
        let mark = self.read_mark(&client, &to, source).await?;
        self.connections.give_back(client);
        Ok(mark)
    }

    /// Read first, as an insert would wait for whoever is about to move the position.
    async fn read_mark(&self, client: &Client, to: &Quoted, source: &Source) -> Result<Mark, OutletError> {
        let positions = to.positions();
        let key = Key::of(to, source);
        let select = format!("SELECT begun_by, claim, position FROM {positions} WHERE {KEY}");
        let of_key: [&(dyn ToSql + Sync); 4] = [&key.target, &key.dataset, &key.generation, &key.partition];
        let found = within(&self.connections, "read the position", client.query_opt(&*select, &of_key)).await?;
        let row = if let Some(row) = found {
            row
        } else {
            self.begin_mark(client, to, source).await?;
            within(&self.connections, "read the position", client.query_one(&*select, &of_key)).await?
        };
        let (begun_by, claim, position): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if begun_by != source.begun_by {
            return Err(OutletError::Misfit(format!(
                "the table {to} has rows of another lake's dataset `{}`, generation {}: choose another `table` under \
                 [postgres], or empty this one and delete its rows from {positions}",
                key.dataset, key.generation
            )));
        }
        Ok(Mark { claim, position })
    }

    /// Of two that begin it, the first has begun it.
    async fn begin_mark(&self, client: &Client, to: &Quoted, source: &Source) -> Result<(), OutletError> {
        let key = Key::of(to, source);
        let insert = format!(
            "INSERT INTO {} (target, dataset, generation, partition, begun_by, claim, position) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING",
            to.positions()
        );
        let values: [&(dyn ToSql + Sync); 6] =
            [&key.target, &key.dataset, &key.generation, &key.partition, &source.begun_by, &source.genesis];
        within(&self.connections, "begin the position", client.execute(&*insert, &values)).await.map(drop)
    }

    pub(super) async fn begin(&self, source: &Source, kept: Mark) -> Result<Load<'_>, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(&source.id.dataset)?;
        hold("postgres begin", &to).await;
        within(&self.connections, "begin a transaction", client.batch_execute("BEGIN")).await?;
        let load = Load { table: self, client, to, copying: None, buffer: BytesMut::new(), rows: 0, altered: 0 };
        load.look_before(source, kept).await?;
        Ok(load)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} at {}", self.name, self.connections)
    }
}

/// A position's primary key.
struct Key<'a> {
    target: String,
    dataset: &'a str,
    generation: i32,
    partition: i32,
}

const KEY: &str = "target = $1 AND dataset = $2 AND generation = $3 AND partition = $4";

impl<'a> Key<'a> {
    fn of(to: &Quoted, source: &'a Source) -> Self {
        // The lake's own column holds it so.
        let generation = i32::try_from(source.id.generation).unwrap_or(i32::MAX);
        Self { target: to.table.clone(), dataset: &source.id.dataset, generation, partition: source.id.partition }
    }
}

impl Load<'_> {
    /// Spares the work where another has done it. What decides is the end.
    async fn look_before(&self, source: &Source, kept: Mark) -> Result<(), OutletError> {
        let (positions, key) = (self.to.positions(), Key::of(&self.to, source));
        let select = format!("SELECT claim, position FROM {positions} WHERE {KEY}");
        let parameters: [&(dyn ToSql + Sync); 4] = [&key.target, &key.dataset, &key.generation, &key.partition];
        let found = self.client.query_opt(&*select, &parameters);
        let found = within(&self.table.connections, "read the position", found).await?;
        match found.map(|row| Mark { claim: row.get(0), position: row.get(1) }) {
            Some(found) if found == kept => Ok(()),
            _ => Err(OutletError::Fenced),
        }
    }

    pub(super) async fn add(&mut self, rows: &RecordBatch) -> Result<(), OutletError> {
        if self.copying.as_ref().is_none_or(|copying| copying.schema != rows.schema()) {
            self.finish_copy().await?;
            self.begin_copy(rows.schema()).await?;
        }
        let Some(copying) = &mut self.copying else { return Ok(()) };
        self.altered += copying.plan.encode(rows, &mut self.buffer)?;
        self.rows += rows.num_rows() as u64;
        while self.buffer.len() >= CHUNK_BYTES {
            let chunk = self.buffer.split_to(CHUNK_BYTES).freeze();
            within(&self.table.connections, "copy rows", copying.sink.send(chunk)).await?;
        }
        Ok(())
    }

    async fn begin_copy(&mut self, schema: SchemaRef) -> Result<(), OutletError> {
        let connections = &self.table.connections;
        let there = table::columns(&self.client, &self.to.qualified(), connections).await?;
        let plan = Plan::new(&schema, &there, &self.to)?;
        let statement = plan.statement(&self.to);
        hold("postgres copy", &self.to).await;
        let sink = within(connections, "begin to copy rows", self.client.copy_in::<_, Bytes>(&*statement)).await?;
        copy::begin(&mut self.buffer);
        self.copying = Some(Copying { schema, plan, sink: Box::pin(sink) });
        Ok(())
    }

    async fn finish_copy(&mut self) -> Result<(), OutletError> {
        let Some(mut copying) = self.copying.take() else { return Ok(()) };
        let connections = &self.table.connections;
        copy::end(&mut self.buffer);
        let rest = self.buffer.split().freeze();
        within(connections, "copy rows", copying.sink.send(rest)).await?;
        within(connections, "copy rows", copying.sink.as_mut().finish()).await?;
        Ok(())
    }

    /// Moves the position from where it was believed to be, and commits both or neither.
    pub(super) async fn end(mut self, source: &Source, from: Mark, to: Mark) -> Result<u64, OutletError> {
        self.finish_copy().await?;
        hold("postgres position", &self.to).await;
        if self.move_position(source, from, to).await? == 0 {
            return Err(OutletError::Fenced);
        }
        self.commit(source).await
    }

    async fn commit(self, source: &Source) -> Result<u64, OutletError> {
        hold("postgres commit", &self.to).await;
        let connections = &self.table.connections;
        within(connections, "commit", self.client.batch_execute("COMMIT")).await?;
        if self.altered > 0 {
            let (lane, table, values) = (&source.id, &self.to, self.altered);
            tracing::warn!(%lane, %table, values, "PostgreSQL can't hold these as they are; see docs/outlets.md");
            metrics::counter!("alluvium_outlet_altered_total").increment(self.altered);
        }
        connections.give_back(self.client);
        Ok(self.rows)
    }

    async fn move_position(&self, source: &Source, from: Mark, to: Mark) -> Result<u64, OutletError> {
        let key = Key::of(&self.to, source);
        let update = format!(
            "UPDATE {} SET claim = $5, position = $6, updated = now() \
             WHERE {KEY} AND claim = $7 AND position = $8 AND begun_by = $9",
            self.to.positions()
        );
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &key.target,
            &key.dataset,
            &key.generation,
            &key.partition,
            &to.claim,
            &to.position,
            &from.claim,
            &from.position,
            &source.begun_by,
        ];
        let moved = self.client.execute(&*update, &parameters);
        within(&self.table.connections, "move the position", moved).await
    }
}

/// A step that a test may stop the program at.
async fn hold(step: &str, to: &Quoted) {
    hold::before(step, &object_store::path::Path::from_iter(["postgres", to.table.as_str()])).await;
}

/// The settings' parts that connections need, shared by all followers of a table.
type Shared = Arc<tokio_postgres::Config>;
