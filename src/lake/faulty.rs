//! A store that fails where a test says, before or after the effect, once or from then on.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};

/// Which call fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The number of the call, from nought.
    pub(crate) at: usize,
    /// The call does its work and then says that it failed.
    pub(crate) after_effect: bool,
    /// Every later call fails too, without effect: the writer is as good as dead.
    pub(crate) for_ever: bool,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    /// As on S3, where a rename is two calls that can be parted.
    renames_by_copy: bool,
    fault: Option<Fault>,
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
}

enum Verdict {
    Go,
    FailFirst,
    FailAfter,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, fault: Option<Fault>) -> Arc<Self> {
        Arc::new(Self { inner, renames_by_copy: false, fault, calls: AtomicUsize::new(0), log: Mutex::default() })
    }

    /// A store without a rename of its own.
    pub(crate) fn without_rename(inner: Arc<dyn ObjectStore>, fault: Option<Fault>) -> Arc<Self> {
        let calls = AtomicUsize::new(0);
        Arc::new(Self { inner, renames_by_copy: true, fault, calls, log: Mutex::default() })
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// The calls in order, such as `create _ledger/…`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn verdict(&self, verb: &str, path: &Path) -> Verdict {
        let call = self.calls.fetch_add(1, SeqCst);
        self.log.lock().unwrap().push(format!("{verb} {path}"));
        match self.fault {
            Some(fault) if call == fault.at && fault.after_effect => Verdict::FailAfter,
            Some(fault) if call == fault.at || (call > fault.at && fault.for_ever) => Verdict::FailFirst,
            _ => Verdict::Go,
        }
    }

    async fn through<T>(&self, verb: &str, path: &Path, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match self.verdict(verb, path) {
            Verdict::Go => call.await,
            Verdict::FailFirst => Err(planted()),
            Verdict::FailAfter => call.await.and_then(|_| Err(planted())),
        }
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

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.through("put", path, self.inner.put_opts(path, payload, opts)).await
    }

    async fn put_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.through("multipart", path, self.inner.put_multipart_opts(path, opts)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.through("get", path, self.inner.get_opts(path, options)).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.through("get", path, self.inner.get_ranges(path, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.verdict("delete", &Path::default()) {
            Verdict::Go => self.inner.delete_stream(paths),
            Verdict::FailFirst => paths.map(|_| Err(planted())).boxed(),
            Verdict::FailAfter => self.inner.delete_stream(paths).and_then(|_| async { Err(planted()) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.verdict("list", &prefix.cloned().unwrap_or_default()) {
            Verdict::Go => self.inner.list(prefix),
            _ => futures::stream::once(async { Err(planted()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.through("copy", to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if self.renames_by_copy {
            self.copy_opts(from, to, CopyOptions::new()).await?;
            return self.delete(from).await;
        }
        self.through("rename", to, self.inner.rename_opts(from, to, options)).await
    }
}
