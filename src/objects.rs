//! From a path or a URL to the object store behind it: a local folder, a bucket, or memory.
//!
//! Owns: the forms of a URL, and where credentials come from. Does not own: what any object means.

use std::{fmt, path::Path as FilePath, path::PathBuf, sync::Arc};

use object_store::{
    ObjectStore, aws::AmazonS3Builder, local::LocalFileSystem, memory::InMemory, path::Path, prefix::PrefixStore,
};

/// A store, rooted at the place that the URL names.
#[derive(Clone, Debug)]
pub struct Objects {
    pub store: Arc<dyn ObjectStore>,
    /// Set for a local folder: where it is.
    pub folder: Option<PathBuf>,
    url: Arc<str>,
}

/// A place that can't be opened, and why.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct OpenError {
    pub url: String,
    pub reason: String,
}

impl Objects {
    /// Opens `s3://bucket/prefix`, `file:///path`, `memory://` or a path. A local folder must be there.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        match url.split_once("://") {
            Some(("s3", rest)) => Self::s3(url, rest),
            Some(("file", path)) => Self::local(url, FilePath::new(path)),
            Some(("memory", _)) => Ok(Self { store: Arc::new(InMemory::new()), folder: None, url: url.into() }),
            Some((scheme, _)) => Err(OpenError {
                url: url.into(),
                reason: format!("`{scheme}://` is not a store that can be used; write a path, file:// or s3://"),
            }),
            None => Self::local(url, FilePath::new(url)),
        }
    }

    /// The same; a local folder is made if it is missing.
    pub fn create(url: &str) -> Result<Self, OpenError> {
        if let Some(folder) = local_path(url) {
            let fault = |error| OpenError { url: url.into(), reason: format!("make the folder: {error}") };
            std::fs::create_dir_all(folder).map_err(fault)?;
        }
        Self::open(url)
    }

    fn local(url: &str, path: &FilePath) -> Result<Self, OpenError> {
        let open = || -> Result<Self, Box<dyn std::error::Error>> {
            let root = std::path::absolute(path)?.canonicalize()?;
            let store = Arc::new(LocalFileSystem::new_with_prefix(&root)?);
            Ok(Self { store, folder: Some(root), url: url.into() })
        };
        open().map_err(|error| OpenError { url: url.into(), reason: format!("open the folder: {error}") })
    }

    /// Region, endpoint, path style and credentials come from the usual AWS environment.
    fn s3(url: &str, bucket_and_prefix: &str) -> Result<Self, OpenError> {
        let (bucket, prefix) = bucket_and_prefix.split_once('/').unwrap_or((bucket_and_prefix, ""));
        let fault = |reason: String| OpenError { url: url.into(), reason };
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|e| fault(e.to_string()))?;
        let bucket = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let bucket = bucket.build().map_err(|e| fault(format!("open the bucket: {e}")))?;
        Ok(Self { store: Arc::new(PrefixStore::new(bucket, prefix)), folder: None, url: url.into() })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The local path that a URL names, if it names one.
#[must_use]
pub fn local_path(url: &str) -> Option<&FilePath> {
    match url.split_once("://") {
        Some(("file", path)) => Some(FilePath::new(path)),
        Some(_) => None,
        None => Some(FilePath::new(url)),
    }
}
