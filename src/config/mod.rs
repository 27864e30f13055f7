//! The pipeline file: what was written, checked into [`crate::pipeline::Settings`].
//!
//! Owns: reading TOML, variables, defaults, ranges, and telling every fault of the file at once, each with its place.
//! Does not own: whether the world fits the file; `alluvium check` asks the broker, the model and the lake.
//!
//! A file goes through `variables`, `value` (one value), `section` (one table), `reader` (the file) and
//! `sections` (what it means). [`KEYS`] is the one list of what there is to write.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use crate::pipeline::Settings;

mod by_schema;
mod fields;
mod format;
mod http;
mod keys;
mod outlets;
mod reader;
mod registry;
mod section;
mod sections;
mod security;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod variables;

pub use fields::is_column_name;
pub use keys::{Fallback, KEYS, Key, Takes, markdown};

/// A pipeline file is written by a person; a larger one is some other file.
const FILE_BYTES_MAX: u64 = 256 * value::KIB;

/// What a variable's name stands for.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A pipeline file that can't be used. Shown as it should be printed, fault by fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("can't read the pipeline file {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error("{}", Listing { path, faults })]
    Faulty { path: PathBuf, faults: Vec<Fault> },
}

/// One thing that is wrong in the file, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Reads a pipeline file, with the variables of the environment.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let text = read(path).map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?;
    parse(&text, |name| env::var(name).ok()).map_err(|faults| ConfigError::Faulty { path: path.to_owned(), faults })
}

/// Reads the text of a pipeline file. Faults are in the order of the text, and there is at least one.
pub fn parse(text: &str, variables: impl Fn(&str) -> Option<String>) -> Result<Settings, Vec<Fault>> {
    let root = DeTable::parse(text).map_err(|error| vec![Fault::syntax(text, &error)])?;
    let mut reader = reader::Reader::new(text, root.get_ref(), &variables);
    let settings = sections::settings(&mut reader);
    let faults = reader.into_faults();
    settings.filter(|_| faults.is_empty()).ok_or(faults)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {}", value::bytes(FILE_BYTES_MAX))));
    }
    Ok(text)
}

impl Fault {
    /// A fault at a byte of the text.
    fn at(text: &str, byte: usize, message: String, hint: Option<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().count() - before.get(..line_start).map_or(0, |lines| lines.chars().count()) + 1;
        Self { line, column, message, hint }
    }

    fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        Self::at(text, at, format!("not TOML: {}", error.message()), None)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// `pipelines/iris.toml:12:5: …` for each, then their number.
struct Listing<'a> {
    path: &'a Path,
    faults: &'a [Fault],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        self.faults.iter().try_for_each(|fault| writeln!(f, "{path}:{fault}"))?;
        match self.faults.len() {
            1 => write!(f, "1 fault in {path}"),
            faults => write!(f, "{faults} faults in {path}"),
        }
    }
}
