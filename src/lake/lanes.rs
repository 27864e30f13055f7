//! Which datasets a lake has, and which partitions they have, by the folders of the ledger.

use object_store::{ObjectStore, path::Path};

use super::{LakeError, Ledger, Store, names};
use crate::offset::LaneId;

impl Store {
    /// Every partition of every generation of a dataset, in order.
    pub async fn lanes(&self, dataset: &str) -> Result<Vec<LaneId>, LakeError> {
        lanes(self.objects().as_ref(), dataset).await
    }

    /// Every dataset that has a ledger.
    pub async fn datasets(&self) -> Result<Vec<String>, LakeError> {
        let folders = folders(self.objects().as_ref(), &Path::from("_ledger")).await?;
        let names = folders.iter().filter_map(|folder| folder.filename());
        Ok(names.filter(|name| names::is_dataset(name)).map(str::to_owned).collect())
    }

    /// The topic that a dataset was begun from; none, if it has not begun.
    pub async fn topic_of(&self, dataset: &str) -> Result<Option<String>, LakeError> {
        for id in self.lanes(dataset).await? {
            if let Some(genesis) = Ledger::new(self.clone(), id, "".into()).genesis().await? {
                return Ok(Some(genesis.topic));
            }
        }
        Ok(None)
    }
}

/// The same of any store, for the audit.
pub(super) async fn lanes(store: &dyn ObjectStore, dataset: &str) -> Result<Vec<LaneId>, LakeError> {
    let mut lanes = vec![];
    let root = Path::from_iter(["_ledger", dataset]);
    for folder in folders(store, &root).await? {
        let Some(generation) = number(&folder, "g") else { continue };
        for folder in folders(store, &folder).await? {
            let Some(partition) = number(&folder, "p") else { continue };
            let id = LaneId { dataset: dataset.into(), generation, partition };
            // Another spelling of the number is a folder that no writer would look into.
            if names::ledger(&id) == folder {
                lanes.push(id);
            }
        }
    }
    lanes.sort_unstable();
    Ok(lanes)
}

/// The folders in a folder.
pub(super) async fn folders(store: &dyn ObjectStore, path: &Path) -> Result<Vec<Path>, LakeError> {
    let listed = store.list_with_delimiter(Some(path)).await;
    Ok(listed.map_err(LakeError::store("list", path))?.common_prefixes)
}

fn number<N: std::str::FromStr>(folder: &Path, prefix: &str) -> Option<N> {
    let digits = folder.filename()?.strip_prefix(prefix)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}
