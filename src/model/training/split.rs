//! Which rows are learned from, which say when to stop, and which are kept for the verdict.
//!
//! Owns the drawing, class by class, so that every part has its share of each. Does not own the rows.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::model::error::ModelError;

/// Folds of a cross-validation.
pub const FOLDS_MAX: usize = 100;

/// What a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Train,
    Validation,
    Test,
}

impl Purpose {
    pub(super) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

/// The purpose of each row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    purposes: Vec<Purpose>,
}

impl Split {
    /// Draws from each class its share of the rows for validation and for the test.
    pub(super) fn draw(
        labels: &[u8],
        validation_share: f64,
        test_share: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, ModelError> {
        let mut purposes = vec![Purpose::Train; labels.len()];
        for mut rows in by_class(labels, |_| true) {
            rows.shuffle(rng);
            let (test, rest) = rows.split_at(share(rows.len(), test_share));
            let validation = &rest[..share(rows.len(), validation_share).min(rest.len())];
            mark(&mut purposes, test, Purpose::Test);
            mark(&mut purposes, validation, Purpose::Validation);
        }
        Self { purposes }.checked(labels)
    }

    /// Tests on one fold; what validation needs is drawn from the others.
    pub(super) fn of_fold(
        labels: &[u8],
        folds: &[u8],
        fold: u8,
        validation_share: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, ModelError> {
        let is_tested = |row: &usize| folds.get(*row) == Some(&fold);
        let mut purposes = vec![Purpose::Test; labels.len()];
        for mut rows in by_class(labels, |row| !is_tested(&row)) {
            rows.shuffle(rng);
            let (validation, train) = rows.split_at(share(rows.len(), validation_share));
            mark(&mut purposes, validation, Purpose::Validation);
            mark(&mut purposes, train, Purpose::Train);
        }
        Self { purposes }.checked(labels)
    }

    fn checked(self, labels: &[u8]) -> Result<Self, ModelError> {
        if Purpose::ALL.iter().all(|purpose| self.rows(*purpose) > 0) {
            return Ok(self);
        }
        Err(ModelError::Training(format!(
            "{} rows are too few to hold some of each class out for validation and a test; ten rows of each class are \
             a beginning",
            labels.len()
        )))
    }

    pub(super) fn purposes(&self) -> &[Purpose] {
        &self.purposes
    }

    pub(super) fn rows(&self, purpose: Purpose) -> usize {
        self.purposes.iter().filter(|has| **has == purpose).count()
    }

    /// The labels of the rows with this purpose, in their order.
    pub(super) fn labels(&self, labels: &[u8], purpose: Purpose) -> Vec<u8> {
        self.purposes.iter().zip(labels).filter(|(has, _)| **has == purpose).map(|(_, label)| *label).collect()
    }
}

/// For each row the number of its fold: so many folds of about the same size, with the same shares of the classes.
pub(super) fn draw_folds(labels: &[u8], folds: u8, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut fold_of = vec![0; labels.len()];
    let mut next = (0..folds).cycle();
    for mut rows in by_class(labels, |_| true) {
        rows.shuffle(rng);
        for (row, fold) in rows.into_iter().zip(&mut next) {
            if let Some(place) = fold_of.get_mut(row) {
                *place = fold;
            }
        }
    }
    fold_of
}

/// The rows of each class that pass, in their order.
fn by_class(labels: &[u8], passes: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (row, &label) in labels.iter().enumerate().filter(|(row, _)| passes(*row)) {
        let class = usize::from(label);
        if class >= classes.len() {
            classes.resize_with(class + 1, Vec::new);
        }
        classes[class].push(row);
    }
    classes
}

fn mark(purposes: &mut [Purpose], rows: &[usize], purpose: Purpose) {
    for &row in rows {
        purposes[row] = purpose;
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of rows"
)]
fn share(rows: usize, share: f64) -> usize {
    ((rows as f64 * share).round() as usize).min(rows)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn labels() -> Vec<u8> {
        (0..200).map(|row| u8::from(row % 10 == 0)).collect()
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(5)
    }

    #[test]
    fn every_part_has_its_share_of_each_class_and_a_seed_draws_the_same() {
        let split = Split::draw(&labels(), 0.15, 0.2, &mut rng()).unwrap();
        for (purpose, rows, rare) in [(Purpose::Train, 130, 13), (Purpose::Validation, 30, 3), (Purpose::Test, 40, 4)] {
            let of = split.labels(&labels(), purpose);
            let found: u32 = of.iter().map(|label| u32::from(*label)).sum();
            assert_eq!((split.rows(purpose), of.len(), found), (rows, rows, rare), "{purpose:?}");
        }
        assert_eq!(split, Split::draw(&labels(), 0.15, 0.2, &mut rng()).unwrap());
    }

    #[test]
    fn folds_are_even_in_size_and_in_classes_and_each_is_tested_alone() {
        let folds = draw_folds(&labels(), 10, &mut rng());
        for fold in 0..10 {
            let rows: Vec<usize> = (0..200).filter(|row| folds[*row] == fold).collect();
            let rare = rows.iter().filter(|row| labels()[**row] == 1).count();
            assert_eq!((rows.len(), rare), (20, 2));
            let split = Split::of_fold(&labels(), &folds, fold, 0.15, &mut rng()).unwrap();
            assert!((0..200).all(|row| (split.purposes()[row] == Purpose::Test) == rows.contains(&row)));
            assert_eq!(split.rows(Purpose::Validation), 27);
        }
    }

    #[test]
    fn too_few_rows_to_hold_some_out_are_an_error() {
        let error = Split::draw(&[0, 1], 0.15, 0.2, &mut rng()).unwrap_err();
        assert!(error.to_string().contains("2 rows are too few"), "{error}");
    }
}
