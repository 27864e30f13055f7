//! The files of a model's place, behind a few verbs that are the same for a local folder and for S3.
//!
//! Owns: how a file is read and written, and how a folder of files appears at once. Does not own: what they mean.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use chrono::SecondsFormat;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion, path::Path};
use uuid::Uuid;

use crate::{model::error::ModelError, objects::Objects};

/// What is to be written, by name.
pub(super) type NamedFiles = Vec<(&'static str, Bytes)>;

#[derive(Clone, Debug)]
pub(super) struct Files {
    objects: Objects,
    url: Arc<str>,
}

/// Whether a write that must not replace another one did take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Now,
    /// Somebody else was first; nothing of theirs was changed.
    Taken,
}

/// A file, and what the store calls this state of it.
pub(super) struct Seen {
    pub bytes: Bytes,
    pub state: UpdateVersion,
}

impl Files {
    pub(super) fn new(objects: Objects) -> Self {
        let url = objects.url().trim_end_matches('/').into();
        Self { objects, url }
    }

    #[cfg(test)]
    pub(super) fn store(&self) -> &dyn ObjectStore {
        &self.objects.store
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where a file is, for people.
    pub(super) fn place(&self, path: &Path) -> String {
        format!("{}/{path}", self.url)
    }

    pub(super) async fn read(&self, path: &Path, bytes_max: u64) -> Result<Option<Bytes>, ModelError> {
        Ok(self.look(path, bytes_max).await?.map(|seen| seen.bytes))
    }

    pub(super) async fn look(&self, path: &Path, bytes_max: u64) -> Result<Option<Seen>, ModelError> {
        let found = match self.objects.store.get(path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed("read", path)(error)),
        };
        if found.meta.size > bytes_max {
            let told = format!("it is larger than the limit of {bytes_max} bytes");
            return Err(ModelError::artifact(&self.place(path), told));
        }
        let state = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(self.failed("read", path))?;
        Ok(Some(Seen { bytes, state }))
    }

    pub(super) async fn exists(&self, path: &Path) -> Result<bool, ModelError> {
        match self.objects.store.head(path).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look for", path)(error)),
        }
    }

    /// When a file was last written.
    pub(super) async fn written_at(&self, path: &Path) -> Result<String, ModelError> {
        let head = self.objects.store.head(path).await.map_err(self.failed("look at", path))?;
        Ok(head.last_modified.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// The names of the files in a numbered folder, ascending.
    pub(super) async fn names(&self, folder: u32) -> Result<Vec<String>, ModelError> {
        let folder = Path::from(folder.to_string());
        let listed =
            self.objects.store.list_with_delimiter(Some(&folder)).await.map_err(self.failed("list", &folder))?;
        let mut names: Vec<_> =
            listed.objects.iter().filter_map(|object| Some(object.location.filename()?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The folders whose name is a number, ascending.
    pub(super) async fn numbers(&self) -> Result<Vec<u32>, ModelError> {
        let listed = self.objects.store.list_with_delimiter(None).await;
        let listed =
            listed.map_err(|source| ModelError::Store { action: "list", place: self.url.to_string(), source })?;
        let folders = listed.common_prefixes.iter();
        let mut numbers: Vec<u32> = folders.filter_map(|folder| number(folder.filename()?)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes a folder of files. A local one appears at once. On S3 the first file takes the folder for us, so that two
    /// writers never mix, and the last is there when all are.
    pub(super) async fn write_folder(&self, folder: u32, files: NamedFiles) -> Result<Written, ModelError> {
        if let Some(root) = self.objects.folder.clone() {
            return blocking(move || write_local_folder(&root, folder, &files)).await;
        }
        for (index, (name, bytes)) in files.into_iter().enumerate() {
            let path = Path::from_iter([folder.to_string().as_str(), name]);
            if self.create(&path, &bytes).await? == Written::Taken
                && !(index > 0 && self.is_ours(&path, &bytes).await?)
            {
                return Ok(Written::Taken);
            }
        }
        Ok(Written::Now)
    }

    async fn create(&self, path: &Path, bytes: &Bytes) -> Result<Written, ModelError> {
        match self.put(path, bytes.clone(), PutMode::Create).await {
            Ok(()) => Ok(Written::Now),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Written::Taken),
            Err(error) => Err(self.failed("write", path)(error)),
        }
    }

    /// When an answer is lost and the client asks again, the store refuses to replace what we wrote ourselves.
    async fn is_ours(&self, path: &Path, bytes: &Bytes) -> Result<bool, ModelError> {
        Ok(self.read(path, bytes.len() as u64).await?.as_ref() == Some(bytes))
    }

    /// Replaces a file if it is still as it was `seen`; with a store that can't tell, in any case.
    pub(super) async fn replace(
        &self,
        path: &Path,
        bytes: Bytes,
        seen: Option<UpdateVersion>,
    ) -> Result<Written, ModelError> {
        if let Some(root) = self.objects.folder.clone() {
            let path = path.clone();
            return blocking(move || replace_local(&root, path.as_ref(), &bytes)).await;
        }
        let mode = seen.map_or(PutMode::Create, PutMode::Update);
        let put = match self.put(path, bytes.clone(), mode).await {
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                self.put(path, bytes, PutMode::Overwrite).await
            }
            put => put,
        };
        match put {
            Ok(()) => Ok(Written::Now),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotFound { .. }) => {
                Ok(Written::Taken)
            }
            Err(error) => Err(self.failed("write", path)(error)),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.objects.store.put_opts(path, bytes.into(), PutOptions::from(mode)).await.map(drop)
    }

    fn failed(&self, action: &'static str, path: &Path) -> impl Fn(StoreError) -> ModelError + use<> {
        let place = self.place(path);
        move |source| ModelError::Store { action, place: place.clone(), source }
    }
}

/// A version's number, written as we write it: `07` is another folder than `7`.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| number.to_string() == name)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(gone) => Err(ModelError::Io { action: "wait for", path: PathBuf::from("the disk"), source: gone.into() }),
    }
}

/// Fills a folder under a name that nobody reads, then gives it its own.
fn write_local_folder(root: &FilePath, folder: u32, files: &[(&'static str, Bytes)]) -> Result<Written, ModelError> {
    let (draft, folder) = (draft_in(root), root.join(folder.to_string()));
    let written = (|| {
        fs::create_dir(&draft).map_err(|source| io_error("make", &draft, source))?;
        for (name, bytes) in files {
            write_local(&draft.join(name), bytes)?;
        }
        // A folder can't be renamed onto one with files in it, so of two writers at once one finds it taken.
        match fs::rename(&draft, &folder) {
            Ok(()) => Ok(Written::Now),
            Err(error) if is_taken(&error) => Ok(Written::Taken),
            Err(source) => Err(io_error("write the version", &folder, source)),
        }
    })();
    if !matches!(written, Ok(Written::Now)) {
        // What the failed attempt left is of no use to anyone, and its name is ours alone.
        let _ = fs::remove_dir_all(&draft);
    }
    written
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

fn replace_local(root: &FilePath, name: &str, bytes: &[u8]) -> Result<Written, ModelError> {
    let (draft, path) = (draft_in(root), root.join(name));
    write_local(&draft, bytes)?;
    fs::rename(&draft, &path).map_err(|source| {
        let _ = fs::remove_file(&draft);
        io_error("write", &path, source)
    })?;
    Ok(Written::Now)
}

fn draft_in(root: &FilePath) -> PathBuf {
    root.join(format!(".{}", Uuid::new_v4()))
}

fn write_local(path: &FilePath, bytes: &[u8]) -> Result<(), ModelError> {
    let write = || -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io_error("write", path, source))
}

fn io_error(action: &'static str, path: &FilePath, source: io::Error) -> ModelError {
    ModelError::Io { action, path: path.to_owned(), source }
}
