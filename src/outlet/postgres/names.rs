//! Names of tables and columns: hostile input until they are quoted.

use std::fmt;

use super::{NAME_BYTES_MAX, OutletError};

/// Where the dataset's name stands in a table's.
pub(in crate::outlet) const DATASET: &str = "{dataset}";
const POSITIONS: &str = "alluvium_positions";
const REVISIONS: &str = "alluvium_revisions";

/// What the file says of the table: a name, perhaps with a schema before it, perhaps with the dataset's name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    schema: Option<String>,
    table: String,
}

/// One dataset's table.
#[derive(Clone, Debug)]
pub(super) struct Quoted {
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    /// `None` if it can't be a table's name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, text),
        };
        let fits = |name: &str| {
            let bytes = name.replace(DATASET, "").len();
            !name.trim().is_empty() && bytes <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
        };
        let fit = schema.is_none_or(|schema| fits(schema) && !schema.contains(DATASET)) && fits(table);
        (fit && !table.contains('.')).then(|| Self { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    /// Whether each dataset has a table of its own.
    #[must_use]
    pub fn tells_datasets_apart(&self) -> bool {
        self.table.contains(DATASET)
    }

    pub(super) fn of(&self, dataset: &str) -> Result<Quoted, OutletError> {
        let table = self.table.replace(DATASET, dataset);
        check(&table, "table")?;
        Ok(Quoted { schema: self.schema.clone(), table })
    }
}

/// Refuses what PostgreSQL would cut short.
pub(super) fn check(name: &str, what: &str) -> Result<(), OutletError> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(OutletError::Misfit(format!(
        "the {what} name {name:?} is longer than the {NAME_BYTES_MAX} bytes that PostgreSQL takes; choose a shorter one"
    )))
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

impl Quoted {
    /// `"schema"."table"`
    pub(super) fn qualified(&self) -> String {
        self.beside(&self.table)
    }

    /// The table of positions stands in the same schema.
    pub(super) fn positions(&self) -> String {
        self.beside(POSITIONS)
    }

    /// So does that of the revisions whose rows are there.
    pub(super) fn revisions(&self) -> String {
        self.beside(REVISIONS)
    }

    fn beside(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", identifier(schema), identifier(table)),
            None => identifier(table),
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// A name as it stands in a statement. None holds a NUL: configuration refuses control characters.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_stands_in_it() {
        assert_eq!(identifier("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        let name = TableName::new("ware house.\"{dataset}\"").unwrap();
        assert_eq!(name.of("iris.v2").unwrap().qualified(), "\"ware house\".\"\"\"iris.v2\"\"\"");
        assert_eq!(name.of("iris").unwrap().positions(), "\"ware house\".\"alluvium_positions\"");
    }

    #[test]
    fn what_can_not_be_a_table_is_refused() {
        for text in ["", " ", "a.", ".a", "a.b.c", "a\nb", "{dataset}.t", &"x".repeat(64)] {
            assert_eq!(TableName::new(text), None, "{text}");
        }
        assert!(TableName::new(&"x".repeat(63)).is_some());
        let told = TableName::new("{dataset}").unwrap().of(&"d".repeat(64)).unwrap_err().to_string();
        assert!(told.contains("longer than the 63 bytes"), "{told}");
    }
}
