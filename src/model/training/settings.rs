//! What a person may choose about a training, with the defaults, and what of it makes no sense.

use std::str::FromStr;

use crate::model::manifest::Activation;

/// Classes are weighted when the commonest has so many times the rows of the rarest.
const SKEW_MAX: f64 = 1.5;

/// Without a batch size of its own, a small table is cut into so many batches, within the limits.
const BATCHES_SMALL: usize = 8;
const BATCH_ROWS_SMALL: std::ops::RangeInclusive<usize> = 8..=256;

/// A large table into so many; larger batches cost less a row.
const BATCHES_LARGE: usize = 1_000;
const BATCH_ROWS_MAX: usize = 1_024;

/// Few rows say little, so the weights of their network are drawn to nought more strongly: by this over the number of
/// training rows, within limits.
const DECAY_OVER_ROWS: f64 = 150.0;
const DECAY_AUTO: std::ops::RangeInclusive<f64> = 1e-3..=0.3;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    pub seed: u64,
    pub hidden: Vec<usize>,
    pub activation: Activation,
    pub epochs_max: usize,
    /// Training stops after so many epochs without a better validation loss.
    pub patience: usize,
    /// `None` goes by the number of rows.
    pub batch_size: Option<usize>,
    /// Where the schedule begins; it ends at nought.
    pub learning_rate: f64,
    /// `None` goes by the number of rows.
    pub weight_decay: Option<f32>,
    /// The share of each hidden layer's units that a step leaves out.
    pub dropout: f64,
    pub class_weights: ClassWeights,
    pub validation_share: f64,
    pub test_share: f64,
    /// What the rows may take in memory; beyond it they lie in a temporary file. The result does not depend on it.
    pub memory_bytes_max: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            seed: 42,
            hidden: vec![16],
            activation: Activation::Relu,
            epochs_max: 200,
            patience: 40,
            batch_size: None,
            learning_rate: 0.01,
            weight_decay: None,
            dropout: 0.0,
            class_weights: ClassWeights::Auto,
            validation_share: 0.15,
            test_share: 0.2,
            memory_bytes_max: 1 << 30,
        }
    }
}

impl TrainSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        let share = |share: f64| share > 0.0 && share < 1.0;
        if self.epochs_max == 0 || self.patience == 0 || self.batch_size == Some(0) {
            return Err("epochs, patience and batch size are at least 1".to_owned());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(format!("a learning rate lies above 0 and up to 1, and {} does not", self.learning_rate));
        }
        if let Some(decay) = self.weight_decay.filter(|decay| !(0.0..=1.0).contains(decay)) {
            return Err(format!("a weight decay lies between 0 and 1, and {decay} does not"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("dropout leaves out a share from 0 up to, not including, 1; {} is none", self.dropout));
        }
        if !(share(self.validation_share) && share(self.test_share) && self.validation_share + self.test_share < 1.0) {
            return Err("the shares of validation and test lie above 0, and together below 1".to_owned());
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rule of thumb")]
    pub(super) fn weight_decay(&self, rows: usize) -> f32 {
        let by_rows = (DECAY_OVER_ROWS / rows.max(1) as f64).clamp(*DECAY_AUTO.start(), *DECAY_AUTO.end());
        self.weight_decay.unwrap_or(by_rows as f32)
    }

    pub(super) fn batch_size(&self, rows: usize) -> usize {
        let small = (rows / BATCHES_SMALL).clamp(*BATCH_ROWS_SMALL.start(), *BATCH_ROWS_SMALL.end());
        self.batch_size.unwrap_or_else(|| small.max((rows / BATCHES_LARGE).min(BATCH_ROWS_MAX)))
    }
}

/// What a row of each class weighs in the loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeights {
    /// Balanced if some classes are much rarer than others.
    #[default]
    Auto,
    /// All the same.
    None,
    /// The rarer the class, the more.
    Balanced,
    /// By the class's name; a class that is not named weighs 1.
    Given(Vec<(String, f32)>),
}

impl ClassWeights {
    /// The weight of each class for so many rows of each, if there are weights. The mean over the rows is 1, unless given.
    pub(super) fn of(&self, classes: &[String], rows: &[usize]) -> Result<Option<Vec<f32>>, String> {
        match self {
            Self::None => Ok(None),
            Self::Balanced => Ok(Some(balanced(rows))),
            Self::Auto => Ok(is_skewed(rows).then(|| balanced(rows))),
            Self::Given(given) => {
                if let Some((name, _)) = given.iter().find(|(name, _)| !classes.contains(name)) {
                    return Err(format!("a weight is given for `{name}`, and the classes are {}", classes.join(", ")));
                }
                let weight = |class| given.iter().find(|(name, _)| name == class).map_or(1.0, |(_, weight)| *weight);
                Ok(Some(classes.iter().map(weight).collect()))
            }
        }
    }
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |pair: &str| {
            let (class, weight) = pair.rsplit_once('=')?;
            let weight: f32 = weight.trim().parse().ok()?;
            (weight.is_finite() && weight > 0.0).then(|| (class.trim().to_owned(), weight))
        };
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            "balanced" => Ok(Self::Balanced),
            given => given
                .split(',')
                .map(|one| pair(one).ok_or_else(|| format!("`{one}` is neither auto, none, balanced nor CLASS=WEIGHT")))
                .collect::<Result<_, _>>()
                .map(Self::Given),
        }
    }
}

impl std::fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Balanced => f.write_str("balanced"),
            Self::Given(given) => {
                let pairs: Vec<_> = given.iter().map(|(class, weight)| format!("{class}={weight}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
fn is_skewed(rows: &[usize]) -> bool {
    let rarest = rows.iter().copied().min().unwrap_or(0).max(1);
    let commonest = rows.iter().copied().max().unwrap_or(0);
    commonest as f64 / rarest as f64 > SKEW_MAX
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of rows, and a weight")]
fn balanced(rows: &[usize]) -> Vec<f32> {
    let all: usize = rows.iter().sum();
    // A class whose only row was held out still needs a weight that is a number.
    let weight = |count: &usize| (all as f64 / (rows.len() as f64 * (*count).max(1) as f64)) as f32;
    rows.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(text: &str, rows: &[usize]) -> Result<Option<Vec<f32>>, String> {
        let classes = ["a", "b", "c"].map(String::from);
        text.parse::<ClassWeights>()?.of(&classes[..rows.len()], rows)
    }

    #[test]
    fn rare_classes_weigh_more_and_even_ones_need_no_weights() {
        assert_eq!(weights("auto", &[2, 2, 2]), Ok(None));
        assert_eq!(weights("auto", &[6, 2]), Ok(Some(vec![8.0 / 12.0, 2.0])));
        assert_eq!(weights("auto", &[3, 0]), Ok(Some(vec![0.5, 1.5])));
        assert_eq!(weights("none", &[6, 2]), Ok(None));
        assert_eq!(weights("balanced", &[2, 2]), Ok(Some(vec![1.0, 1.0])));
    }

    #[test]
    fn weights_are_given_by_class_and_a_wrong_one_is_told() {
        assert_eq!(weights("b=2.5", &[1, 1]), Ok(Some(vec![1.0, 2.5])));
        assert!(weights("d=2", &[1, 1]).unwrap_err().contains("`d`, and the classes are a, b"));
        for text in ["many", "a=", "a=-1", "a=inf", "a=1,b"] {
            assert!(weights(text, &[1, 1]).unwrap_err().contains("neither auto, none, balanced nor"), "{text}");
        }
        assert_eq!("a=1,b=0.5".parse::<ClassWeights>().unwrap().to_string(), "a=1,b=0.5");
    }

    #[test]
    fn settings_that_make_no_sense_are_told_apart() {
        type Edit = fn(&mut TrainSettings);
        let cases: [(Edit, &str); 6] = [
            (|s| s.epochs_max = 0, "at least 1"),
            (|s| s.learning_rate = f64::NAN, "a learning rate"),
            (|s| s.weight_decay = Some(-1.0), "a weight decay"),
            (|s| s.dropout = 1.0, "dropout"),
            (|s| s.test_share = 0.0, "the shares"),
            (|s| s.validation_share = 0.9, "the shares"),
        ];
        for (edit, want) in cases {
            let mut settings = TrainSettings::default();
            assert_eq!(settings.check(), Ok(()));
            edit(&mut settings);
            assert!(settings.check().unwrap_err().contains(want), "{want}");
        }
    }

    #[test]
    fn batches_grow_with_the_table() {
        let sizes = [1, 150, 10_000, 1_000_000, 100_000_000].map(|rows| TrainSettings::default().batch_size(rows));
        assert_eq!(sizes, [8, 18, 256, 1_000, 1_024]);
    }

    #[test]
    fn weights_decay_faster_the_fewer_rows_there_are() {
        let decays = [1, 1_500, 1_000_000].map(|rows| TrainSettings::default().weight_decay(rows).to_string());
        assert_eq!(decays, ["0.3", "0.1", "0.001"]);
    }
}
