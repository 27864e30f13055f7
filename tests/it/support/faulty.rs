//! A store that somebody meddles with: before and after each call, which may then fail, wait, or find that a rival has
//! been there meanwhile.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering::SeqCst},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
    path::Path,
};

/// Which call fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the call, from nought.
    pub at: usize,
    /// The call does its work and then says that it failed.
    pub after_effect: bool,
    /// Every later call fails too, without effect: the writer is as good as dead.
    pub for_ever: bool,
}

impl Fault {
    /// One that meddles only so.
    pub fn meddle(fault: Option<Self>) -> Meddle {
        Arc::new(move |call| std::future::ready(fault.is_none_or(|fault| fault.spares(&call))).boxed())
    }

    fn spares(self, call: &Call) -> bool {
        let here = call.number == self.at && call.after_effect == self.after_effect;
        let later = self.for_ever && call.number > self.at && !call.after_effect;
        !here && !later
    }
}

/// A call to the store, before its effect or after it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: usize,
    pub after_effect: bool,
}

/// Whether the call may go on; it is awaited, so it may take its time.
pub type Meddle = Arc<dyn Fn(Call) -> BoxFuture<'static, bool> + Send + Sync>;

pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    /// As on S3, where a rename is two calls that can be parted.
    renames_by_copy: bool,
    meddler: Arc<Meddler>,
}

struct Meddler {
    meddle: Meddle,
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
}

impl Meddler {
    async fn through<T>(&self, verb: &str, path: &Path, effect: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.calls.fetch_add(1, SeqCst);
        self.log.lock().unwrap().push(format!("{verb} {path}"));
        let ask = |after_effect| (self.meddle)(Call { number, after_effect });
        if !ask(false).await {
            return Err(planted());
        }
        let done = effect.await;
        if ask(true).await { done } else { done.and_then(|_| Err(planted())) }
    }
}

impl Faulty {
    pub fn meddled(inner: Arc<dyn ObjectStore>, renames_by_copy: bool, meddle: Meddle) -> Arc<Self> {
        let meddler = Arc::new(Meddler { meddle, calls: AtomicUsize::new(0), log: Mutex::default() });
        Arc::new(Self { inner, renames_by_copy, meddler })
    }

    /// The calls in order, such as `put _ledger/…`.
    pub fn log(&self) -> Vec<String> {
        self.meddler.log.lock().unwrap().clone()
    }
}

fn planted() -> Error {
    Error::Generic { store: "faulty", source: "planted".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.meddler.through("put", path, self.inner.put_opts(path, payload, opts)).await
    }

    async fn put_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.meddler.through("begin", path, self.inner.put_multipart_opts(path, opts)).await?;
        Ok(Box::new(Upload { inner: upload, path: path.clone(), meddler: self.meddler.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.meddler.through("get", path, self.inner.get_opts(path, options)).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.meddler.through("get", path, self.inner.get_ranges(path, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, meddler) = (self.inner.clone(), self.meddler.clone());
        let delete = move |path: Path| {
            let (inner, meddler) = (inner.clone(), meddler.clone());
            async move { meddler.through("delete", &path, inner.delete(&path)).await.map(|()| path.clone()) }
        };
        paths.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, meddler, prefix) = (self.inner.clone(), self.meddler.clone(), prefix.cloned());
        let listed = async move {
            let path = prefix.clone().unwrap_or_default();
            meddler.through("list", &path, inner.list(prefix.as_ref()).try_collect::<Vec<_>>()).await
        };
        futures::stream::once(listed).map_ok(|all| futures::stream::iter(all).map(Ok)).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.meddler.through("list", &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meddler.through("copy", to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if self.renames_by_copy {
            self.copy_opts(from, to, CopyOptions::new()).await?;
            return self.delete(from).await;
        }
        self.meddler.through("rename", to, self.inner.rename_opts(from, to, options)).await
    }
}

/// An upload in parts; each part is a call, and so is its end.
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: Path,
    meddler: Arc<Meddler>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.path)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (part, path, meddler) = (self.inner.put_part(payload), self.path.clone(), self.meddler.clone());
        async move { meddler.through("part", &path, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.meddler.through("complete", &self.path, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.meddler.through("abort", &self.path, self.inner.abort()).await
    }
}
