//! Networks of other sizes than the shipped one, for the same records.

use std::path::Path;

use anyhow::ensure;

use crate::{measured::as_command, stand::PROGRAM};

/// How well it tells classes apart is not what is measured.
const EPOCHS: &str = "1";

/// Trains a network with these hidden layers on irises, and tells where it is.
pub async fn trained(folder: &Path, hidden: &str) -> anyhow::Result<String> {
    let out = folder.join(format!("iris-{}", hidden.replace(',', "-"))).display().to_string();
    let words = [PROGRAM, "train", "models/iris/data/iris.csv", "--label", "species"];
    let more = ["--hidden", hidden, "--epochs", EPOCHS, "--out", &out, "--json", "--log", "warn"];
    let words: Vec<_> = words.into_iter().chain(more).map(Into::into).collect();
    let done = as_command(&words).output().await?;
    ensure!(done.status.success(), "no model was trained: {}", String::from_utf8_lossy(&done.stderr));
    Ok(out)
}
