//! A trained network becomes a version, whole or not at all.

use arrow::array::RecordBatch;

use super::{
    GOLDEN, Golden, MANIFEST, REPORT_HTML, REPORT_JSON, Registry, SUMS, WEIGHTS,
    files::{NamedFiles, Written},
    sums::Sums,
};
use crate::{
    model::{Backend, Model, error::ModelError, training::Trained, weights},
    record::ModelRef,
};

/// Numbers tried while others save versions too.
const SAVE_TRIES_MAX: usize = 16;

/// What stands beside a version's network, for people and for checks.
#[derive(Clone, Copy, Default)]
pub struct Papers<'a> {
    /// Rows with the features' columns: the first of them are scored and kept with their exact answers.
    pub golden: Option<&'a RecordBatch>,
    /// Writes the report of the version that it is given; it is asked again if another one takes the number meanwhile.
    pub report: Option<&'a WriteReport<'a>>,
}

impl std::fmt::Debug for Papers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Papers").field("golden", &self.golden).finish_non_exhaustive()
    }
}

/// From the version's name and number to its report.
pub type WriteReport<'a> = dyn Fn(&ModelRef) -> Result<Pages, ModelError> + Sync + 'a;

/// A report, in its two forms.
#[derive(Clone, Debug)]
pub struct Pages {
    pub html: String,
    pub json: Vec<u8>,
}

/// A version that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub reference: ModelRef,
    /// The folder of the version, or its URL.
    pub place: String,
}

/// Writes a trained network as the model's next version, and names it champion if told to.
pub async fn save(url: &str, trained: &Trained, papers: Papers<'_>, promote: bool) -> Result<Saved, ModelError> {
    Registry::create(url)?.save(trained, papers, promote).await
}

impl Registry {
    pub(in crate::model) async fn save(
        &self,
        trained: &Trained,
        papers: Papers<'_>,
        promote: bool,
    ) -> Result<Saved, ModelError> {
        let mut last = self.files.numbers().await?.last().copied().unwrap_or(0);
        for _ in 0..SAVE_TRIES_MAX {
            let version = last.checked_add(1).ok_or_else(|| self.unsavable("there is no number left"))?;
            let (reference, files) = self.draft(version, trained, papers)?;
            if self.files.write_folder(version, files).await? == Written::Now {
                if promote {
                    self.name_champion(version).await?;
                }
                return Ok(Saved { reference, place: format!("{}/{version}", self.files.url()) });
            }
            last = version;
        }
        Err(self.unsavable(&format!("{SAVE_TRIES_MAX} numbers were taken by others meanwhile; try again")))
    }

    /// All files of a version; the manifest last, because with it the version is there.
    fn draft(&self, version: u32, trained: &Trained, papers: Papers<'_>) -> Result<(ModelRef, NamedFiles), ModelError> {
        let manifest = trained.manifest(&self.name, version);
        let json = manifest.to_json().map_err(|error| self.unsavable(&error.to_string()))?;
        let weights = weights::to_safetensors(&trained.layers).map_err(|error| self.unsavable(&error.to_string()))?;
        let artifact = self.understand(version, &json, &weights)?;
        let reference = artifact.reference.clone();
        let mut files: NamedFiles = vec![(WEIGHTS, weights.into())];
        if let Some(rows) = papers.golden {
            let golden = Golden::of(&Model::of(artifact, Backend::NdArray)?, rows)?;
            files.push((GOLDEN, golden.to_json().into()));
        }
        if let Some(report) = papers.report {
            let pages = report(&reference)?;
            files.extend([(REPORT_JSON, pages.json.into()), (REPORT_HTML, pages.html.into())]);
        }
        files.push((MANIFEST, json.into()));
        let sums = Sums::text(files.iter().map(|(name, bytes)| (*name, bytes.as_ref())));
        files.insert(files.len() - 1, (SUMS, sums.into()));
        Ok((reference, files))
    }

    fn unsavable(&self, fault: &str) -> ModelError {
        ModelError::artifact(self.files.url(), format!("can't write the model down: {fault}"))
    }
}
