//! Which revisions' rows a table has: a row for each, inserted in the transaction of its rows.
//!
//! Owns: the table `alluvium_revisions`. Invariant: a key of it can be inserted once, so that of all that send the same
//! revision at the same time one commits.

use std::collections::BTreeSet;

use bytes::BytesMut;
use tokio_postgres::types::ToSql;

use super::{KEY, Key, Load, OutletError, Source, Table, connect::within, hold, names::Quoted, table};

/// A claim's start, and the number of one of its revisions.
type Place = (i64, u32);

/// Who empties a table deletes its positions, and what they stand for goes with them.
pub(super) fn create(to: &Quoted) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (target text, dataset text, generation integer, partition integer, \
         begun_by text NOT NULL, claim bigint, revision bigint, handed_on timestamptz NOT NULL DEFAULT now(), \
         PRIMARY KEY (target, dataset, generation, partition, claim, revision), \
         FOREIGN KEY (target, dataset, generation, partition) REFERENCES {} ON DELETE CASCADE)",
        to.revisions(),
        to.positions()
    )
}

impl Table {
    /// Whether there is a position of this partition's. Makes nothing.
    pub(in crate::outlet) async fn has_begun(&self, source: &Source) -> Result<bool, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(&source.id.dataset)?;
        let mut begun = !table::columns(&client, &to.positions(), &self.connections).await?.is_empty();
        if begun {
            let key = Key::of(&to, source);
            let select = format!("SELECT 1 FROM {} WHERE {KEY}", to.positions());
            let parameters: [&(dyn ToSql + Sync); 4] = [&key.target, &key.dataset, &key.generation, &key.partition];
            let found = client.query_opt(&*select, &parameters);
            begun = within(&self.connections, "read the position", found).await?.is_some();
        }
        self.connections.give_back(client);
        Ok(begun)
    }

    /// Those of this partition that the table has.
    pub(in crate::outlet) async fn revisions(&self, source: &Source) -> Result<BTreeSet<Place>, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(&source.id.dataset)?;
        let key = Key::of(&to, source);
        let select = format!("SELECT claim, revision FROM {} WHERE {KEY}", to.revisions());
        let parameters: [&(dyn ToSql + Sync); 4] = [&key.target, &key.dataset, &key.generation, &key.partition];
        let rows = client.query(&*select, &parameters);
        let rows = within(&self.connections, "read which revisions are there", rows).await?;
        self.connections.give_back(client);
        let place = |row: &tokio_postgres::Row| Some((row.get(0), u32::try_from(row.get::<_, i64>(1)).ok()?));
        Ok(rows.iter().filter_map(place).collect())
    }

    pub(in crate::outlet) async fn begin_revision(&self, source: &Source) -> Result<Load<'_>, OutletError> {
        let client = self.connections.get().await?;
        let to = self.name.of(&source.id.dataset)?;
        hold("postgres begin", &to).await;
        within(&self.connections, "begin a transaction", client.batch_execute("BEGIN")).await?;
        Ok(Load { table: self, client, to, copying: None, buffer: BytesMut::new(), rows: 0, altered: 0 })
    }
}

impl Load<'_> {
    /// Inserts the mark, and commits both or neither: `None`, if another has inserted it.
    pub(in crate::outlet) async fn end_revision(
        mut self,
        source: &Source,
        (claim, revision): Place,
    ) -> Result<Option<u64>, OutletError> {
        self.finish_copy().await?;
        hold("postgres revision", &self.to).await;
        let key = Key::of(&self.to, source);
        let insert = format!(
            "INSERT INTO {} (target, dataset, generation, partition, begun_by, claim, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            self.to.revisions()
        );
        let revision = i64::from(revision);
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key.target, &key.dataset, &key.generation, &key.partition, &source.begun_by, &claim, &revision];
        let inserted = self.client.execute(&*insert, &parameters);
        if within(&self.table.connections, "mark the revision", inserted).await? == 0 {
            return Ok(None);
        }
        self.commit(source).await.map(Some)
    }
}
