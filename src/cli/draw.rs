//! `alluvium draw`: a table to train on, from the sources that `alluvium produce` sends.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, Usage};
use crate::{
    simulate::{Source, columns::Columns},
    table::{Format, TableError, Writer},
    telemetry::progress,
};

const BATCH_ROWS: u64 = 8_192;

/// Draw a table to train on from a simulated source
///
/// Its rows are the records that `alluvium produce --seed N` sends to partition 0, with what a model is to find out as
/// the last column. The same source, seed and number of rows give the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  alluvium draw --source transactions --rows 200000 --seed 7 --out sink/fraud.csv
  alluvium train sink/fraud.csv --label verdict --ignore id,time,card --out models/fraud
  alluvium draw --source posts --rows 20")]
pub(super) struct Draw {
    /// What to simulate
    #[arg(long, value_enum)]
    source: Source,
    /// How many rows
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Which of the endless streams to draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The file; the end of its name says how it is written: .csv, .jsonl or .parquet [default: CSV to stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Draw {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        tokio::task::spawn_blocking(move || self.draw()).await??;
        Ok(Exit::Done)
    }

    fn draw(&self) -> anyhow::Result<()> {
        let mut writer = self.out.as_deref().map_or_else(|| Ok(Writer::to_stdout(Format::Csv)), create)?;
        let (mut stream, mut columns) = (self.source.stream(self.seed, 0), Columns::default());
        let bar = progress::bar("drawing", self.rows);
        while stream.next_id() < self.rows {
            for _ in 0..BATCH_ROWS.min(self.rows - stream.next_id()) {
                stream.columns(&mut columns);
            }
            writer.write(&columns.take()?)?;
            bar.set_position(stream.next_id());
        }
        bar.finish_and_clear();
        writer.finish()?;
        Ok(())
    }
}

/// A name that no format has is a fault of the command line.
fn create(path: &Path) -> anyhow::Result<Writer> {
    Writer::create(path).map_err(|error| match error {
        TableError::Choice { .. } => Usage(error.to_string()).into(),
        error => error.into(),
    })
}
