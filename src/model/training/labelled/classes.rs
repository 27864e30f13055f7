//! The label column: which classes there are, and each row's. One byte a row.

use std::{collections::HashMap, path::PathBuf};

use arrow::{
    array::{Array, ArrayRef, Float64Array},
    datatypes::DataType,
    error::ArrowError,
};
use std::sync::Arc;

use crate::{
    model::{error::ModelError, manifest::CLASSES_MAX},
    table::{self, Table},
};

/// Classes in the order of their coming, until [`Classes::finish`].
#[derive(Debug, Default)]
pub(super) struct Classes {
    codes: HashMap<String, u8>,
    names: Vec<String>,
    labels: Vec<u8>,
}

/// Why a column can't be the label.
#[derive(Debug)]
pub(super) enum Fault {
    Missing { row: String },
    Alike { only: String },
    TooMany { are_numbers: bool },
    Arrow(ArrowError),
}

impl Classes {
    pub(super) fn add(&mut self, label: &ArrayRef, name_of_row: impl Fn(usize) -> String) -> Result<(), Fault> {
        let words = table::words(&without_nan(label).map_err(Fault::Arrow)?).map_err(Fault::Arrow)?;
        self.labels.reserve(words.len());
        for (row, word) in words.iter().enumerate() {
            let word = word.filter(|word| !word.is_empty()).ok_or_else(|| Fault::Missing { row: name_of_row(row) })?;
            let code = match self.codes.get(word) {
                Some(code) => *code,
                None => self.code_for(word)?,
            };
            self.labels.push(code);
        }
        Ok(())
    }

    fn code_for(&mut self, word: &str) -> Result<u8, Fault> {
        let code = u8::try_from(self.names.len()).ok().filter(|code| usize::from(*code) < CLASSES_MAX);
        let code = code.ok_or_else(|| Fault::TooMany {
            are_numbers: self.names.iter().map(String::as_str).chain([word]).all(|name| number(name).is_some()),
        })?;
        self.names.push(word.to_owned());
        self.codes.insert(word.to_owned(), code);
        Ok(code)
    }

    /// The classes, in the order of numbers if all are numbers, else of text; and each row's.
    pub(super) fn finish(mut self) -> Result<(Vec<String>, Vec<u8>), Fault> {
        if self.names.len() < 2 {
            return Err(Fault::Alike { only: self.names.pop().unwrap_or_default() });
        }
        let mut sorted = self.names.clone();
        sorted.sort();
        if sorted.iter().all(|name| number(name).is_some()) {
            sorted.sort_by(|left, right| number(left).unwrap_or(0.0).total_cmp(&number(right).unwrap_or(0.0)));
        }
        let ranks: HashMap<&str, u8> = sorted.iter().map(String::as_str).zip(0..).collect();
        let ranks: Vec<u8> = self.names.iter().filter_map(|name| ranks.get(name.as_str()).copied()).collect();
        for label in &mut self.labels {
            *label = ranks.get(usize::from(*label)).copied().unwrap_or(*label);
        }
        Ok((sorted, self.labels))
    }
}

impl Fault {
    pub(super) fn about(self, table: &Table, label: &str) -> ModelError {
        let fault = match self {
            Self::Missing { row } => format!("{row} has nothing in the label column `{label}`"),
            Self::Alike { only } => {
                format!("the label column `{label}` holds only `{only}`; a classifier needs two classes")
            }
            Self::TooMany { are_numbers: false } => {
                format!(
                    "the label column `{label}` holds more than {CLASSES_MAX} different values, the most classes there can be"
                )
            }
            Self::TooMany { are_numbers: true } => format!(
                "the label column `{label}` holds more than {CLASSES_MAX} different numbers; a classifier tells a few \
                 classes apart, and predicts no amounts: put them into classes first, such as low and high"
            ),
            Self::Arrow(error) => return error.into(),
        };
        ModelError::Data { path: PathBuf::from(table.place()), fault }
    }
}

/// In a file of numbers a NaN is a value that is missing.
fn without_nan(label: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match label.data_type() {
        DataType::Float64 => {
            let floats: Float64Array = table::numbers(label)?;
            Ok(Arc::new(floats))
        }
        _ => Ok(Arc::clone(label)),
    }
}

fn number(name: &str) -> Option<f64> {
    name.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, StringArray};

    use super::*;

    fn classes(array: impl Array + 'static) -> Result<(Vec<String>, Vec<u8>), Fault> {
        let mut classes = Classes::default();
        classes.add(&(Arc::new(array) as ArrayRef), |row| format!("row {}", row + 1))?;
        classes.finish()
    }

    #[test]
    fn classes_are_sorted_as_numbers_if_they_are_and_else_as_text() {
        let (names, labels) = classes(StringArray::from(vec!["10", "9", "-1", "9"])).unwrap();
        assert_eq!((names.join(" "), labels), ("-1 9 10".to_owned(), vec![2, 1, 0, 1]));
        let (names, labels) = classes(StringArray::from(vec!["b", "10", "9"])).unwrap();
        assert_eq!((names.join(" "), labels), ("10 9 b".to_owned(), vec![2, 0, 1]));
        assert_eq!(classes(Int64Array::from(vec![10, 9])).unwrap().0, ["9", "10"]);
        assert_eq!(classes(BooleanArray::from(vec![true, false])).unwrap().0, ["false", "true"]);
    }

    #[test]
    fn as_many_classes_as_there_can_be_and_no_more() {
        let many = |count: i64| classes(Int64Array::from_iter_values(0..count));
        assert_eq!(many(255).unwrap().0.len(), 255);
        assert!(matches!(many(256), Err(Fault::TooMany { are_numbers: true })));
        let words = StringArray::from_iter_values((0..256).map(|class| format!("c{class}")));
        assert!(matches!(classes(words), Err(Fault::TooMany { are_numbers: false })));
    }

    #[test]
    fn a_row_without_a_class_is_named() {
        let missing = |array| matches!(classes(array), Err(Fault::Missing { row }) if row == "row 2");
        assert!(missing(Float64Array::from(vec![1.0, f64::NAN])));
        assert!(missing(Float64Array::from(vec![Some(1.0), None])));
    }
}
