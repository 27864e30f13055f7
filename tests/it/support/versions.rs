//! A model with several versions, each trained by the program itself.

use std::path::PathBuf;

use super::{program, stage::Stage};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris/data/iris.csv");
const EPOCHS: &str = "3";

/// A model's folder on a stage, called `iris` as the shipped one is.
#[derive(Debug)]
pub struct Versions {
    pub folder: PathBuf,
}

impl Versions {
    /// Version 1, promoted.
    pub async fn new(stage: &Stage) -> Self {
        let versions = Self { folder: stage.folder.path().join("models/iris") };
        versions.train(&["--seed", "1"]).await;
        versions
    }

    /// The next version, not promoted unless told so.
    pub async fn train(&self, more: &[&str]) {
        let arguments =
            ["train", TABLE, "--label", "species", "--epochs", EPOCHS, "--out", self.folder.to_str().unwrap()];
        let ran = program::run(arguments.iter().chain(more)).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    /// Another version that tells other classes apart.
    pub async fn train_other_classes(&self) {
        let table = self.folder.join("other.csv");
        let text = std::fs::read_to_string(TABLE).unwrap().replace("virginica", "ensata");
        std::fs::write(&table, text).unwrap();
        let arguments =
            ["train", table.to_str().unwrap(), "--label", "species", "--epochs", EPOCHS, "--no-promote", "--out"];
        let ran = program::run(arguments.into_iter().chain(self.folder.to_str())).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    /// Names a version champion, as a person would by hand.
    pub fn promote(&self, version: u32) {
        let draft = self.folder.join(".champion");
        std::fs::write(&draft, format!("{version}\n")).unwrap();
        std::fs::rename(draft, self.folder.join("champion")).unwrap();
    }

    /// Turns a byte of a version's weights over.
    pub fn spoil(&self, version: u32) {
        let path = self.folder.join(version.to_string()).join("weights.safetensors");
        let mut weights = std::fs::read(&path).unwrap();
        weights.truncate(weights.len() - 1);
        std::fs::write(path, weights).unwrap();
    }
}
