//! `alluvium score`: a file or stdin, scored without a broker and a lake.
//!
//! Owns: what is read and written, and what becomes of a row that can't be scored. Does not own: how records and tables
//! are read; both go through what a stream or a training uses, so that the answers are the same to the last bit.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use tempfile::NamedTempFile;

use self::{added::Added, lines::Lines};
use super::{Exit, Usage, model_spec::ModelSpec};
use crate::{
    model::{Backend, Model, ModelSettings},
    table::{Format, Sink, Table, TableError, Writer},
    telemetry::progress::count,
};

mod added;
mod lines;
mod rows;

/// What is read from a file of JSON lines at once.
const READ_BYTES: usize = 1 << 20;
/// What stands for stdin.
const STDIN: &str = "-";

/// Score a CSV, JSON lines or Parquet file, or stdin
///
/// Adds `prediction`, `confidence` and one `p_CLASS` for each class to every row, the same to the last bit as a stream
/// gives whose fields are float64, bool and string. Rows are read and written a few thousand at a time, whatever the
/// size of the file. Columns and members of these names that are there already are replaced. What a record has beside
/// the model's features stays in it; as CSV or Parquet, JSON lines keep the features only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        alluvium score flowers.csv --model models/iris > scored.jsonl\n  \
        alluvium score flowers.parquet --model models/iris@2 --out scored.parquet\n  \
        tail -f flowers.jsonl | alluvium score - --model models/iris | jq .prediction\n\n\
        Exit codes: 0 all rows are scored or left out as told, 1 a row can't be scored, 2 the command line is wrong")]
pub(super) struct Score {
    /// Files of one format, folders or URLs of CSV or Parquet, or `-` for stdin
    #[arg(value_name = "FILE", required = true)]
    inputs: Vec<String>,
    /// The model: its folder or URL, and @VERSION if it is not to be the champion
    #[arg(long, value_name = "models/NAME[@VERSION]")]
    model: ModelSpec,
    /// A file to write, .csv, .jsonl or .parquet, which appears when it is whole [default: JSON lines on stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What comes from stdin
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Leave out rows that can't be scored, and count them
    #[arg(long)]
    skip_bad: bool,
    /// What computes: ndarray, or flex where it is built in
    #[arg(long, value_name = "BACKEND", default_value = "ndarray", value_parser = backend)]
    backend: Backend,
}

fn backend(name: &str) -> Result<Backend, &'static str> {
    match name {
        "ndarray" => Ok(Backend::NdArray),
        "flex" => Ok(Backend::Flex),
        _ => Err("write ndarray or flex"),
    }
}

/// Rows so far, and what became of those that can't be scored.
#[derive(Debug, Default)]
struct Tally {
    skip_bad: bool,
    scored: u64,
    left_out: u64,
    first: Option<String>,
}

impl Tally {
    /// A row that can't be scored ends the command, unless such rows are to be left out.
    fn bad(&mut self, row: &str, why: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.skip_bad, "{row}: {why}; with --skip-bad such rows are left out");
        self.left_out += 1;
        self.first.get_or_insert_with(|| format!("{row}: {why}"));
        Ok(())
    }

    fn told(&self) -> String {
        let left_out = self
            .first
            .as_ref()
            .map_or_else(String::new, |first| format!(", {} left out; the first was {first}", count(self.left_out)));
        let rows = if self.scored == 1 { "row" } else { "rows" };
        format!("{} {rows} scored{left_out}", count(self.scored))
    }
}

impl Score {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let ModelSpec { name, version } = &self.model;
        let model = Model::load(&ModelSettings { url: name.clone(), version: *version, backend: self.backend }).await?;
        let scored = tokio::task::spawn_blocking(move || self.score(&model)).await?;
        match scored {
            Ok(tally) => eprintln!("{}", tally.told()),
            // Who reads has had enough, as `head` has.
            Err(error) if is_broken_pipe(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Exit::Done)
    }

    fn score(&self, model: &Model) -> anyhow::Result<Tally> {
        let mut tally = Tally { skip_bad: self.skip_bad, ..Tally::default() };
        match self.source()? {
            Input::Lines(files) => self.score_lines(files, model, &mut tally)?,
            Input::Table(inputs, _spool) => {
                let table = Table::open(&inputs).map_err(told)?;
                let mut out = self.writer()?;
                rows::score(&table, model, self.format_out()?, &mut out, &mut tally)?;
                out.finish()?;
            }
        }
        Ok(tally)
    }

    fn score_lines(&self, files: Vec<JsonLines>, model: &Model, tally: &mut Tally) -> anyhow::Result<()> {
        let lines = Lines::new(model)?;
        if self.format_out()? == Format::Jsonl {
            let mut out = match &self.out {
                None => Sink::stdout(),
                Some(path) => Sink::create(path).with_context(|| format!("create {}", path.display()))?,
            };
            for JsonLines { place, text } in files {
                lines.score_to_lines(text, &place, &mut out, tally)?;
            }
            return Ok(out.finish()?);
        }
        let mut out = self.writer()?;
        out.write(&lines.no_rows())?;
        for JsonLines { place, text } in files {
            lines.score_to_table(text, &place, &mut out, tally)?;
        }
        Ok(out.finish()?)
    }

    fn writer(&self) -> anyhow::Result<Writer> {
        match &self.out {
            None => Ok(Writer::to_stdout(Format::Jsonl)),
            Some(path) => Writer::create(path).map_err(told),
        }
    }

    fn format_out(&self) -> Result<Format, Usage> {
        let Some(out) = &self.out else { return Ok(Format::Jsonl) };
        Format::of(out)
            .ok_or_else(|| Usage(format!("{}: a file to write ends in .csv, .jsonl or .parquet", out.display())))
    }

    fn source(&self) -> anyhow::Result<Input> {
        let is_stdin = |input: &String| input == STDIN;
        match self.inputs.as_slice() {
            [only] if is_stdin(only) && self.format == Format::Jsonl => {
                Ok(Input::Lines(vec![JsonLines::new("stdin", io::stdin())]))
            }
            [only] if is_stdin(only) => {
                let spool = spooled_stdin(self.format).context("make a copy of stdin on the disk")?;
                Ok(Input::Table(vec![spool.path().display().to_string()], Some(spool)))
            }
            inputs if inputs.iter().any(is_stdin) => Err(Usage("name `-` alone".to_owned()).into()),
            inputs if inputs.iter().any(|input| Format::of(Path::new(input)) == Some(Format::Jsonl)) => {
                Ok(Input::Lines(inputs.iter().map(|input| opened(input)).collect::<anyhow::Result<_>>()?))
            }
            inputs => Ok(Input::Table(inputs.to_vec(), None)),
        }
    }
}

/// A file of JSON lines, or stdin.
struct JsonLines {
    place: String,
    text: BufReader<Box<dyn Read>>,
}

impl JsonLines {
    fn new(place: &str, text: impl Read + 'static) -> Self {
        Self { place: place.to_owned(), text: BufReader::with_capacity(READ_BYTES, Box::new(text)) }
    }
}

enum Input {
    Lines(Vec<JsonLines>),
    /// A table's reader goes back to the beginning, which stdin can't.
    Table(Vec<String>, Option<NamedTempFile>),
}

fn spooled_stdin(format: Format) -> io::Result<NamedTempFile> {
    let suffix = if format == Format::Csv { ".csv" } else { ".parquet" };
    let mut spool = tempfile::Builder::new().prefix("stdin-").suffix(suffix).tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut spool)?;
    spool.flush()?;
    Ok(spool)
}

fn opened(input: &str) -> anyhow::Result<JsonLines> {
    if Format::of(Path::new(input)) != Some(Format::Jsonl) {
        return Err(Usage(format!("{input} is not of JSON lines as the others are; name files of one format")).into());
    }
    let file = File::open(input).map_err(|error| Usage(format!("open {input}: {error}")))?;
    Ok(JsonLines::new(input, file))
}

/// A wrong choice on the command line is told apart from data that is no good.
fn told(error: TableError) -> anyhow::Error {
    match error {
        TableError::Choice { .. } => Usage(error.to_string()).into(),
        other => other.into(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_one = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_one)
}
