//! What each feature is, learned from the training rows as they pass by.

use std::collections::BTreeSet;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::Float64Type,
};

use super::{Feature, FeatureKind, Text};
use crate::model::training::ColumnKind;

/// Learns each column's feature from the training rows.
#[derive(Debug)]
pub(in crate::model) struct Fitter {
    columns: Vec<ColumnFit>,
}

#[derive(Debug)]
struct ColumnFit {
    name: String,
    missing: bool,
    learned: Learned,
}

#[derive(Debug)]
enum Learned {
    Numbers(Numbers),
    Nothing,
    Words(BTreeSet<String>),
    Text,
}

/// The sum of numbers without their sum: mean and spread, which stay exact however many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::model) struct Numbers {
    count: f64,
    pub mean: f64,
    squares: f64,
    pub min: f64,
    pub max: f64,
}

impl Fitter {
    /// For columns of these names and kinds; whether some row of the whole table has no value there, so that no held-out row
    /// has a null that training did not see.
    pub(in crate::model) fn new(columns: &[(String, ColumnKind, bool)]) -> Self {
        let column = |(name, kind, missing): &(String, ColumnKind, bool)| ColumnFit {
            name: name.clone(),
            missing: *missing,
            learned: match kind {
                ColumnKind::Numeric => Learned::Numbers(Numbers::default()),
                ColumnKind::Boolean => Learned::Nothing,
                ColumnKind::Categorical => Learned::Words(BTreeSet::new()),
                ColumnKind::Text => Learned::Text,
            },
        };
        Self { columns: columns.iter().map(column).collect() }
    }

    /// Takes in some of the training rows.
    pub(in crate::model) fn add(&mut self, train: &RecordBatch) {
        for (column, array) in self.columns.iter_mut().zip(train.columns()) {
            column.learned.add(array);
        }
    }

    pub(in crate::model) fn features(&self) -> Result<Vec<Feature>, String> {
        self.columns.iter().map(ColumnFit::feature).collect()
    }

    /// Of each column that holds numbers.
    pub(in crate::model) fn numbers(&self) -> impl Iterator<Item = Option<Numbers>> {
        self.columns.iter().map(|column| match column.learned {
            Learned::Numbers(numbers) if numbers.count > 0.0 => Some(numbers),
            _ => None,
        })
    }
}

impl ColumnFit {
    fn feature(&self) -> Result<Feature, String> {
        let kind = match &self.learned {
            Learned::Numbers(numbers) => numbers.feature(),
            Learned::Nothing => FeatureKind::Boolean,
            Learned::Words(words) => FeatureKind::Categorical { vocabulary: words.iter().cloned().collect() },
            Learned::Text => FeatureKind::Text(Text::default()),
        };
        let feature = Feature { name: self.name.clone(), missing: self.missing, kind };
        feature.check().map(|()| feature)
    }
}

impl Learned {
    fn add(&mut self, array: &ArrayRef) {
        match self {
            Self::Numbers(numbers) => {
                array.as_primitive::<Float64Type>().iter().flatten().for_each(|x| numbers.add(x));
            }
            Self::Words(words) => {
                let texts = array.as_string::<i32>().iter().flatten();
                for text in texts {
                    if !words.contains(text) {
                        words.insert(text.to_owned());
                    }
                }
            }
            Self::Nothing | Self::Text => {}
        }
    }
}

impl Numbers {
    fn add(&mut self, x: f64) {
        self.min = if self.count == 0.0 { x } else { self.min.min(x) };
        self.max = if self.count == 0.0 { x } else { self.max.max(x) };
        self.count += 1.0;
        let before = x - self.mean;
        self.mean += before / self.count;
        self.squares += before * (x - self.mean);
    }

    pub(in crate::model) fn std(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }

    fn feature(&self) -> FeatureKind {
        // All the training rows alike tells nothing of the scale.
        let std = if self.squares == 0.0 { 1.0 } else { self.std() };
        FeatureKind::Numeric { mean: to_digits(self.mean), std: to_digits(std) }
    }
}

/// To twelve significant digits, so that what is read back from the manifest is to the last bit what was trained with:
/// `serde_json` is exact only for so few digits.
fn to_digits(x: f64) -> f64 {
    format!("{x:.11e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    fn fitted(parts: &[usize]) -> Vec<Feature> {
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(0.2), Some(0.4)])) as ArrayRef),
            ("c", Arc::new(StringArray::from(vec!["b", "a", "b", "a"]))),
            ("same", Arc::new(Float64Array::from(vec![7.0; 4]))),
            ("post", Arc::new(StringArray::from(vec!["so good", "so bad", "so", ""]))),
        ])
        .unwrap();
        let kinds = [ColumnKind::Numeric, ColumnKind::Categorical, ColumnKind::Numeric, ColumnKind::Text];
        let columns: Vec<_> = ["x", "c", "same", "post"].into_iter().zip(kinds).collect();
        let columns: Vec<_> = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind, name == "x")).collect();
        let mut fitter = Fitter::new(&columns);
        let mut start = 0;
        for rows in parts {
            fitter.add(&batch.slice(start, *rows));
            start += rows;
        }
        fitter.features().unwrap()
    }

    #[test]
    fn fitting_looks_at_the_columns_and_survives_json_to_the_last_bit() {
        let features = fitted(&[4]);
        assert_eq!(features[1].kind, FeatureKind::Categorical { vocabulary: vec!["a".to_owned(), "b".to_owned()] });
        assert_eq!(features[2].kind, FeatureKind::Numeric { mean: 7.0, std: 1.0 });
        assert_eq!(features[3].kind, FeatureKind::Text(Text::default()));
        assert_eq!(features.iter().map(|feature| feature.missing).collect::<Vec<_>>(), [true, false, false, false]);
        let FeatureKind::Numeric { mean, std } = features[0].kind else { panic!("x is numeric") };
        assert!((mean - 0.7 / 3.0).abs() < 1e-11 && (std - 0.124_721_912_9).abs() < 1e-9);
        let json = serde_json::to_vec(&features).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Feature>>(&json).unwrap(), features);
    }

    #[test]
    fn how_the_rows_come_makes_no_difference() {
        assert_eq!(fitted(&[4]), fitted(&[1, 2, 1]));
    }

    #[test]
    fn a_word_column_without_words_is_told_by_name() {
        let fitter = Fitter::new(&[("c".to_owned(), ColumnKind::Categorical, true)]);
        assert!(fitter.features().unwrap_err().contains("`c`"));
    }
}
