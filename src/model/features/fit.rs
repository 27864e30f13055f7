//! What each feature is, learned from the training rows.

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type},
};

use super::{Feature, FeatureKind};

/// Learns each column's feature from the training rows. `missing` tells of the whole table, so that no held-out row has
/// a null that training did not see.
pub(in crate::model) fn fit(train: &RecordBatch, missing: &[bool]) -> Result<Vec<Feature>, String> {
    let columns = train.schema_ref().fields().iter().zip(train.columns());
    columns
        .zip(missing)
        .map(|((field, array), &missing)| {
            let kind = match array.data_type() {
                DataType::Boolean => FeatureKind::Boolean,
                DataType::Utf8 => FeatureKind::Categorical { vocabulary: vocabulary(array) },
                _ => numeric(array),
            };
            let feature = Feature { name: field.name().clone(), missing, kind };
            feature.check().map(|()| feature)
        })
        .collect()
}

fn vocabulary(array: &ArrayRef) -> Vec<String> {
    let words: std::collections::BTreeSet<&str> = array.as_string::<i32>().iter().flatten().collect();
    words.into_iter().map(String::from).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn numeric(array: &ArrayRef) -> FeatureKind {
    let values = || array.as_primitive::<Float64Type>().iter().flatten();
    let count = values().count().max(1) as f64;
    let mean = values().map(|x| x / count).sum::<f64>();
    let variance = values().map(|x| (x - mean) * (x - mean) / count).sum::<f64>();
    // All the training rows alike tells nothing of the scale.
    let std = if variance == 0.0 { 1.0 } else { variance.sqrt() };
    FeatureKind::Numeric { mean: to_digits(mean), std: to_digits(std) }
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

    #[test]
    fn fitting_looks_at_the_column_and_survives_json_to_the_last_bit() {
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(0.2), Some(0.4)])) as ArrayRef),
            ("c", Arc::new(StringArray::from(vec!["b", "a", "b", "a"]))),
            ("same", Arc::new(Float64Array::from(vec![7.0; 4]))),
        ]);
        let features = fit(&batch.unwrap(), &[true, false, false]).unwrap();
        assert_eq!(features[1].kind, FeatureKind::Categorical { vocabulary: vec!["a".to_owned(), "b".to_owned()] });
        assert_eq!(features[2].kind, FeatureKind::Numeric { mean: 7.0, std: 1.0 });
        let FeatureKind::Numeric { mean, std } = features[0].kind else { panic!("x is numeric") };
        assert!((mean - 0.7 / 3.0).abs() < 1e-11 && (std - 0.124_721_912_9).abs() < 1e-9);
        let json = serde_json::to_vec(&features).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Feature>>(&json).unwrap(), features);
    }
}
