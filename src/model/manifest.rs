//! The manifest: all that is needed to turn a row into floats and the network's answer into a class, and where the
//! weights come from. Owns the JSON; does not own the files.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{evaluation::Evaluation, features::Feature};
use crate::record::name;

/// The only format that this build reads. A change that an older build would misread takes the next number.
pub(super) const FORMAT: &str = "alluvium-model/1";

/// A class is a `u8` in [`crate::record::Scores`], and a column in the lake.
pub(super) const CLASSES_MAX: usize = 255;

/// Floats in one row of the network's input.
pub(super) const WIDTH_MAX: usize = 16_384;

/// Units in one hidden layer.
pub(super) const UNITS_MAX: usize = 4_096;

/// Hidden layers.
pub(super) const LAYERS_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub name: String,
    pub version: u32,
    /// In the order of the network's inputs.
    pub features: Vec<Feature>,
    pub hidden: Vec<usize>,
    pub activation: Activation,
    /// In the order of the network's outputs.
    pub classes: Vec<String>,
    /// What the network's answers are divided by before they become probabilities, so that a confidence is as often right
    /// as it says. The class does not depend on it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub temperature: f32,
    /// A network that was trained elsewhere has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
}

fn one() -> f32 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(temperature: &f32) -> bool {
    temperature.to_bits() == one().to_bits()
}

/// What follows every layer but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    #[default]
    Relu,
    Tanh,
}

impl Activation {
    /// For people, and in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Tanh => "tanh",
        }
    }
}

/// How the weights came about. No date: the same data, seed and build make the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub label: String,
    /// SHA-256 of the training file, in hex.
    pub data: String,
    pub rows: usize,
    pub rows_train: usize,
    pub rows_validation: usize,
    pub rows_test: usize,
    pub seed: u64,
    pub epochs: usize,
    /// The epoch whose weights were kept.
    pub best_epoch: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub weight_decay: f32,
    #[serde(default)]
    pub dropout: f64,
    /// The loss weight of each class; absent when classes are about equally common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f32>>,
    /// On the rows that training never saw.
    pub held_out: Evaluation,
    pub alluvium: String,
    pub burn: String,
}

impl Manifest {
    /// Reads and checks a manifest; the error says what is wrong with it.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
        }
        let header: Header = serde_json::from_slice(json).map_err(|error| format!("not a manifest: {error}"))?;
        if header.format != FORMAT {
            return Err(format!("its format is `{}`, and this build reads `{FORMAT}`", header.format));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The number of floats into the network, out of each hidden layer, and out of the network.
    #[must_use]
    pub fn widths(&self) -> Vec<usize> {
        let inputs = self.features.iter().map(Feature::width).sum();
        [inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.classes.len()]).collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(2..=CLASSES_MAX).contains(&self.classes.len()) {
            return Err(format!("it has {} classes, and a model has 2 to {CLASSES_MAX}", self.classes.len()));
        }
        if self.hidden.len() > LAYERS_MAX {
            return Err(format!("it has {} hidden layers, and a model has at most {LAYERS_MAX}", self.hidden.len()));
        }
        if let Some(units) = self.hidden.iter().find(|units| !(1..=UNITS_MAX).contains(units)) {
            return Err(format!("a hidden layer has {units} units, and a layer has 1 to {UNITS_MAX}"));
        }
        if self.features.is_empty() {
            return Err("it has no features".to_owned());
        }
        self.check_names()?;
        if let Some(class) = repeated(self.classes.iter()) {
            return Err(format!("class `{class}` is named twice"));
        }
        if let Some(name) = repeated(self.features.iter().map(|feature| &feature.name)) {
            return Err(format!("feature `{name}` is named twice"));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(format!("its temperature is {}, and a finite number above 0 is wanted", self.temperature));
        }
        self.features.iter().try_for_each(Feature::check)?;
        self.check_width()
    }

    /// They become columns, and are shown wherever the model is.
    fn check_names(&self) -> Result<(), String> {
        let classes = self.classes.iter().map(|class| ("class", class));
        let features = self.features.iter().map(|feature| ("feature", &feature.name));
        // A draft has no name yet.
        let name = Some(("name", &self.name)).filter(|(_, name)| !name.is_empty());
        let others = name.into_iter().chain(self.training.iter().map(|made| ("label", &made.label)));
        for (what, named) in others.chain(features).chain(classes) {
            if let Some(why) = name::fault(named) {
                return Err(format!("{what} {} {why}", name::quoted(named)));
            }
        }
        Ok(())
    }

    fn check_width(&self) -> Result<(), String> {
        let width: usize = self.features.iter().map(Feature::width).sum();
        if width > WIDTH_MAX {
            return Err(format!("its features make {width} floats a row, and the limit is {WIDTH_MAX}"));
        }
        Ok(())
    }
}

/// The first name that was there before.
pub(super) fn repeated<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, String> {
        let mut json = serde_json::json!({
            "format": FORMAT, "name": "m", "version": 1, "hidden": [4], "activation": "relu", "classes": ["a", "b"],
            "features": [{ "name": "x", "missing": false, "kind": { "numeric": { "mean": 0.0, "std": 1.0 } } }],
        });
        edit(&mut json);
        Manifest::parse(&serde_json::to_vec(&json).unwrap())
    }

    #[test]
    fn a_whole_manifest_is_read_and_written_back_the_same() {
        let read = manifest(|_| ()).unwrap();
        assert_eq!(read.widths(), [1, 4, 2]);
        assert_eq!(Manifest::parse(&read.to_json().unwrap()).unwrap(), read);
    }

    #[test]
    fn a_temperature_is_kept_to_the_last_bit_and_one_is_not_written() {
        assert!(!String::from_utf8(manifest(|_| ()).unwrap().to_json().unwrap()).unwrap().contains("temperature"));
        for temperature in [1.234_567_9_f32, f32::MIN_POSITIVE, 0.1 + 0.2, f32::MAX] {
            let read = manifest(|json| json["temperature"] = temperature.into()).unwrap();
            let again = Manifest::parse(&read.to_json().unwrap()).unwrap();
            assert_eq!(again.temperature.to_bits(), temperature.to_bits());
        }
        for (bad, want) in [(0.0, "its temperature is 0"), (-1.0, "its temperature is -1"), (1e39, "out of range")] {
            let error = manifest(|json| json["temperature"] = bad.into()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn each_fault_is_one_clear_sentence() {
        let many: Vec<String> = (0..256).map(|class| class.to_string()).collect();
        let feature = |kind: serde_json::Value| serde_json::json!([{ "name": "x", "missing": false, "kind": kind }]);
        let cases = [
            ("/format", "alluvium-model/9".into(), "its format is `alluvium-model/9`"),
            ("/activation", "swish".into(), "unknown variant `swish`, expected `relu` or `tanh`"),
            ("/classes", serde_json::json!(["a"]), "it has 1 classes"),
            ("/classes", serde_json::json!(many), "it has 256 classes"),
            ("/classes", serde_json::json!(["a", "a"]), "class `a` is named twice"),
            ("/hidden", serde_json::json!([0]), "a hidden layer has 0 units"),
            ("/hidden", serde_json::json!([4_000_000_000_u64]), "has 4000000000 units"),
            ("/hidden", serde_json::json!(vec![1; 17]), "17 hidden layers"),
            ("/format", serde_json::Value::Null, "not a manifest: "),
            ("/version", "1".into(), "invalid type: string"),
            ("/features", serde_json::json!([]), "it has no features"),
            ("/features", feature(serde_json::json!({ "numeric": { "mean": 0, "std": 0 } })), "`x`: its std is 0"),
            ("/features", feature(serde_json::json!({ "categorical": { "vocabulary": [] } })), "`x`: its vocabulary"),
            ("/features", feature("date".into()), "unknown variant `date`"),
            (
                "/features",
                feature(serde_json::json!({ "text": { "buckets": 0, "words": 1 } })),
                "`x`: it has no buckets",
            ),
        ];
        for (place, value, want) in cases {
            let error = manifest(|json| *json.pointer_mut(place).unwrap() = value).unwrap_err();
            assert!(error.contains(want), "{place}: {error}");
        }
    }

    #[test]
    fn a_key_that_this_build_does_not_know_is_refused_because_it_may_change_the_answer() {
        let error = manifest(|json| json["dropout"] = 0.5.into()).unwrap_err();
        assert!(error.contains("unknown field `dropout`"), "{error}");
        assert!(Manifest::parse(b"{}").unwrap_err().contains("missing field `format`"));
        assert!(Manifest::parse(b"\xff").is_err());
    }
}
