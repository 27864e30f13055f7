//! A model's place: numbered versions that never change, and who was champion since when.
//!
//! ```text
//! models/iris/champion                   the version in use, and those before it
//! models/iris/1/manifest.json            how a row becomes floats, and the network's shape
//! models/iris/1/weights.safetensors
//! models/iris/1/golden.json              rows with the exact answers that they got
//! models/iris/1/report.html, report.json
//! models/iris/1/SHA256SUMS               of all the others, as `sha256sum` writes it
//! ```
//!
//! Owns: what is where, on a local folder and on S3 alike, and that a version appears whole or not at all. Does not
//! own: what the manifest, the weights and the report say.

mod about;
mod champion;
mod changes;
mod files;
mod golden;
mod save;
mod sums;
mod verify;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use sha2::{Digest, Sha256};

pub use self::{
    about::About,
    champion::Champion,
    changes::Changes,
    golden::Golden,
    save::{Pages, Papers, Saved, WriteReport, save},
    verify::{GoldenVerdict, Verified},
};
use self::{files::Files, sums::Sums};
use super::{
    ModelSettings,
    error::ModelError,
    manifest::Manifest,
    weights::{self, Layer},
};
use crate::{
    objects::{Objects, local_path},
    record::ModelRef,
};

const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "weights.safetensors";
const SUMS: &str = "SHA256SUMS";
const CHAMPION: &str = "champion";
const GOLDEN: &str = "golden.json";
const REPORT_JSON: &str = "report.json";
const REPORT_HTML: &str = "report.html";

/// A larger file is no artifact of ours, and is not read into memory.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const WEIGHTS_BYTES_MAX: u64 = 1 << 30;
const SUMS_BYTES_MAX: u64 = 64 << 10;
const CHAMPION_BYTES_MAX: u64 = 64 << 10;

/// Versions looked at in one moment.
const LOOKS_AT_ONCE: usize = 8;

/// The versions named in an error, the newest.
const VERSIONS_TOLD_MAX: usize = 10;

/// The place of one model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    files: Files,
    name: String,
}

/// A version as it was read, and checked.
#[derive(Debug)]
pub(super) struct Artifact {
    pub manifest: Manifest,
    pub layers: Vec<Layer>,
    pub reference: ModelRef,
}

/// The number of the version in use: one small read.
pub async fn champion(settings: &ModelSettings) -> Result<u32, ModelError> {
    Registry::open(&settings.url)?.champion().await
}

/// Reads a version, or the champion.
pub(super) async fn read(settings: &ModelSettings) -> Result<Artifact, ModelError> {
    let registry = Registry::open(&settings.url)?;
    let version = match settings.version {
        Some(version) => version,
        None => registry.champion().await?,
    };
    registry.read(version).await
}

impl Registry {
    /// The place of a model that is there: a path, `file:///path` or `s3://bucket/prefix`.
    pub fn open(url: &str) -> Result<Self, ModelError> {
        if local_path(url).is_some_and(|folder| !folder.is_dir()) {
            let remedy = format!("train a model with `alluvium train DATA.csv --label COLUMN --out {url}`");
            return Err(ModelError::artifact(url, format!("there is no such folder; {remedy}")));
        }
        Self::over(Objects::open(url).map_err(ModelError::from)?)
    }

    /// The same; a local folder is made if it is missing.
    pub fn create(url: &str) -> Result<Self, ModelError> {
        Self::over(Objects::create(url).map_err(ModelError::from)?)
    }

    /// The model's name is the last part of its place.
    pub(super) fn over(objects: Objects) -> Result<Self, ModelError> {
        let name = match &objects.folder {
            Some(folder) => folder.file_name().and_then(|name| name.to_str()),
            None => objects.url().rsplit('/').find(|part| !part.is_empty()),
        };
        let nameless = || ModelError::artifact(objects.url(), "its last part is no name that could be the model's");
        let name = name.ok_or_else(nameless)?.to_owned();
        Ok(Self { files: Files::new(objects), name })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The numbers of all whole versions, ascending.
    pub async fn versions(&self) -> Result<Vec<u32>, ModelError> {
        let whole = |version| async move {
            Ok::<_, ModelError>(self.files.exists(&path(version, MANIFEST)).await?.then_some(version))
        };
        let numbers = self.files.numbers().await?;
        let versions = stream::iter(numbers).map(whole).buffered(LOOKS_AT_ONCE);
        versions.try_filter_map(|version| async move { Ok(version) }).try_collect().await
    }

    /// Reads a version, and checks everything about it that scoring relies on.
    pub(super) async fn read(&self, version: u32) -> Result<Artifact, ModelError> {
        let Some(json) = self.files.read(&path(version, MANIFEST), MANIFEST_BYTES_MAX).await? else {
            return Err(self.no_manifest(version).await?);
        };
        let weights = self.needed(version, WEIGHTS, WEIGHTS_BYTES_MAX).await?;
        if let Some(sums) = self.sums(version).await? {
            sums.check(MANIFEST, &json).map_err(|fault| self.fault(version, MANIFEST, fault))?;
            sums.check(WEIGHTS, &weights).map_err(|fault| self.fault(version, WEIGHTS, fault))?;
        }
        self.understand(version, &json, &weights)
    }

    /// A version that was made elsewhere may have none.
    async fn sums(&self, version: u32) -> Result<Option<Sums>, ModelError> {
        let Some(bytes) = self.files.read(&path(version, SUMS), SUMS_BYTES_MAX).await? else { return Ok(None) };
        Sums::parse(&bytes).map(Some).map_err(|fault| self.fault(version, SUMS, fault))
    }

    fn understand(&self, version: u32, json: &[u8], weights: &[u8]) -> Result<Artifact, ModelError> {
        let manifest = Manifest::parse(json).map_err(|fault| self.fault(version, MANIFEST, fault))?;
        if manifest.version != version {
            let told = format!("it says version {}, and stands in the folder of version {version}", manifest.version);
            return Err(self.fault(version, MANIFEST, told));
        }
        let layers = weights::from_safetensors(weights, &manifest.widths())
            .map_err(|fault| self.fault(version, WEIGHTS, fault))?;
        let reference = ModelRef { name: self.name.clone(), version, digest: digest(json, weights) };
        Ok(Artifact { manifest, layers, reference })
    }

    /// A file of a version that must have it.
    async fn needed(&self, version: u32, file: &str, bytes_max: u64) -> Result<Bytes, ModelError> {
        let found = self.files.read(&path(version, file), bytes_max).await?;
        found.ok_or_else(|| self.fault(version, file, "the file is not there"))
    }

    async fn no_manifest(&self, version: u32) -> Result<ModelError, ModelError> {
        if self.files.numbers().await?.contains(&version) {
            return Ok(self.fault(version, MANIFEST, "the file is not there"));
        }
        let told = format!("there is no version {version}; {}", self.versions_told().await?);
        Ok(ModelError::artifact(self.files.url(), told))
    }

    async fn versions_told(&self) -> Result<String, ModelError> {
        let versions = self.versions().await?;
        let shown: Vec<_> = versions.iter().rev().take(VERSIONS_TOLD_MAX).rev().map(u32::to_string).collect();
        let older = if versions.len() > shown.len() { " and older ones" } else { "" };
        Ok(match shown.as_slice() {
            [] => "it has no versions".to_owned(),
            shown => format!("it has {}{older}", shown.join(", ")),
        })
    }

    fn fault(&self, version: u32, file: &str, fault: impl Into<String>) -> ModelError {
        ModelError::artifact(&self.files.place(&path(version, file)), fault)
    }
}

fn path(version: u32, file: &str) -> Path {
    Path::from_iter([version.to_string().as_str(), file])
}

/// The same as `cat manifest.json weights.safetensors | sha256sum`.
fn digest(manifest: &[u8], weights: &[u8]) -> String {
    format!("{:x}", Sha256::new().chain_update(manifest).chain_update(weights).finalize())
}

#[cfg(test)]
mod tests;
