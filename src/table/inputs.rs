//! From what a person names (a file, several, a folder, `s3://`) to the files behind it, in order.
//!
//! Owns: which files are data, and bringing what lies in a bucket to the disk. Does not own: what the files hold.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path as FilePath, PathBuf},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{Format, TableError};
use crate::objects::{Objects, local_path};

/// Files of one table.
const FILES_MAX: usize = 100_000;

/// Folders within folders.
const FOLDERS_DEEP_MAX: usize = 32;

/// The files of a table, all of one format.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) files: Vec<Source>,
    pub(super) format: Format,
    /// Holds what was brought here from a bucket; gone with the table.
    _spool: Option<TempDir>,
}

/// One file, on this machine.
#[derive(Debug)]
pub(super) struct Source {
    /// As a person knows it: a path or a URL.
    pub(super) place: String,
    pub(super) path: PathBuf,
}

impl Inputs {
    /// Finds the files. What lies in a bucket is fetched to the disk, to be read several times; that needs a runtime.
    pub(super) fn find(inputs: &[String]) -> Result<Self, TableError> {
        Self::find_of(inputs, Wanted::Tables)
    }

    /// The same, and JSON lines too.
    pub(super) fn find_any(inputs: &[String]) -> Result<Self, TableError> {
        Self::find_of(inputs, Wanted::Any)
    }

    fn find_of(inputs: &[String], wanted: Wanted) -> Result<Self, TableError> {
        let mut found = Found { wanted, ..Found::default() };
        for input in inputs {
            match local_path(input) {
                Some(path) => found.local(input, path)?,
                None => found.remote(input)?,
            }
        }
        let Found { files, spool, .. } = found;
        let format = common_format(&files, wanted)?;
        Ok(Self { files, format, _spool: spool })
    }
}

/// Which formats are read.
#[derive(Clone, Copy, Debug, Default)]
enum Wanted {
    /// CSV and Parquet.
    #[default]
    Tables,
    Any,
}

impl Wanted {
    fn takes(self, format: Format) -> bool {
        matches!(self, Self::Any) || format != Format::Jsonl
    }

    fn endings(self) -> &'static str {
        match self {
            Self::Tables => ".csv or .parquet",
            Self::Any => ".csv, .jsonl, .ndjson or .parquet",
        }
    }
}

#[derive(Default)]
struct Found {
    wanted: Wanted,
    files: Vec<Source>,
    spool: Option<TempDir>,
}

impl Found {
    fn local(&mut self, input: &str, path: &FilePath) -> Result<(), TableError> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TableError::choice(input, "there is no such file"),
            _ => TableError::io("open", input)(error),
        })?;
        if !metadata.is_dir() {
            return self.push(input.to_owned(), path.to_owned());
        }
        let before = self.files.len();
        self.folder(path, 0)?;
        if self.files.len() == before {
            return Err(nothing_in(input, self.wanted));
        }
        Ok(())
    }

    fn folder(&mut self, folder: &FilePath, depth: usize) -> Result<(), TableError> {
        let place = folder.display().to_string();
        if depth > FOLDERS_DEEP_MAX {
            let fault = format!("folders stand more than {FOLDERS_DEEP_MAX} deep in each other; does a link go round?");
            return Err(TableError::choice(&place, fault));
        }
        let entries: io::Result<Vec<PathBuf>> =
            fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries = entries.map_err(TableError::io("list", &place))?;
        entries.sort();
        for path in entries.into_iter().filter(|path| path.file_name().is_some_and(|name| !is_hidden(name))) {
            if path.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if Format::of(&path).is_some_and(|format| self.wanted.takes(format)) {
                self.push(path.display().to_string(), path)?;
            }
        }
        Ok(())
    }

    fn remote(&mut self, url: &str) -> Result<(), TableError> {
        let handle = Handle::try_current()
            .map_err(|error| TableError::io("open", url)(io::Error::other(format!("no runtime: {error}"))))?;
        let open = |url: &str| Objects::open(url).map_err(|error| TableError::choice(&error.url, error.reason));
        handle.block_on(async {
            let (parent, name) = url.trim_end_matches('/').rsplit_once('/').unwrap_or((url, ""));
            if Format::of(FilePath::new(name)).is_some() && !parent.ends_with('/') {
                let path = Path::parse(name).map_err(|error| TableError::choice(url, error.to_string()))?;
                if self.object(&*open(parent)?.store, &path, url).await? {
                    return Ok(());
                }
            }
            self.bucket(&open(url)?, url).await
        })
    }

    /// All data under a prefix.
    async fn bucket(&mut self, objects: &Objects, url: &str) -> Result<(), TableError> {
        let listing = objects.store.list(None).map_ok(|object| object.location);
        let mut paths: Vec<Path> = listing.try_collect().await.map_err(TableError::store("list", url))?;
        paths.retain(|path| {
            let is_data = Format::of(FilePath::new(path.as_ref())).is_some_and(|format| self.wanted.takes(format));
            is_data && !path.parts().any(|part| is_hidden(OsStr::new(part.as_ref())))
        });
        paths.sort();
        if paths.is_empty() {
            return Err(nothing_in(url, self.wanted));
        }
        for path in &paths {
            let place = format!("{}/{path}", url.trim_end_matches('/'));
            if !self.object(&*objects.store, path, &place).await? {
                return Err(TableError::data(&place, "it was there when the folder was listed, and is gone"));
            }
        }
        Ok(())
    }

    /// Fetches an object to the disk; false if there is none.
    async fn object(&mut self, store: &dyn ObjectStore, path: &Path, place: &str) -> Result<bool, TableError> {
        let mut bytes = match store.get(path).await {
            Ok(object) => object.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(TableError::store("fetch", place)(error)),
        };
        let name = format!("{:06}-{}", self.files.len(), path.filename().unwrap_or_default());
        let (spooled, mut file) = self.spooled(&name).map_err(TableError::io("make a copy on the disk of", place))?;
        while let Some(part) = bytes.try_next().await.map_err(TableError::store("fetch", place))? {
            file.write_all(&part).map_err(TableError::io("make a copy on the disk of", place))?;
        }
        file.flush().map_err(TableError::io("make a copy on the disk of", place))?;
        self.push(place.to_owned(), spooled)?;
        Ok(true)
    }

    fn spooled(&mut self, name: &str) -> io::Result<(PathBuf, BufWriter<File>)> {
        let folder = match self.spool.take() {
            Some(folder) => folder,
            None => tempfile::Builder::new().prefix("alluvium-").tempdir()?,
        };
        let path = self.spool.insert(folder).path().join(name);
        let file = File::create(&path)?;
        Ok((path, BufWriter::new(file)))
    }

    fn push(&mut self, place: String, path: PathBuf) -> Result<(), TableError> {
        if self.files.len() == FILES_MAX {
            return Err(TableError::choice(&place, format!("these are more files than the {FILES_MAX} of a table")));
        }
        self.files.push(Source { place, path });
        Ok(())
    }
}

/// As the lake's own folders, and those of most tools that write Parquet.
fn is_hidden(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.starts_with(b"_")
}

fn nothing_in(place: &str, wanted: Wanted) -> TableError {
    TableError::choice(place, format!("there is no file in it whose name ends in {}", wanted.endings()))
}

fn common_format(files: &[Source], wanted: Wanted) -> Result<Format, TableError> {
    let mut common = None;
    for file in files {
        let Some(format) = Format::of(&file.path).filter(|format| wanted.takes(*format)) else {
            return Err(TableError::choice(&file.place, format!("a table's name ends in {}", wanted.endings())));
        };
        if *common.get_or_insert(format) != format {
            let fault = match wanted {
                Wanted::Tables => "the files before it are of another format; name either CSV or Parquet files",
                Wanted::Any => "the files before it are of another format; name files of one format",
            };
            return Err(TableError::choice(&file.place, fault));
        }
    }
    common.ok_or_else(|| TableError::choice("the table", "no file is named"))
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;

    use super::*;

    fn find(inputs: &[&FilePath]) -> Result<Vec<String>, String> {
        let inputs: Vec<String> = inputs.iter().map(|path| path.display().to_string()).collect();
        let found = Inputs::find(&inputs).map_err(|error| error.to_string())?;
        Ok(found.files.iter().filter_map(|file| file.path.file_name()?.to_str().map(String::from)).collect())
    }

    fn folder(files: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n1\n").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_searched_in_order_and_what_is_hidden_is_no_data() {
        let folder = folder(&[
            "date=2026-11-21/hour=07/b.parquet",
            "date=2026-11-20/hour=23/a.parquet",
            "_staging/x.parquet",
            ".cache/y.parquet",
            "_z.parquet",
            ".w.parquet",
            "notes.txt",
        ]);
        assert_eq!(find(&[folder.path()]).unwrap(), ["a.parquet", "b.parquet"]);
    }

    #[test]
    fn several_files_stay_in_the_order_given() {
        let folder = folder(&["a.csv", "b.CSV"]);
        let at = |name| folder.path().join(name);
        assert_eq!(find(&[&at("b.CSV"), &at("a.csv")]).unwrap(), ["b.CSV", "a.csv"]);
    }

    #[test]
    fn what_is_no_table_is_refused_with_a_remedy() {
        let folder = folder(&["a.csv", "b.parquet", "c.txt", "empty/readme.md"]);
        let at = |name| folder.path().join(name);
        let cases = [
            (at("nowhere.csv"), "nowhere.csv: there is no such file"),
            (at("c.txt"), "c.txt: a table's name ends in .csv or .parquet"),
            (at("empty"), "empty: there is no file in it whose name ends in .csv or .parquet"),
            (at(""), "name either CSV or Parquet files"),
        ];
        for (path, want) in cases {
            let error = find(&[&path]).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        assert!(Inputs::find(&[]).is_err());
        let error = Inputs::find(&["ftp://host/a.csv".to_owned()]).unwrap_err();
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn a_link_that_goes_round_is_an_error_and_no_endless_walk() {
        let folder = folder(&["deep/readme.md"]);
        if std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/again")).is_ok() {
            let error = find(&[folder.path()]).unwrap_err();
            assert!(error.contains("does a link go round?"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_lies_in_a_bucket_is_fetched_to_the_disk() {
        let objects = Objects::open("memory://").unwrap();
        for name in ["date=1/hour=2/b.parquet", "a.parquet", "_ledger/x.parquet", "readme.txt"] {
            objects.store.put(&Path::from(name), PutPayload::from_static(b"bytes")).await.unwrap();
        }
        let mut found = Found::default();
        found.bucket(&objects, "s3://bucket/lake/").await.unwrap();
        let places: Vec<&str> = found.files.iter().map(|file| file.place.as_str()).collect();
        assert_eq!(places, ["s3://bucket/lake/a.parquet", "s3://bucket/lake/date=1/hour=2/b.parquet"]);
        assert_eq!(fs::read(&found.files[1].path).unwrap(), b"bytes");
        assert_eq!(Format::of(&found.files[1].path), Some(Format::Parquet));
        assert!(!found.object(&*objects.store, &Path::from("gone.csv"), "gone.csv").await.unwrap());
    }
}
