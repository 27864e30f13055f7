//! Writing a table to stdout or to a file. Owns: the formats, and that a file appears whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Stdout, Write},
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, SchemaRef},
    error::ArrowError,
    json::{LineDelimitedWriter, WriterBuilder, writer::LineDelimited},
    util::display::{ArrayFormatter, FormatOptions},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use tempfile::NamedTempFile;

use super::{Format, TableError};

/// Rows that a group of a Parquet file holds; they are held in memory until it is written.
const ROW_GROUP_ROWS: usize = 1 << 17;

/// A table on its way to stdout or into a file. What is not finished leaves no file.
#[derive(Debug)]
pub struct Writer {
    encoder: Encoder,
    /// Of the first batch, and so of all.
    columns: Option<SchemaRef>,
    place: String,
}

enum Encoder {
    Csv {
        csv: Box<csv::Writer<Sink>>,
        has_header: bool,
        cell: String,
    },
    Jsonl(Box<LineDelimitedWriter<Sink>>),
    /// A Parquet file begins when its columns are known.
    Unbegun(Sink),
    Parquet(Box<ArrowWriter<Sink>>),
    /// After a fault.
    Broken,
}

/// Where bytes go: stdout, or a file that gets its name when it is finished.
#[derive(Debug)]
pub struct Sink(Place);

#[derive(Debug)]
enum Place {
    Stdout(BufWriter<Stdout>),
    /// What is there and is no plain file, such as `/dev/null`, is not replaced by one.
    Device(BufWriter<File>),
    Draft(BufWriter<NamedTempFile>, PathBuf),
}

/// Why a batch can't be written; told with the place.
enum Fault {
    Io(io::Error),
    Arrow(ArrowError),
    Parquet(parquet::errors::ParquetError),
}

impl Writer {
    #[must_use]
    pub fn to_stdout(format: Format) -> Self {
        Self::over(Sink::stdout(), format, "stdout".to_owned())
    }

    /// Begins a file; the end of its name says how it is written. It gets its name by [`Writer::finish`].
    pub fn create(path: &Path) -> Result<Self, TableError> {
        let place = path.display().to_string();
        let format = Format::of(path)
            .ok_or_else(|| TableError::choice(&place, "a file to write ends in .csv, .jsonl or .parquet"))?;
        let sink = Sink::create(path).map_err(TableError::io("create", &place))?;
        Ok(Self::over(sink, format, place))
    }

    fn over(sink: Sink, format: Format, place: String) -> Self {
        let encoder = match format {
            Format::Csv => {
                let csv = Box::new(csv::Writer::from_writer(sink));
                Encoder::Csv { csv, has_header: false, cell: String::new() }
            }
            Format::Jsonl => {
                let json = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(sink);
                Encoder::Jsonl(Box::new(json))
            }
            Format::Parquet => Encoder::Unbegun(sink),
        };
        Self { encoder, columns: None, place }
    }

    /// Writes some rows. All batches have the columns of the first, which may be empty.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let encoder = std::mem::replace(&mut self.encoder, Encoder::Broken);
        // The Parquet writer would take a batch that lacks some.
        if self.columns.get_or_insert_with(|| batch.schema()).fields() != batch.schema_ref().fields() {
            return Err(TableError::data(&self.place, "the rows to write have not all the same columns"));
        }
        self.encoder = encoder.write(batch).map_err(|fault| fault.at("write", &self.place))?;
        Ok(())
    }

    /// Writes out what is held back; a file gets its name, in place of any that had it.
    pub fn finish(self) -> Result<(), TableError> {
        let place = self.place;
        let sink = self.encoder.finish().map_err(|fault| fault.at("write", &place))?;
        sink.finish().map_err(TableError::io("write", &place))
    }
}

impl Encoder {
    fn write(self, batch: &RecordBatch) -> Result<Self, Fault> {
        Ok(match self {
            Self::Csv { mut csv, has_header, mut cell } => {
                if !has_header {
                    csv.write_record(batch.schema_ref().fields().iter().map(|field| field.name()))?;
                }
                write_cells(&mut csv, batch, &mut cell)?;
                Self::Csv { csv, has_header: true, cell }
            }
            Self::Jsonl(mut json) => {
                json.write(batch)?;
                Self::Jsonl(json)
            }
            Self::Unbegun(sink) => {
                let parquet = ArrowWriter::try_new(sink, batch.schema(), Some(properties()))?;
                return Self::Parquet(Box::new(parquet)).write(batch);
            }
            Self::Parquet(mut parquet) => {
                parquet.write(batch)?;
                Self::Parquet(parquet)
            }
            Self::Broken => return Err(broken()),
        })
    }

    fn finish(self) -> Result<Sink, Fault> {
        match self {
            Self::Csv { csv, .. } => csv.into_inner().map_err(|error| Fault::Io(error.into_error())),
            Self::Jsonl(mut json) => {
                json.finish()?;
                Ok(json.into_inner())
            }
            Self::Unbegun(sink) => Ok(sink),
            Self::Parquet(parquet) => Ok(parquet.into_inner()?),
            Self::Broken => Err(broken()),
        }
    }
}

fn broken() -> Fault {
    Fault::Io(io::Error::other("an earlier part of it could not be written"))
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(concat!("alluvium ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build()
}

/// Nothing stands for null, and for a number that is none.
fn write_cells(csv: &mut csv::Writer<Sink>, batch: &RecordBatch, cell: &mut String) -> Result<(), Fault> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        for (formatter, array) in columns.iter().zip(batch.columns()) {
            cell.clear();
            if !is_nan(array, row) {
                formatter.value(row).write(cell)?;
            }
            csv.write_field(&*cell)?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

fn is_nan(array: &dyn Array, row: usize) -> bool {
    match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_nan(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_nan(),
        _ => false,
    }
}

impl Sink {
    #[must_use]
    pub fn stdout() -> Self {
        Self(Place::Stdout(BufWriter::new(io::stdout())))
    }

    pub fn create(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(Self(Place::Device(BufWriter::new(File::options().write(true).open(path)?))));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut draft = tempfile::Builder::new();
        draft.prefix(".alluvium-");
        #[cfg(unix)]
        draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(Self(Place::Draft(BufWriter::new(draft.tempfile_in(folder)?), path.to_owned())))
    }

    /// Writes out what is held back, and gives a file its name.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Place::Stdout(mut stdout) => stdout.flush(),
            Place::Device(mut file) => file.flush(),
            Place::Draft(draft, path) => {
                let draft = draft.into_inner().map_err(io::IntoInnerError::into_error)?;
                draft.persist(path).map(drop).map_err(|error| error.error)
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::Stdout(stdout) => stdout.write(bytes),
            Place::Device(file) => file.write(bytes),
            Place::Draft(draft, _) => draft.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Place::Stdout(stdout) => stdout.flush(),
            Place::Device(file) => file.flush(),
            Place::Draft(draft, _) => draft.flush(),
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Csv { .. } => "Csv",
            Self::Jsonl(_) => "Jsonl",
            Self::Unbegun(_) | Self::Parquet(_) => "Parquet",
            Self::Broken => "Broken",
        })
    }
}

impl Fault {
    fn at(self, action: &'static str, place: &str) -> TableError {
        match self {
            Self::Io(error) | Self::Arrow(ArrowError::IoError(_, error)) => TableError::io(action, place)(error),
            Self::Arrow(error) => TableError::arrow(action, place)(error),
            Self::Parquet(error) => TableError::parquet(action, place)(error),
        }
    }
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<parquet::errors::ParquetError> for Fault {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<csv::Error> for Fault {
    fn from(error: csv::Error) -> Self {
        Self::Io(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: [(&str, ArrayRef); 5] = [
            ("id", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("share", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
            ("amount", Arc::new(Float64Array::from(vec![1e300, 2.0]))),
            ("on", Arc::new(BooleanArray::from(vec![true, false]))),
            ("say", Arc::new(StringArray::from(vec![Some("a, \"b\""), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
    }

    fn written(name: &str, batches: &[RecordBatch]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "what was there before").unwrap();
        let mut writer = Writer::create(&path).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"what was there before");
        writer.finish().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        fs::read(&path).unwrap()
    }

    #[test]
    fn a_csv_has_one_header_and_nothing_for_what_is_missing() {
        let csv = String::from_utf8(written("t.csv", &[batch(), batch().slice(1, 1)])).unwrap();
        let want = "id,share,amount,on,say\n1,0.1,1e300,true,\"a, \"\"b\"\"\"\n,,2.0,false,\n,,2.0,false,\n";
        assert_eq!(csv, want);
        let header_alone = written("t.csv", &[batch().slice(0, 0)]);
        assert_eq!(header_alone, b"id,share,amount,on,say\n");
    }

    #[test]
    fn json_lines_have_every_key_and_null_for_what_is_missing() {
        let json = String::from_utf8(written("t.jsonl", &[batch()])).unwrap();
        let want = concat!(
            r#"{"id":1,"share":0.1,"amount":1.0e300,"on":true,"say":"a, \"b\""}"#,
            "\n",
            r#"{"id":null,"share":null,"amount":2.0,"on":false,"say":null}"#,
            "\n"
        );
        assert_eq!(json, want);
        assert!(written("t.jsonl", &[]).is_empty());
    }

    #[test]
    fn parquet_comes_back_as_it_was() {
        let bytes = bytes::Bytes::from(written("t.parquet", &[batch(), batch().slice(0, 0), batch()]));
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 100).unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let whole = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
        assert_eq!(whole.num_rows(), 4);
        // NaN differs from itself.
        let without_nan = |batch: RecordBatch| batch.project(&[0, 2, 3, 4]).unwrap();
        assert_eq!(without_nan(whole.slice(2, 2)), without_nan(batch()));
    }

    #[test]
    fn what_is_not_finished_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&folder.path().join("t.parquet")).unwrap();
        writer.write(&batch()).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_batch_with_other_columns_breaks_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let mut writer = Writer::create(&folder.path().join(name)).unwrap();
            writer.write(&batch()).unwrap();
            assert!(writer.write(&batch().project(&[0]).unwrap()).is_err());
            assert!(writer.finish().is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_can_not_be_written_is_told_with_its_place() {
        let error = Writer::create(Path::new("table.txt")).unwrap_err().to_string();
        assert_eq!(error, "table.txt: a file to write ends in .csv, .jsonl or .parquet");
        let error = Writer::create(Path::new("/nowhere/at/all/table.csv")).unwrap_err().to_string();
        assert_eq!(error, "create /nowhere/at/all/table.csv");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("null.csv");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&batch()).unwrap();
        writer.finish().unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }
}
