//! What a person asks of a version without using it: when it was made, of what, and how good it is.

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{LOOKS_AT_ONCE, MANIFEST, MANIFEST_BYTES_MAX, REPORT_JSON, Registry, path};
use crate::model::{Manifest, error::ModelError};

/// A larger report is not ours.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// A version by its manifest; its weights were not looked at.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    pub version: u32,
    /// When it was made, by its report; of a version without one, when its manifest was last written.
    pub date: String,
    pub place: String,
    pub files: Vec<String>,
    pub manifest: Manifest,
}

/// The one thing that is read of a report here.
#[derive(Deserialize)]
struct Dated {
    model: DatedModel,
}

#[derive(Deserialize)]
struct DatedModel {
    date: String,
}

impl Registry {
    /// All versions, ascending, each with what is known of it or what is wrong with it.
    pub async fn list(&self) -> Result<Vec<(u32, Result<About, ModelError>)>, ModelError> {
        let versions = stream::iter(self.versions().await?);
        Ok(versions
            .map(|version| async move { (version, self.about(version).await) })
            .buffered(LOOKS_AT_ONCE)
            .collect()
            .await)
    }

    pub async fn about(&self, version: u32) -> Result<About, ModelError> {
        let manifest_path = path(version, MANIFEST);
        let Some(json) = self.files.read(&manifest_path, MANIFEST_BYTES_MAX).await? else {
            return Err(self.no_manifest(version).await?);
        };
        let manifest = Manifest::parse(&json).map_err(|fault| self.fault(version, MANIFEST, fault))?;
        let files = self.files.names(version).await?;
        let date = match self.reported_date(version).await? {
            Some(date) => date,
            None => self.files.written_at(&manifest_path).await?,
        };
        let place = format!("{}/{version}", self.files.url());
        Ok(About { version, date, place, files, manifest })
    }

    /// A report of another make than ours tells no date.
    async fn reported_date(&self, version: u32) -> Result<Option<String>, ModelError> {
        let report = self.files.read(&path(version, REPORT_JSON), REPORT_BYTES_MAX).await?;
        Ok(report.and_then(|json| serde_json::from_slice::<Dated>(&json).ok()).map(|report| report.model.date))
    }
}
