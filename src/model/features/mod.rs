//! What the model looks at: what the manifest says of each feature, and what fits it.
//!
//! Training and scoring both go through [`Encoder`], so they can't disagree.

mod encoder;
mod fit;
mod text;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

pub use self::text::Text;
pub(super) use self::{
    encoder::Encoder,
    fit::{Fitter, Numbers},
};
use super::error::ModelError;
use crate::record::{Field, FieldKind};

/// How far from the mean a number may lie, in standard deviations, before it is taken as lying just so far. With it, and
/// with the weights' bound, no finite number can make the network overflow.
pub(super) const DEVIATIONS_MAX: f64 = 1e6;

/// One thing that the model looks at: a field of the record, and one or more floats of the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The field's name.
    pub name: String,
    /// The training data had missing values here. Then a record may lack the field, and (unless the feature is
    /// categorical, where the unknown slot tells) a float of its own says so.
    pub missing: bool,
    pub kind: FeatureKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum FeatureKind {
    /// `(x - mean) / std`; a missing value takes the mean.
    Numeric { mean: f64, std: f64 },
    /// 0 or 1; a missing value takes 0.
    Boolean,
    /// A float for each word, and one for a word that training did not see.
    Categorical { vocabulary: Vec<String> },
    /// The shares of its n-grams; a missing value takes none.
    Text(Text),
}

impl Feature {
    /// How many floats of the network's input it fills.
    pub(super) fn width(&self) -> usize {
        match &self.kind {
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => 1 + usize::from(self.missing),
            FeatureKind::Categorical { vocabulary } => vocabulary.len() + 1,
            FeatureKind::Text(text) => text.buckets.saturating_add(usize::from(self.missing)),
        }
    }

    /// Of its floats, nearly all are nought in any one row.
    pub(super) fn is_sparse(&self) -> bool {
        match self.kind {
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => false,
            FeatureKind::Categorical { .. } | FeatureKind::Text(_) => true,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let fault = match &self.kind {
            FeatureKind::Numeric { mean, .. } if !mean.is_finite() => format!("its mean is {mean}"),
            FeatureKind::Numeric { std, .. } if !(std.is_finite() && *std > 0.0) => format!("its std is {std}"),
            FeatureKind::Categorical { vocabulary } if vocabulary.is_empty() => "its vocabulary is empty".to_owned(),
            FeatureKind::Categorical { vocabulary } => match super::manifest::repeated(vocabulary.iter()) {
                Some(word) => format!("its vocabulary has `{word}` twice"),
                None => return Ok(()),
            },
            FeatureKind::Text(text) => match text.check() {
                Err(fault) => fault,
                Ok(()) => return Ok(()),
            },
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => return Ok(()),
        };
        Err(format!("feature `{}`: {fault}", self.name))
    }

    /// What keeps the feature from being read from these fields.
    pub(super) fn fault_among(&self, fields: &[Field]) -> Option<String> {
        let Some(field) = fields.iter().find(|field| field.name == self.name) else {
            let hint = did_you_mean(&self.name, fields.iter().map(|field| field.name.as_str()));
            return Some(format!("the model needs the field `{}`, which is not declared{hint}", self.name));
        };
        if self.reads(&field.kind.data_type()) {
            return None;
        }
        let (kind, wanted) = (self.kind.name(), self.kind.wanted());
        Some(format!("the field `{}` is {kind} to the model, so it must be {wanted}", self.name))
    }

    fn reads(&self, data_type: &DataType) -> bool {
        use DataType::{Boolean, Float32, Float64, Int32, Int64, Utf8};
        match self.kind {
            FeatureKind::Numeric { .. } => matches!(data_type, Int32 | Int64 | Float32 | Float64 | Boolean),
            FeatureKind::Boolean => matches!(data_type, Boolean),
            FeatureKind::Categorical { .. } => matches!(data_type, Utf8 | Boolean),
            FeatureKind::Text(_) => matches!(data_type, Utf8),
        }
    }
}

impl FeatureKind {
    /// For people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Numeric { .. } => "numeric",
            Self::Boolean => "boolean",
            Self::Categorical { .. } => "categorical",
            Self::Text(_) => "text",
        }
    }

    pub(in crate::model) fn wanted(&self) -> &'static str {
        match self {
            Self::Numeric { .. } => "int32, int64, float32, float64 or bool",
            Self::Boolean => "bool",
            Self::Categorical { .. } => "string or bool",
            Self::Text(_) => "string",
        }
    }
}

/// `; did you mean …?` if one of the names is close, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> String {
    const LIKENESS_MIN: f64 = 0.8;
    let alike = |other: &&str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    others
        .map(|other| (alike(&other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map_or_else(String::new, |(_, other)| format!("; did you mean `{other}`?"))
}

impl Feature {
    fn unreadable(&self, data_type: &DataType) -> ModelError {
        let (name, kind, wanted) = (&self.name, self.kind.name(), self.kind.wanted());
        ModelError::Schema(format!("the column `{name}` is {kind} to the model: {wanted} is wanted, not {data_type}"))
    }
}

impl FieldKind {
    /// The type of the Arrow column that the model reads such a field from, if it reads it at all.
    fn data_type(self) -> DataType {
        match self {
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::String => DataType::Utf8,
            Self::Timestamp(_) | Self::Date => DataType::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_does_not_fit_is_told_with_a_hint() {
        let field =
            |name: &str, kind| Field { name: name.to_owned(), kind, nullable: false, path: vec![name.to_owned()] };
        let feature = Feature {
            name: "petal_length".to_owned(),
            missing: false,
            kind: FeatureKind::Numeric { mean: 10.0, std: 2.0 },
        };
        assert_eq!(feature.fault_among(&[field("petal_length", FieldKind::Float32)]), None);
        let missing = feature.fault_among(&[field("petal_lenght", FieldKind::Float64)]).unwrap();
        assert!(missing.ends_with("not declared; did you mean `petal_lenght`?"), "{missing}");
        let wrong = feature.fault_among(&[field("petal_length", FieldKind::String)]).unwrap();
        assert!(wrong.contains("`petal_length` is numeric to the model, so it must be int32"), "{wrong}");
        let unlike = feature.fault_among(&[field("colour", FieldKind::String)]).unwrap();
        assert!(unlike.ends_with("which is not declared"), "{unlike}");
    }

    #[test]
    fn text_is_read_from_strings_alone_and_written_into_the_manifest_with_its_recipe() {
        let json = r#"{"name":"post","missing":true,"kind":{"text":{"buckets":8,"words":0,"chars":[3,5]}}}"#;
        let feature: Feature = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&feature).unwrap(), json);
        assert_eq!((feature.width(), feature.is_sparse(), feature.check()), (9, true, Ok(())));
        let field = Field { name: "post".to_owned(), kind: FieldKind::Bool, nullable: false, path: vec![] };
        let fault = feature.fault_among(&[field]).unwrap();
        assert_eq!(fault, "the field `post` is text to the model, so it must be string");
        let unknown = json.replace("words", "sentences");
        assert!(
            serde_json::from_str::<Feature>(&unknown).unwrap_err().to_string().contains("unknown field `sentences`")
        );
    }
}
