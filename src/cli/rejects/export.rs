//! Rejects written out, to a file that appears whole or to stdout.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{Form, record::Shown};
use crate::lake::{Place, Rejected};

pub(super) struct Export {
    out: BufWriter<Box<dyn Write + Send>>,
    form: Form,
    written: u64,
    /// Where the file is written, and where it belongs; nowhere for stdout.
    file: Option<(PathBuf, PathBuf)>,
}

impl Export {
    pub(super) fn begin(target: &Path, form: Form) -> io::Result<Self> {
        let (out, file): (Box<dyn Write + Send>, _) = if target == Path::new("-") {
            (Box::new(io::stdout()), None)
        } else {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(".part");
            let part = target.with_file_name(name);
            (Box::new(File::create(&part)?), Some((part, target.to_owned())))
        };
        Ok(Self { out: BufWriter::new(out), form, written: 0, file })
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn write(&mut self, place: Place, rejected: &Rejected, row: usize) -> io::Result<()> {
        self.written += 1;
        match self.form {
            Form::Json => {
                if let Some(shown) = Shown::of(place, rejected, row) {
                    serde_json::to_writer(&mut self.out, &shown)?;
                }
            }
            Form::Values => {
                let record = rejected.records.get(row);
                self.out.write_all(record.and_then(|record| record.value.as_deref()).unwrap_or_default())?;
            }
        }
        self.out.write_all(b"\n")
    }

    /// How many were written.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        if let Some((part, target)) = &self.file {
            fs::rename(part, target)?;
        }
        Ok(self.written)
    }
}
