//! A lake's local folder: what of it outlives a crash, and whether it is still the same folder.
//!
//! Owns: fsync of files and of the folders that lead to them. Does not own: what is written, and when ([`super::store`]).

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// How many folders are remembered as durable; beyond that all are forgotten, and synced once more.
const DURABLE_FOLDERS_MAX: usize = 4096;

/// A local lake, and which of its folders are known to outlive a crash.
#[derive(Debug)]
pub(super) struct LocalFolder {
    pub(super) root: PathBuf,
    /// Tells this folder from any other that may come to stand at its path.
    identity: Option<(u64, u64)>,
    /// With the time of its making, which tells a folder from one that was made later under the same name.
    durable: Mutex<HashMap<PathBuf, SystemTime>>,
}

impl LocalFolder {
    pub(super) fn new(root: PathBuf) -> Self {
        let identity = identity(&root);
        Self { root, identity, durable: Mutex::default() }
    }

    pub(super) fn is_still_there(&self) -> bool {
        self.identity.is_none() || identity(&self.root) == self.identity
    }

    /// Makes a file durable, and its entry in its folder; then that folder's entry in the one above, and so on up to
    /// one whose own entry is known to be durable.
    pub(super) fn sync(&self, file: &Path) -> io::Result<()> {
        File::open(file)?.sync_all()?;
        let mut synced = vec![];
        for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root)) {
            let opened = File::open(folder)?;
            opened.sync_all()?;
            // Where the time of its making can't be told, a folder is never known.
            let Ok(made) = opened.metadata()?.created() else { continue };
            if self.durable().get(folder) == Some(&made) {
                break;
            }
            synced.push((folder.to_path_buf(), made));
        }
        let mut durable = self.durable();
        if durable.len() >= DURABLE_FOLDERS_MAX {
            durable.clear();
        }
        durable.extend(synced);
        Ok(())
    }

    /// Removes a folder that has become empty, and forgets it: each attempt at a segment has one of its own.
    pub(super) async fn remove_if_empty(&self, folder: &Path) {
        if tokio::fs::remove_dir(folder).await.is_ok() {
            self.durable().remove(folder);
        }
    }

    fn durable(&self) -> MutexGuard<'_, HashMap<PathBuf, SystemTime>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Device and inode, where there are such.
#[cfg(unix)]
fn identity(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_removed_is_forgotten_and_what_is_made_anew_is_synced_anew() {
        let root = tempfile::tempdir().unwrap();
        let local = LocalFolder::new(root.path().to_owned());
        let attempt = root.path().join("_staging/attempt");
        let file = attempt.join("0000.parquet");
        for _ in 0..2 {
            std::fs::create_dir_all(&attempt).unwrap();
            std::fs::write(&file, "").unwrap();
            local.sync(&file).unwrap();
            assert!(local.durable().contains_key(&attempt));
            local.remove_if_empty(&attempt).await;
            assert!(local.durable().contains_key(&attempt), "it isn't empty yet");
            std::fs::remove_file(&file).unwrap();
            local.remove_if_empty(&attempt).await;
            assert!(!attempt.exists() && !local.durable().contains_key(&attempt));
        }
        assert_eq!(local.durable().len(), 2, "the root and what stays in it");
    }
}
