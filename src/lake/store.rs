//! One lake's object store: local folder, S3 or memory behind the same few verbs.
//!
//! Owns: durable writes, atomic creation, publishing, and the probe of what the store can do.
//! Does not own: what the objects mean ([`super::ledger`], [`super::segment`]).

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream, FuturesUnordered},
};
use object_store::{
    CopyMode, CopyOptions, Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UploadPart, path::Path,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{LakeError, folder::LocalFolder, hold, names};
use crate::objects::Objects;

/// Larger objects are uploaded in parts, so that one slow request never carries it all.
const SINGLE_PUT_BYTES_MAX: usize = 16 << 20;
const PART_BYTES: usize = 8 << 20;
/// Parts of one object on their way at once.
const PARTS_IN_FLIGHT_MAX: usize = 4;
/// No small object, and no page of a listing, is waited for longer…
pub(super) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);
/// …and none that is sent or copied, or of a larger one no part.
const UPLOAD_WAIT_MAX: Duration = Duration::from_mins(1);
/// How many creations of one key the probe sends at once; exactly one may win.
const PROBE_RIVALS: usize = 16;

#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// Set for a local folder: writes there are followed by fsync.
    local: Option<Arc<LocalFolder>>,
    url: Arc<str>,
}

impl Store {
    /// Opens `s3://bucket/prefix`, `file:///path`, `memory://` or a path; a missing local folder is made.
    pub fn open(url: &str) -> Result<Self, LakeError> {
        let objects = Objects::create(url)?;
        Ok(match objects.folder {
            Some(folder) => Self::over_local(objects.store, folder),
            None => Self::over(objects.store, url),
        })
    }

    /// A lake over any store that honours conditional creation; `url` is for messages.
    pub fn over(objects: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self { objects, local: None, url: url.into() }
    }

    /// A lake in a local folder over `objects`, which must write to that folder.
    pub fn over_local(objects: Arc<dyn ObjectStore>, root: PathBuf) -> Self {
        let url = root.display().to_string().into();
        Self { objects, local: Some(Arc::new(LocalFolder::new(root))), url }
    }

    /// The store itself, rooted at the lake, for reading.
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The object's bytes, or `None` if there is none.
    pub async fn read(&self, path: &Path) -> Result<Option<Bytes>, LakeError> {
        let found = async { self.objects.get(path).await?.bytes().await };
        match self.within(ANSWER_WAIT_MAX, found).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store("read", path)(error)),
        }
    }

    /// Whether there is such an object.
    pub async fn has(&self, path: &Path) -> Result<bool, LakeError> {
        match self.within(ANSWER_WAIT_MAX, self.objects.head(path)).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(LakeError::store("look for", path)(error)),
        }
    }

    /// Everything below a folder.
    #[must_use]
    pub fn list(&self, folder: &Path) -> BoxStream<'_, Result<ObjectMeta, LakeError>> {
        let pages = self.objects.list(Some(folder));
        let listing = stream::try_unfold((pages, folder.clone()), move |(mut pages, folder)| async move {
            let next = self.within(ANSWER_WAIT_MAX, pages.try_next()).await;
            let next = next.map_err(LakeError::store("list", &folder))?;
            Ok(next.map(|object| (object, (pages, folder))))
        });
        listing.boxed()
    }

    /// Writes an object, replacing what is there; durable when it returns.
    pub async fn write(&self, path: &Path, bytes: Bytes) -> Result<(), LakeError> {
        hold::before("write", path).await;
        let written = async {
            self.still_there()?;
            if bytes.len() > SINGLE_PUT_BYTES_MAX {
                return self.upload(path, bytes).await;
            }
            self.within(UPLOAD_WAIT_MAX, self.objects.put(path, bytes.into())).await.map(drop)
        };
        written.await.map_err(LakeError::store("write", path))?;
        self.sync(path).await
    }

    /// Sends a large object in parts. What was sent of it is cleared away if the rest can't be.
    async fn upload(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let mut upload = self.within(ANSWER_WAIT_MAX, self.objects.put_multipart(path)).await?;
        let starts = (0..bytes.len()).step_by(PART_BYTES);
        let parts = starts.map(|start| bytes.slice(start..bytes.len().min(start + PART_BYTES)));
        let deliver = |part: UploadPart| async {
            hold::before("part of", path).await;
            self.within(UPLOAD_WAIT_MAX, part).await
        };
        let parts: Vec<_> = parts.map(|part| deliver(upload.put_part(part.into()))).collect();
        let sent = stream::iter(parts).buffer_unordered(PARTS_IN_FLIGHT_MAX).try_collect::<()>().await;
        let written = match sent {
            Ok(()) => {
                hold::before("last part of", path).await;
                self.within(UPLOAD_WAIT_MAX, upload.complete()).await.map(drop)
            }
            Err(error) => Err(error),
        };
        if written.is_err()
            && let Err(error) = self.within(ANSWER_WAIT_MAX, upload.abort()).await
        {
            tracing::debug!(%path, %error, "left the parts of an upload behind");
        }
        written
    }

    /// Writes a small object that may be lost in a crash.
    pub async fn write_loosely(&self, path: &Path, bytes: Bytes) -> Result<(), LakeError> {
        hold::before("hint", path).await;
        let written = async {
            self.still_there()?;
            self.within(ANSWER_WAIT_MAX, self.objects.put(path, bytes.into())).await.map(drop)
        };
        written.await.map_err(LakeError::store("write", path))
    }

    /// Creates an object that must not be there yet, whole and durable; an error may hide that it was created.
    ///
    /// On a local folder the bytes are made durable under another name first, since a crash could otherwise leave the
    /// name with nothing behind it.
    pub async fn create(&self, path: &Path, bytes: Bytes) -> Result<(), LakeError> {
        let failed = |error| LakeError::store("create", path)(error);
        if self.local.is_none() {
            hold::before("create", path).await;
            let only_create = PutOptions::from(PutMode::Create);
            let created = self.within(ANSWER_WAIT_MAX, self.objects.put_opts(path, bytes.into(), only_create));
            return created.await.map(drop).map_err(failed);
        }
        let draft = draft_of(path);
        self.write(&draft, bytes).await?;
        hold::before("create", path).await;
        // If the folder is moved away after this, the draft is gone with it, and the link fails.
        self.still_there().map_err(LakeError::store("create", path))?;
        let only_create = CopyOptions::new().with_mode(CopyMode::Create);
        let created = self.objects.copy_opts(&draft, path, only_create).await.map_err(failed);
        self.remove(&draft).await;
        created?;
        self.sync(path).await
    }

    /// Moves a staged object to its final name. Told apart: moved now, there already, and nowhere to be found.
    pub async fn publish(&self, staged: &Path, path: &Path) -> Result<Published, LakeError> {
        hold::before("publish", path).await;
        match self.rename(staged, path).await {
            Ok(()) => self.sync(path).await.map(|()| Published::Now),
            Err(StoreError::NotFound { .. }) if self.has(path).await? => {
                self.sync(path).await.map(|()| Published::Before)
            }
            Err(StoreError::NotFound { .. }) => Ok(Published::Missing),
            Err(error) => Err(LakeError::store("publish", path)(error)),
        }
    }

    /// Elsewhere than in a folder a rename is a copy and a deletion. S3 may say 200 to a copy that then failed, so what is
    /// staged goes only when the copy has been seen.
    async fn rename(&self, staged: &Path, path: &Path) -> Result<(), StoreError> {
        if self.local.is_some() {
            self.still_there()?;
            return self.objects.rename(staged, path).await;
        }
        self.within(UPLOAD_WAIT_MAX, self.objects.copy(staged, path)).await?;
        self.within(ANSWER_WAIT_MAX, self.objects.head(path)).await.map_err(|error| match error {
            StoreError::NotFound { .. } => unusable("the copy was said to be done, and is not there"),
            other => other,
        })?;
        hold::before("remove staged", staged).await;
        match self.within(ANSWER_WAIT_MAX, self.objects.delete(staged)).await {
            // Another writer has published it too.
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts a staged object in the place of one that readers see; they see the one or the other, and never none. `crc32c` is
    /// the staged one's: S3 may say 200 to a copy that then failed, and here an object stands at the name either way.
    pub async fn replace(&self, staged: &Path, path: &Path, crc32c: u32) -> Result<Published, LakeError> {
        hold::before("replace", path).await;
        match self.rename_over(staged, path, crc32c).await {
            Ok(()) => self.sync(path).await.map(|()| Published::Now),
            Err(StoreError::NotFound { .. }) if self.has(path).await? => {
                self.sync(path).await.map(|()| Published::Before)
            }
            Err(StoreError::NotFound { .. }) => Ok(Published::Missing),
            Err(error) => Err(LakeError::store("replace", path)(error)),
        }
    }

    async fn rename_over(&self, staged: &Path, path: &Path, crc32c: u32) -> Result<(), StoreError> {
        if self.local.is_some() {
            self.still_there()?;
            return self.objects.rename(staged, path).await;
        }
        self.within(UPLOAD_WAIT_MAX, self.objects.copy(staged, path)).await?;
        if self.within(UPLOAD_WAIT_MAX, self.sum_of(path)).await? != crc32c {
            // Whoever has done it before may have gone on to the next revision; then nothing is staged any more.
            self.within(ANSWER_WAIT_MAX, self.objects.head(staged)).await?;
            return Err(unusable("the copy was said to be done, and something else is there"));
        }
        hold::before("remove staged", staged).await;
        match self.within(ANSWER_WAIT_MAX, self.objects.delete(staged)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn sum_of(&self, path: &Path) -> Result<u32, StoreError> {
        let sum = |crc, chunk: Bytes| std::future::ready(Ok(crc32c::crc32c_append(crc, &chunk)));
        self.objects.get(path).await?.into_stream().try_fold(0, sum).await
    }

    /// The CRC-32C of an object, or `None` if there is none.
    pub async fn crc(&self, path: &Path) -> Result<Option<u32>, LakeError> {
        match self.within(UPLOAD_WAIT_MAX, self.sum_of(path)).await {
            Ok(crc) => Ok(Some(crc)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store("read", path)(error)),
        }
    }

    /// As [`Store::read`], of what may be large.
    pub async fn read_large(&self, path: &Path) -> Result<Option<Bytes>, LakeError> {
        let found = async { self.objects.get(path).await?.bytes().await };
        match self.within(UPLOAD_WAIT_MAX, found).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store("read", path)(error)),
        }
    }

    /// Removes an object that nobody needs; if that fails, the sweep of stale staging has it later.
    pub async fn remove(&self, path: &Path) {
        hold::before("remove", path).await;
        if let Err(error) = self.within(ANSWER_WAIT_MAX, self.objects.delete(path)).await
            && !matches!(error, StoreError::NotFound { .. })
        {
            tracing::debug!(%path, %error, "left an object behind");
        }
    }

    /// Deletes an object for good: unlike [`Store::remove`], it says when it could not. One that is gone already is fine.
    pub async fn delete(&self, path: &Path) -> Result<(), LakeError> {
        hold::before("delete", path).await;
        match self.within(ANSWER_WAIT_MAX, self.objects.delete(path)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(LakeError::store("delete", path)(error)),
        }
    }

    /// As [`Store::delete`], and it stays gone after a crash.
    pub async fn delete_durably(&self, path: &Path) -> Result<(), LakeError> {
        self.delete(path).await?;
        let folder = path.as_ref().rsplit_once('/').map(|(folder, _)| Path::from(folder));
        match (&self.local, folder) {
            (Some(local), Some(folder)) if local.root.join(folder.as_ref()).exists() => self.sync(&folder).await,
            _ => Ok(()),
        }
    }

    /// Removes a local folder that has become empty; other stores have no folders.
    pub async fn remove_empty_folder(&self, path: &Path) {
        if let Some(local) = &self.local {
            hold::before("remove folder", path).await;
            local.remove_if_empty(&local.root.join(path.as_ref())).await;
        }
    }

    /// Law L9: a create over an existing key must lose, and of many at once exactly one may win.
    pub async fn probe(&self) -> Result<(), LakeError> {
        let folder = names::probe(Uuid::new_v4());
        let verdict = self.probe_in(&folder).await;
        self.remove(&folder.clone().join("once")).await;
        self.remove(&folder.clone().join("race")).await;
        self.remove_empty_folder(&folder).await;
        self.remove_empty_folder(&names::probes()).await;
        verdict
    }

    async fn probe_in(&self, folder: &Path) -> Result<(), LakeError> {
        let unfit = |reason: &str| Err(LakeError::Unfit { url: self.url.to_string(), reason: reason.into() });
        let once = folder.clone().join("once");
        self.create(&once, Bytes::from_static(b"first")).await?;
        match self.create(&once, Bytes::from_static(b"second")).await {
            Ok(()) => return unfit("it let a second writer replace an object that was to be created only once"),
            Err(LakeError::Store { source, .. }) if is_conflict(&source) => {}
            Err(error) => return Err(error),
        }
        if self.read(&once).await?.as_deref() != Some(b"first") {
            return unfit("a refused creation changed the object all the same");
        }
        let race = folder.clone().join("race");
        let rivals: FuturesUnordered<_> =
            (0..PROBE_RIVALS).map(|rival| self.create(&race, Bytes::from(rival.to_string()))).collect();
        let results: Vec<_> = rivals.collect().await;
        match results.iter().filter(|result| result.is_ok()).count() {
            1 => Ok(()),
            0 => results.into_iter().next().unwrap_or(Ok(())),
            _ => unfit("of several writers creating one object at once, more than one was told that it had won"),
        }
    }

    /// No lane waits for ever for an answer. A folder's answers can't be given up: what was begun goes on in its thread.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.local.is_some() {
            return answer.await;
        }
        let silent = |_| Err(unusable(&format!("no answer within {limit:?}")));
        timeout(limit, answer).await.unwrap_or_else(silent)
    }

    /// A disk that was unmounted, or a folder that was moved away, would be made anew by the next write, and be taken for
    /// an empty lake.
    fn still_there(&self) -> Result<(), StoreError> {
        match &self.local {
            Some(local) if !local.is_still_there() => Err(unusable(&format!(
                "{} is no longer the folder that it was at the start: was it moved, or its disk unmounted? Put it back, \
                 or start again if this is meant",
                local.root.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Makes a local file and the folders that lead to it durable.
    async fn sync(&self, path: &Path) -> Result<(), LakeError> {
        let Some(local) = self.local.clone() else { return Ok(()) };
        hold::before("sync", path).await;
        let file = local.root.join(path.as_ref());
        let synced = tokio::task::spawn_blocking(move || local.sync(&file)).await;
        let synced = synced.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        synced.map_err(|error| {
            LakeError::store("sync", path)(StoreError::Generic { store: "local", source: error.into() })
        })
    }
}

/// A name beside the staging of whatever `path` belongs to, so that a sweep has it if a crash leaves it behind.
fn draft_of(path: &Path) -> Path {
    let folders = path.parts().skip(1);
    let depth = path.parts().count().saturating_sub(2);
    let mut draft = Path::from("_staging");
    draft.extend(folders.take(depth));
    draft.join(format!("draft-{}.json", Uuid::new_v4()))
}

fn unusable(reason: &str) -> StoreError {
    StoreError::Generic { store: "lake", source: reason.into() }
}

/// What became of a staged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    Now,
    Before,
    /// Neither staged nor at its final name: readers may delete old data.
    Missing,
}

/// Whether a store says that the key was there already.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })
}

#[cfg(test)]
mod tests {
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    async fn keeps_the_contract(store: &Store) {
        let (a, b) = (Path::from("x/a"), Path::from("x/y/b"));
        assert_eq!(store.read(&a).await.unwrap(), None);
        store.create(&a, bytes("one")).await.unwrap();
        assert!(
            matches!(store.create(&a, bytes("two")).await, Err(LakeError::Store { source, .. }) if is_conflict(&source))
        );
        assert_eq!(store.read(&a).await.unwrap().unwrap(), "one");

        assert_eq!(store.publish(&a, &b).await.unwrap(), Published::Now);
        assert_eq!(store.publish(&a, &b).await.unwrap(), Published::Before);
        assert_eq!(store.read(&b).await.unwrap().unwrap(), "one");
        store.remove(&b).await;
        assert_eq!(store.publish(&a, &b).await.unwrap(), Published::Missing);

        store.write(&a, bytes("new")).await.unwrap();
        store.write(&b, bytes("old")).await.unwrap();
        let crc = crc32c::crc32c(b"new");
        assert_eq!(store.replace(&a, &b, crc).await.unwrap(), Published::Now);
        assert_eq!(store.replace(&a, &b, crc).await.unwrap(), Published::Before);
        assert_eq!(store.read(&b).await.unwrap().unwrap(), "new");
        assert_eq!((store.crc(&a).await.unwrap(), store.crc(&b).await.unwrap()), (None, Some(crc)));
        store.delete_durably(&b).await.unwrap();
        store.delete_durably(&b).await.unwrap();
        assert_eq!(store.replace(&a, &b, crc).await.unwrap(), Published::Missing);

        let large = Bytes::from(vec![7; SINGLE_PUT_BYTES_MAX + PART_BYTES + 1]);
        store.write(&a, large.clone()).await.unwrap();
        assert!(store.read(&a).await.unwrap().unwrap() == large, "every part arrived, in order");
        store.probe().await.unwrap();
    }

    #[tokio::test]
    async fn memory_and_local_folders_keep_the_same_contract() {
        keeps_the_contract(&Store::open("memory://").unwrap()).await;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new/lake");
        keeps_the_contract(&Store::open(root.to_str().unwrap()).unwrap()).await;
        let by_url = folder.path().join("by/url");
        keeps_the_contract(&Store::open(&format!("file://{}", by_url.display())).unwrap()).await;
        assert_eq!(std::fs::read_dir(root.join("_staging")).unwrap().count(), 0, "the probe cleans up");
    }

    #[test]
    fn a_url_that_is_no_store_says_what_is() {
        let error = Store::open("ftp://x/y").unwrap_err();
        assert!(error.to_string().contains("write a path, file:// or s3://"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_waited_for_for_ever() {
        let hour = Duration::from_hours(1);
        let silence = ThrottleConfig {
            wait_get_per_call: hour,
            wait_put_per_call: hour,
            wait_list_per_call: hour,
            ..ThrottleConfig::default()
        };
        let silent = ThrottledStore::new(object_store::memory::InMemory::new(), silence);
        let store = Store::over(Arc::new(silent), "memory");
        let path = Path::from("x");
        let large = Bytes::from(vec![0; SINGLE_PUT_BYTES_MAX + 1]);
        for told in [
            store.read(&path).await.map(drop),
            store.create(&path, bytes("one")).await,
            store.write(&path, bytes("one")).await,
            store.write(&path, large).await,
            store.write_loosely(&path, bytes("one")).await,
            store.list(&path).try_next().await.map(drop),
        ] {
            let error = told.unwrap_err();
            assert!(error.is_transient());
            assert!(std::error::Error::source(&error).unwrap().to_string().contains("no answer within"), "{error:?}");
        }
    }
}
