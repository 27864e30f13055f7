//! What the table must look like: made if it is not there, else held against the rows.
//!
//! Owns: the statements that make and look at tables. Does not own: which rows fit which columns ([`super::copy`]).

use arrow::datatypes::{DataType, Schema};
use tokio_postgres::Client;

use super::{
    OutletError,
    connect::{Connections, within},
    copy::Plan,
    names::{Quoted, check, identifier},
    revisions,
};

/// A column that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    /// As the server writes it: `timestamp with time zone`.
    pub kind: String,
    /// A row may leave it out.
    pub optional: bool,
}

/// All that who makes tables at once must not do at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(715801193, hashtext($1))";

/// Makes the table and those beside it if they are not there, and checks that rows with these columns fit.
pub(super) async fn prepare(
    client: &Client,
    to: &Quoted,
    schema: &Schema,
    connections: &Connections,
) -> Result<(), OutletError> {
    let there = columns(client, &to.qualified(), connections).await?;
    let mut beside = columns(client, &to.positions(), connections).await?;
    if !beside.is_empty() {
        beside = columns(client, &to.revisions(), connections).await?;
    }
    if there.is_empty() || beside.is_empty() {
        make(client, to, schema, connections).await?;
        let there = columns(client, &to.qualified(), connections).await?;
        return Plan::new(schema, &there, to).map(|_| ());
    }
    Plan::new(schema, &there, to).map(|_| ())
}

/// What [`prepare`] would do, without doing it.
pub(super) async fn look(
    client: &Client,
    to: &Quoted,
    schema: &Schema,
    connections: &Connections,
) -> Result<String, OutletError> {
    let statement = create(to, schema)?;
    let there = columns(client, &to.qualified(), connections).await?;
    if there.is_empty() {
        let name = to.schema.as_deref();
        let may = "SELECT has_schema_privilege(coalesce(to_regnamespace(quote_ident($1::text))::oid, \
                   to_regnamespace(quote_ident(current_schema()))::oid), 'CREATE'), \
                   $1::text IS NULL OR to_regnamespace(quote_ident($1::text)) IS NOT NULL";
        let row = within(connections, "ask for rights", client.query_one(may, &[&name])).await?;
        let (may, schema_there): (Option<bool>, bool) = (row.get(0), row.get(1));
        return match (schema_there, may) {
            (false, _) => Err(OutletError::Misfit(format!(
                "there is no schema {}: create it",
                name.map(identifier).unwrap_or_default()
            ))),
            (true, Some(true)) => Ok(format!("{to} is not there yet; the first run makes it")),
            (true, _) => Err(OutletError::Misfit(format!(
                "{to} is not there, and this user may not make it: grant CREATE, or run: {statement}"
            ))),
        };
    }
    Plan::new(schema, &there, to)?;
    let qualified = to.qualified();
    let may = "SELECT has_table_privilege(to_regclass($1::text)::oid, 'INSERT')";
    let row = within(connections, "ask for rights", client.query_one(may, &[&qualified])).await?;
    if row.get::<_, Option<bool>>(0) == Some(true) {
        Ok(format!("{to} fits the rows, and can be written"))
    } else {
        Err(OutletError::Misfit(format!("this user may not write to {to}: run: GRANT INSERT ON {to} TO this user")))
    }
}

/// The columns of a table; none if it is not there.
pub(super) async fn columns(
    client: &Client,
    qualified: &str,
    connections: &Connections,
) -> Result<Vec<Column>, OutletError> {
    let select = "SELECT attname::text, format_type(atttypid, atttypmod), \
                  NOT attnotnull OR atthasdef OR attidentity <> '' OR attgenerated <> '' \
                  FROM pg_attribute WHERE attrelid = to_regclass($1::text)::oid AND attnum > 0 AND NOT attisdropped \
                  ORDER BY attnum";
    let rows = within(connections, "look at the table", client.query(select, &[&qualified])).await?;
    let column = |row: &tokio_postgres::Row| Column { name: row.get(0), kind: row.get(1), optional: row.get(2) };
    Ok(rows.iter().map(column).collect())
}

async fn make(client: &Client, to: &Quoted, schema: &Schema, connections: &Connections) -> Result<(), OutletError> {
    let statement = create(to, schema)?;
    let positions = format!(
        "CREATE TABLE IF NOT EXISTS {} (target text, dataset text, generation integer, partition integer, \
         begun_by text NOT NULL, claim bigint NOT NULL, position bigint NOT NULL, \
         updated timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (target, dataset, generation, partition))",
        to.positions()
    );
    let made = async {
        client.batch_execute("BEGIN").await?;
        // Two that make the same table at once would meet in the catalogue.
        client.query(LOCK, &[&to.positions()]).await?;
        client.batch_execute(&format!("{positions}; {}; {statement}; COMMIT", revisions::create(to))).await
    };
    let made = within(connections, "make the table", made).await;
    if made.is_err() {
        // The session may be given up with it; that it failed is what is told.
        let _ = client.batch_execute("ROLLBACK").await;
    } else {
        tracing::info!(table = %to, "is there; what is missing of it was made");
    }
    made
}

/// The statement that makes the table.
pub(super) fn create(to: &Quoted, schema: &Schema) -> Result<String, OutletError> {
    let mut columns = vec![];
    for field in schema.fields() {
        check(field.name(), "column")?;
        let Some(kind) = kind_of(field.data_type()) else {
            let what = format!("column {:?} holds {}, which has no type here", field.name(), field.data_type());
            return Err(OutletError::Misfit(what));
        };
        let required = if is_provenance(field.name()) && !field.is_nullable() { " NOT NULL" } else { "" };
        columns.push(format!("{} {kind}{required}", identifier(field.name())));
    }
    Ok(format!("CREATE TABLE IF NOT EXISTS {to} ({})", columns.join(", ")))
}

fn is_provenance(name: &str) -> bool {
    name.starts_with('_')
}

/// What holds such values, as the server writes it.
pub(super) fn kind_of(kind: &DataType) -> Option<&'static str> {
    Some(match kind {
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Boolean => "boolean",
        DataType::Utf8 => "text",
        DataType::Binary => "bytea",
        DataType::Timestamp(..) => "timestamp with time zone",
        DataType::Date32 => "date",
        DataType::Dictionary(_, value) => return kind_of(value),
        _ => return None,
    })
}
