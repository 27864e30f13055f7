//! Is a version what it was when it was made, and does it still answer as it did then?

use serde::Serialize;

use super::{
    GOLDEN, Golden, MANIFEST, Registry, WEIGHTS,
    golden::{DRIFT_MAX, GOLDEN_BYTES_MAX},
    path,
};
use crate::{
    model::{Backend, Model, error::ModelError},
    record::ModelRef,
};

/// A larger file beside a network is not read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A version in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    pub model: ModelRef,
    /// The files whose digest was recomputed; none where the version has no SHA256SUMS.
    pub files: Vec<String>,
    pub golden: GoldenVerdict,
}

/// What came of the golden sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum GoldenVerdict {
    /// The version has no sample.
    Absent,
    /// The same answers to the last bit.
    Exact { rows: usize },
    /// Another processor or build rounds otherwise; this is the largest difference.
    Rounding { rows: usize, difference: f32 },
}

impl Registry {
    /// Recomputes the digests of all files, loads the network, and scores the golden sample. Whatever is wrong is an error.
    pub async fn verify(&self, version: u32) -> Result<Verified, ModelError> {
        let artifact = self.read(version).await?;
        let files = self.check_sums(version).await?;
        let model = Model::of(artifact, Backend::NdArray)?;
        let golden = self.check_golden(version, &model).await?;
        Ok(Verified { model: model.reference(), files, golden })
    }

    async fn check_sums(&self, version: u32) -> Result<Vec<String>, ModelError> {
        let Some(sums) = self.sums(version).await? else { return Ok(vec![]) };
        // Reading the version has checked the network's own two.
        for name in sums.names().filter(|name| ![MANIFEST, WEIGHTS].contains(name)) {
            let bytes = self.needed(version, name, FILE_BYTES_MAX).await?;
            sums.check(name, &bytes).map_err(|fault| self.fault(version, name, fault))?;
        }
        Ok(sums.names().map(String::from).collect())
    }

    async fn check_golden(&self, version: u32, model: &Model) -> Result<GoldenVerdict, ModelError> {
        let Some(json) = self.files.read(&path(version, GOLDEN), GOLDEN_BYTES_MAX).await? else {
            return Ok(GoldenVerdict::Absent);
        };
        let golden = Golden::parse(&json).map_err(|fault| self.fault(version, GOLDEN, fault))?;
        let rows = golden.rows.len();
        let difference = golden.drift(model).map_err(|error| self.fault(version, GOLDEN, error.to_string()))?;
        if difference > DRIFT_MAX {
            let told =
                format!("the network's answers are off by up to {difference:e}, and {DRIFT_MAX:e} may be rounding");
            return Err(self.fault(version, GOLDEN, told));
        }
        Ok(if difference > 0.0 { GoldenVerdict::Rounding { rows, difference } } else { GoldenVerdict::Exact { rows } })
    }
}
