//! DuckDB, a stranger to all of our code, as the judge of a lake and as a reader while all goes on.
//!
//! Owns: its processes, and what it is given. Does not own: the SQL (`check.py`, `watch.py`).

use std::{fmt::Write as _, fs::File, path::Path, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use parquet::arrow::ArrowWriter;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::load::{Truth, petal_length};

const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// A process that judges one lake after the other.
#[derive(Debug)]
pub struct Judge {
    _child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Debug, Deserialize)]
struct Found {
    lost: u64,
    doubled: u64,
    unexplained: u64,
    wrong: u64,
    rows: u64,
}

impl Judge {
    pub fn start(python: &Path) -> anyhow::Result<Self> {
        let mut child = script(python, include_str!("check.py")).spawn()?;
        let asks = child.stdin.take().context("its stdin is ours")?;
        let answers = BufReader::new(child.stdout.take().context("its stdout is ours")?).lines();
        Ok(Self { _child: child, asks, answers })
    }

    /// Anti-joins both ways between the files under `lake` and what was sent.
    pub async fn judge(&mut self, lake: &Path, truth: &Truth) -> anyhow::Result<()> {
        let expected = lake.with_extension("expected.parquet");
        write(&expected, truth)?;
        let ask = serde_json::to_string(&(lake, &expected))? + "\n";
        self.asks.write_all(ask.as_bytes()).await?;
        let answer = timeout(ANSWER_TIMEOUT, self.answers.next_line()).await.context("DuckDB does not answer")??;
        let found: Found = serde_json::from_str(&answer.context("DuckDB ended; its error is above")?)?;
        let sound =
            found.rows == truth.len() as u64 && found.lost + found.doubled + found.unexplained + found.wrong == 0;
        ensure!(sound, "DuckDB expects {} rows and finds {found:?}", truth.len());
        Ok(())
    }
}

/// A process that reads a lake again and again.
#[derive(Debug)]
pub struct Watcher(Child);

impl Watcher {
    pub fn start(python: &Path, lake: &Path) -> anyhow::Result<Self> {
        Ok(Self(script(python, include_str!("watch.py")).arg(lake).stderr(Stdio::piped()).spawn()?))
    }

    /// One look more, and what it saw.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        let output = timeout(ANSWER_TIMEOUT, self.0.wait_with_output()).await.context("DuckDB does not end")??;
        ensure!(output.status.success(), "DuckDB, reading all the while: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

fn script(python: &Path, text: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", text]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// What was sent, as a table.
fn write(path: &Path, truth: &Truth) -> anyhow::Result<()> {
    let sent = || truth.values().map(|(_, sent)| sent);
    let headers = sent().map(|sent| {
        let pairs = sent.record.headers.iter().map(|(name, value)| format!("{name}={}", hex(value)));
        pairs.collect::<Vec<_>>().join(",")
    });
    let columns: [(&str, ArrayRef); 9] = [
        ("p", Arc::new(Int32Array::from_iter_values(truth.keys().map(|spot| spot.0)))),
        ("o", Arc::new(Int64Array::from_iter_values(truth.keys().map(|spot| spot.1)))),
        ("ts", Arc::new(Int64Array::from_iter_values(sent().map(|sent| sent.record.timestamp_ms)))),
        ("k", Arc::new(sent().map(|sent| sent.record.key.as_deref()).collect::<BinaryArray>())),
        ("good", Arc::new(sent().map(|sent| Some(sent.good)).collect::<BooleanArray>())),
        ("id", Arc::new(Int64Array::from_iter_values(truth.values().map(|(number, _)| *number)))),
        ("petal", Arc::new(Float64Array::from_iter_values(truth.values().map(|(number, _)| petal_length(*number))))),
        ("v", Arc::new(sent().map(|sent| sent.record.value.as_deref()).collect::<BinaryArray>())),
        ("h", Arc::new(headers.map(Some).collect::<StringArray>())),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02X}");
        hex
    })
}
