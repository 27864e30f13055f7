//! `alluvium draw`: a table to train on, from the sources that `alluvium produce` sends.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::Args;

use super::Exit;
use crate::{
    simulate::{Source, columns::Columns},
    telemetry::progress,
};

const BATCH_ROWS: u64 = 8_192;

/// Draw a table to train on from a simulated source
///
/// Its rows are the records that `alluvium produce --seed N` sends to partition 0, with what a model is to find out as
/// the last column. The same source, seed and number of rows give the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  alluvium draw --source transactions --rows 200000 --seed 7 --out sink/fraud.csv
  alluvium train sink/fraud.csv --label verdict --ignore id,time,card --out models/fraud")]
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
    /// The file [default: CSV to stdout]
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
}

impl Draw {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        tokio::task::spawn_blocking(move || self.draw()).await??;
        Ok(Exit::Done)
    }

    fn draw(self) -> anyhow::Result<()> {
        let out: Box<dyn Write> = match &self.out {
            Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
            None => Box::new(io::stdout().lock()),
        };
        let mut csv = csv::Writer::from_writer(out);
        let (mut stream, mut columns) = (self.source.stream(self.seed, 0), Columns::default());
        let bar = progress::bar("drawing", self.rows);
        while stream.next_id() < self.rows {
            for _ in 0..BATCH_ROWS.min(self.rows - stream.next_id()) {
                stream.columns(&mut columns);
            }
            let batch = columns.take()?;
            if bar.position() == 0 {
                csv.write_record(batch.schema().fields().iter().map(|field| field.name()))?;
            }
            let options = FormatOptions::default();
            let cells: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect::<Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                csv.write_record(cells.iter().map(|cell| cell.value(row).to_string()))?;
            }
            bar.set_position(stream.next_id());
        }
        csv.flush()?;
        bar.finish_and_clear();
        Ok(())
    }
}
