//! A model's folder on disk: numbered versions that never change, and the champion's number.
//!
//! ```text
//! models/iris/champion                   the number of the version in use
//! models/iris/1/manifest.json            how a row becomes floats, and the network's shape
//! models/iris/1/weights.safetensors
//! ```

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    ModelSettings,
    error::ModelError,
    manifest::Manifest,
    training::Trained,
    weights::{self, Layer},
};
use crate::record::ModelRef;

const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "weights.safetensors";
const CHAMPION: &str = "champion";

/// A larger file is no artifact of ours, and is not read into memory.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const WEIGHTS_BYTES_MAX: u64 = 1 << 30;
const CHAMPION_BYTES_MAX: u64 = 64;

/// A version as it was read, and checked.
pub(super) struct Artifact {
    pub manifest: Manifest,
    pub layers: Vec<Layer>,
    pub reference: ModelRef,
}

/// Reads a version, or the champion.
pub(super) fn read(model: &Path, version: Option<u32>) -> Result<Artifact, ModelError> {
    if !model.is_dir() {
        let out = model.display();
        let remedy = format!("train a model with `alluvium train DATA.csv --label COLUMN --out {out}`");
        return Err(fault(model, format!("there is no such folder; {remedy}")));
    }
    let version = match version {
        Some(version) => version,
        None => champion_of(model)?,
    };
    let folder = model.join(version.to_string());
    if !folder.is_dir() {
        return Err(fault(model, format!("there is no version {version}; {}", versions_told(model)?)));
    }
    read_version(model, &folder, version)
}

fn read_version(model: &Path, folder: &Path, version: u32) -> Result<Artifact, ModelError> {
    let (manifest_path, weights_path) = (folder.join(MANIFEST), folder.join(WEIGHTS));
    let json = read_file(&manifest_path, MANIFEST_BYTES_MAX)?;
    let weights = read_file(&weights_path, WEIGHTS_BYTES_MAX)?;
    let manifest = Manifest::parse(&json).map_err(|error| fault(&manifest_path, error))?;
    if manifest.version != version {
        let told = format!("it says version {}, and stands in the folder of version {version}", manifest.version);
        return Err(fault(&manifest_path, told));
    }
    let layers =
        weights::from_safetensors(&weights, &manifest.widths()).map_err(|error| fault(&weights_path, error))?;
    let reference = ModelRef { name: name(model)?, version, digest: digest(&json, &weights) };
    Ok(Artifact { manifest, layers, reference })
}

/// The same as `cat manifest.json weights.safetensors | sha256sum`.
fn digest(manifest: &[u8], weights: &[u8]) -> String {
    format!("{:x}", Sha256::new().chain_update(manifest).chain_update(weights).finalize())
}

/// The model's name is its folder's.
fn name(model: &Path) -> Result<String, ModelError> {
    let whole = model.canonicalize().map_err(|source| io_error("find", model, source))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(String::from).ok_or_else(|| fault(model, "the folder has no name that could be the model's".to_owned()))
}

/// The number of the version in use.
pub async fn champion(settings: &ModelSettings) -> Result<u32, ModelError> {
    champion_of(&settings.path)
}

fn champion_of(model: &Path) -> Result<u32, ModelError> {
    let path = model.join(CHAMPION);
    if !path.exists() {
        let told = versions_told(model)?;
        return Err(fault(
            model,
            format!("no champion is named; {told}; name a version, or write one into `champion`"),
        ));
    }
    let text = String::from_utf8_lossy(&read_file(&path, CHAMPION_BYTES_MAX)?).into_owned();
    text.trim().parse().map_err(|_| fault(&path, format!("it holds `{}`, which is no version number", text.trim())))
}

fn versions_told(model: &Path) -> Result<String, ModelError> {
    let versions: Vec<_> = versions(model)?.iter().map(u32::to_string).collect();
    Ok(if versions.is_empty() { "it has no versions".to_owned() } else { format!("it has {}", versions.join(", ")) })
}

/// The numbers of all versions, ascending.
fn versions(model: &Path) -> Result<Vec<u32>, ModelError> {
    let entries = fs::read_dir(model).map_err(|source| io_error("list", model, source))?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let mut versions: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    versions.sort_unstable();
    Ok(versions)
}

fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ModelError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => fault(path, "the file is not there".to_owned()),
        _ => io_error("open", path, source),
    })?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|source| io_error("read", path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(fault(path, format!("it is larger than the limit of {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// A version that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub reference: ModelRef,
    pub folder: PathBuf,
}

/// Writes a trained network as the model's next version, whole or not at all, and names it champion if told to.
pub fn save(model: &Path, trained: &Trained, promote: bool) -> Result<Saved, ModelError> {
    fs::create_dir_all(model).map_err(|source| io_error("make", model, source))?;
    let version = versions(model)?.last().map_or(1, |last| last + 1);
    let name = name(model)?;
    let manifest = trained.manifest(&name, version);
    let told = |error: &dyn std::fmt::Display| fault(model, format!("can't write the model down: {error}"));
    let json = manifest.to_json().map_err(|error| told(&error))?;
    let weights = weights::to_safetensors(&trained.layers).map_err(|error| told(&error))?;
    weights::from_safetensors(&weights, &manifest.widths()).map_err(|error| told(&error))?;
    let folder = model.join(version.to_string());
    let draft = model.join(format!(".{}", Uuid::new_v4()));
    write_folder(&draft, &folder, &[(MANIFEST, &json), (WEIGHTS, &weights)]).inspect_err(|_| {
        // What the failed attempt left is of no use to anyone, and its name is ours alone.
        let _ = fs::remove_dir_all(&draft);
    })?;
    if promote {
        name_champion(model, version)?;
    }
    Ok(Saved { reference: ModelRef { name, version, digest: digest(&json, &weights) }, folder })
}

/// Fills a folder under a name that nobody reads, then gives it its own.
fn write_folder(draft: &Path, folder: &Path, files: &[(&str, &[u8])]) -> Result<(), ModelError> {
    fs::create_dir(draft).map_err(|source| io_error("make", draft, source))?;
    for (name, bytes) in files {
        write_file(&draft.join(name), bytes)?;
    }
    // A folder can't be renamed onto one with files in it, so of two trainings at once one fails here.
    fs::rename(draft, folder).map_err(|source| io_error("write the version", folder, source))
}

fn name_champion(model: &Path, version: u32) -> Result<(), ModelError> {
    let draft = model.join(format!(".{}", Uuid::new_v4()));
    let path = model.join(CHAMPION);
    write_file(&draft, format!("{version}\n").as_bytes())?;
    fs::rename(&draft, &path).map_err(|source| io_error("write", &path, source))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let write = || -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io_error("write", path, source))
}

fn fault(path: &Path, fault: String) -> ModelError {
    ModelError::Artifact { path: path.to_owned(), fault }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { action, path: path.to_owned(), source }
}
