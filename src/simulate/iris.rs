//! Measurements of iris flowers as JSON, drawn to look like the 150 that were really measured.

use rand::RngExt;

use super::{
    dice::{BEGINNING_MS, Dice, dice, normal},
    row::Row,
};

/// What the flower really is; a model is to find it out.
#[derive(Clone, Copy)]
enum Species {
    Setosa,
    Versicolor,
    Virginica,
}

impl Species {
    const fn name(self) -> &'static str {
        match self {
            Self::Setosa => "setosa",
            Self::Versicolor => "versicolor",
            Self::Virginica => "virginica",
        }
    }

    const fn shape(self) -> &'static Shape {
        match self {
            Self::Setosa => &SETOSA,
            Self::Versicolor => &VERSICOLOR,
            Self::Virginica => &VIRGINICA,
        }
    }
}

const FIELDS: [&str; 4] = ["sepal_length", "sepal_width", "petal_length", "petal_width"];

/// A species' measurements in centimetres as a normal distribution of four dimensions, in the order of [`FIELDS`].
///
/// Computed from the 50 rows of each species in Fisher's data (`models/iris/data/iris.csv`): the sample mean, and the
/// Cholesky factor of the sample covariance (n - 1), of which the lower triangle is given row by row.
struct Shape {
    mean: [f64; 4],
    factor: [[f64; 4]; 4],
}

const SETOSA: Shape = Shape {
    mean: [5.006, 3.428, 1.462, 0.246],
    factor: [
        [0.352_490, 0.0, 0.0, 0.0],
        [0.281_473, 0.253_895, 0.0, 0.0],
        [0.046_399, -0.005_365, 0.167_265, 0.0],
        [0.029_308, 0.004_130, 0.028_289, 0.097_108],
    ],
};

const VERSICOLOR: Shape = Shape {
    mean: [5.936, 2.770, 4.260, 1.326],
    factor: [
        [0.516_171, 0.0, 0.0, 0.0],
        [0.165_030, 0.266_898, 0.0, 0.0],
        [0.354_336, 0.090_585, 0.295_054, 0.0],
        [0.108_064, 0.087_563, 0.091_099, 0.107_061],
    ],
};

const VIRGINICA: Shape = Shape {
    mean: [6.588, 2.974, 5.552, 2.026],
    factor: [
        [0.635_880, 0.0, 0.0, 0.0],
        [0.147_454, 0.286_812, 0.0, 0.0],
        [0.476_961, 0.003_659, 0.277_637, 0.0],
        [0.077_206, 0.126_369, 0.041_557, 0.227_543],
    ],
};

/// The endless stream of one partition; the same seed and partition give the same records, whatever the pace.
#[derive(Clone, Debug)]
pub struct Iris {
    id: u64,
    dice: Dice,
}

impl Iris {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        Self { id: 0, dice: dice(seed, partition) }
    }

    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.id
    }

    /// A flower tells no time; one a second is measured.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        BEGINNING_MS.saturating_add_unsigned(self.id.saturating_mul(1_000))
    }

    /// Draws the next record.
    pub fn next(&mut self, row: &mut impl Row) {
        let species = match self.dice.random_range(0..3_u8) {
            0 => Species::Setosa,
            1 => Species::Versicolor,
            _ => Species::Virginica,
        };
        row.id(self.id);
        for (field, centimetres) in FIELDS.into_iter().zip(self.measure(species.shape())) {
            // What is measured is above zero.
            row.decimal(field, centimetres.max(0.1), 1);
        }
        row.truth("species", species.name());
        self.id += 1;
    }

    fn measure(&mut self, shape: &Shape) -> [f64; 4] {
        let draws: [f64; 4] = std::array::from_fn(|_| normal(&mut self.dice));
        let mut measured = shape.mean;
        for (value, row) in measured.iter_mut().zip(shape.factor) {
            *value += row.iter().zip(draws).map(|(factor, draw)| factor * draw).sum::<f64>();
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Source, tests::truths};

    #[test]
    fn the_species_are_equally_likely_and_have_the_means_of_the_real_ones() {
        let mut petals = [(0_u32, 0.0_f64); 3];
        for (record, species) in truths(Source::Iris, 3, 30_000) {
            let seen = ["setosa", "versicolor", "virginica"].iter().position(|name| *name == species).unwrap();
            petals[seen].0 += 1;
            petals[seen].1 += record["petal_length"].as_f64().unwrap();
        }
        for ((count, sum), shape) in petals.into_iter().zip([SETOSA, VERSICOLOR, VIRGINICA]) {
            assert!((9_500..10_500).contains(&count), "{count}");
            assert!((sum / f64::from(count) - shape.mean[2]).abs() < 0.02);
        }
    }
}
