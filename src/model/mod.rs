//! The classifier: how a row becomes floats, the network, training, the artifact on disk, scoring.
//!
//! ```text
//! table ──labelled──▶ columns ──features::fit──▶ manifest ─┐
//!                                                          ├─registry──▶ models/NAME/VERSION ──Model::load──▶ Scorer
//!                             ──train──▶ weights ──────────┘
//! ```
//!
//! Owns what a model is, in memory and on disk. Does not own where rows come from or where predictions go.
//! `network` alone names Burn, and `report` alone draws.

mod comparison;
mod error;
mod evaluation;
mod features;
mod manifest;
mod network;
mod registry;
mod report;
mod scorer;
mod softmax;
mod training;
mod weights;

use std::sync::Arc;

use arrow::datatypes::Schema;

pub use self::{
    comparison::{Comparison, compare},
    error::ModelError,
    evaluation::{
        Area, Calibration, CalibrationBin, ClassResult, Curves, Evaluation, Importance, McNemar, McNemarTest, Point,
        Predictions, SIGNIFICANT_BELOW, importance, temperature,
    },
    features::{Feature, FeatureKind, Text},
    manifest::{Activation, Manifest, Training},
    registry::{
        About, Champion, Changes, Golden, GoldenVerdict, Pages, Papers, Registry, Saved, Verified, WriteReport,
        champion, save,
    },
    report::{
        BaselineResult, ClassShare, ColumnSummary, DataSummary, EpochPoint, Fold, Folds, NumberSummary, Report,
        ReportInput, Setting, SplitSizes, Standing, Subject, Trial, Verdict,
    },
    scorer::Scorer,
    training::{
        ClassWeights, Column, ColumnKind, Columns, FOLDS_MAX, Labelled, Plan, Stage, TRIALS_MAX, TrainSettings,
        Trained, Watch, folds, train,
    },
};
use self::{features::Encoder, network::Forward, registry::Artifact};
use crate::record::{Field, FieldKind, ModelRef};

/// Which model scores the records, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    /// The place of all its versions: `models/iris`, `s3://bucket/models/iris`.
    pub url: String,
    /// `None` is the champion.
    pub version: Option<u32>,
    pub backend: Backend,
}

/// Which of Burn's backends computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    #[default]
    NdArray,
    /// Only in a build with the cargo feature `flex`.
    Flex,
}

/// A version of a model, read and checked. Cheap to share: scorers hold the same network.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    reference: ModelRef,
    forward: Arc<Forward>,
}

impl Model {
    /// Reads a version from its place. Anything wrong with it is an error here, so that scoring can trust it.
    pub async fn load(settings: &ModelSettings) -> Result<Self, ModelError> {
        Self::of(registry::read(settings).await?, settings.backend)
    }

    fn of(artifact: Artifact, backend: Backend) -> Result<Self, ModelError> {
        let forward = Forward::new(&artifact.layers, artifact.manifest.activation, backend)?;
        Ok(Self { manifest: artifact.manifest, reference: artifact.reference, forward: Arc::new(forward) })
    }

    #[must_use]
    pub fn reference(&self) -> ModelRef {
        self.reference.clone()
    }

    /// The class names, in the order of [`crate::record::Scores::class`].
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.manifest.classes
    }

    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The fields that every record must have: the training data had no missing value there.
    pub fn required_fields(&self) -> impl Iterator<Item = &str> {
        self.manifest.features.iter().filter(|feature| !feature.missing).map(|feature| feature.name.as_str())
    }

    /// Its features as fields of a record, at the top of it and as wide as they go.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        let field = |feature: &Feature| Field {
            name: feature.name.clone(),
            kind: match feature.kind {
                FeatureKind::Numeric { .. } => FieldKind::Float64,
                FeatureKind::Boolean => FieldKind::Bool,
                _ => FieldKind::String,
            },
            nullable: feature.missing,
            path: vec![feature.name.clone()],
        };
        self.manifest.features.iter().map(field).collect()
    }

    /// What keeps these fields from being scored, one sentence a fault.
    #[must_use]
    pub fn check_fields(&self, fields: &[Field]) -> Vec<String> {
        self.manifest.features.iter().filter_map(|feature| feature.fault_among(fields)).collect()
    }

    /// A scorer for batches of this schema.
    pub fn scorer(&self, schema: &Schema) -> Result<Scorer, ModelError> {
        let encoder = Encoder::bind(&self.manifest.features, schema)?;
        Ok(Scorer::new(Arc::clone(&self.forward), encoder, self.manifest.temperature))
    }
}

#[cfg(test)]
mod tests;
