//! Measurements of iris flowers as JSON, drawn to look like the 150 that were really measured.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What the flower really is; a model is to find it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Species {
    Setosa,
    Versicolor,
    Virginica,
}

impl Species {
    #[must_use]
    pub const fn name(self) -> &'static str {
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

const FIELDS: [&str; 4] = [",\"sepal_length\":", ",\"sepal_width\":", ",\"petal_length\":", ",\"petal_width\":"];

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
    random: ChaCha8Rng,
}

impl Iris {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(partition.unsigned_abs()));
        Self { id: 0, random }
    }

    /// The `id` of the next record: 0, 1, 2 and so on in each partition.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.id
    }

    /// Appends the next record's JSON to `value`, with its species only if asked, and tells the species.
    pub fn next(&mut self, value: &mut Vec<u8>, with_truth: bool) -> Species {
        let species = match self.random.random_range(0..3_u8) {
            0 => Species::Setosa,
            1 => Species::Versicolor,
            _ => Species::Virginica,
        };
        value.extend_from_slice(b"{\"id\":");
        value.extend_from_slice(itoa::Buffer::new().format(self.id).as_bytes());
        for (field, centimetres) in FIELDS.iter().zip(self.measure(species.shape())) {
            value.extend_from_slice(field.as_bytes());
            push_tenths(value, centimetres);
        }
        if with_truth {
            value.extend_from_slice(b",\"species\":\"");
            value.extend_from_slice(species.name().as_bytes());
            value.push(b'"');
        }
        value.push(b'}');
        self.id += 1;
        species
    }

    fn measure(&mut self, shape: &Shape) -> [f64; 4] {
        let draws: [f64; 4] = std::array::from_fn(|_| StandardNormal.sample(&mut self.random));
        let mut measured = shape.mean;
        for (value, row) in measured.iter_mut().zip(shape.factor) {
            *value += row.iter().zip(draws).map(|(factor, draw)| factor * draw).sum::<f64>();
        }
        measured
    }
}

/// Writes `5.14` as `5.1`; what would not be above zero as `0.1`.
fn push_tenths(value: &mut Vec<u8>, centimetres: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let tenths = (centimetres * 10.0).round().clamp(1.0, 999.0) as u16;
    let mut digits = itoa::Buffer::new();
    value.extend_from_slice(digits.format(tenths / 10).as_bytes());
    value.push(b'.');
    value.extend_from_slice(digits.format(tenths % 10).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(seed: u64, partition: i32, count: usize) -> Vec<String> {
        let mut iris = Iris::new(seed, partition);
        let line = |_| {
            let mut value = Vec::new();
            iris.next(&mut value, true);
            String::from_utf8(value).unwrap()
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn the_first_records_of_seed_1_never_change() {
        let first = [
            r#"{"id":0,"sepal_length":6.3,"sepal_width":2.7,"petal_length":4.2,"petal_width":1.3,"species":"versicolor"}"#,
            r#"{"id":1,"sepal_length":5.3,"sepal_width":3.6,"petal_length":1.3,"petal_width":0.4,"species":"setosa"}"#,
            r#"{"id":2,"sepal_length":4.6,"sepal_width":3.4,"petal_length":1.6,"petal_width":0.3,"species":"setosa"}"#,
        ];
        assert_eq!(lines(1, 0, 3), first);
        let other = r#"{"id":0,"sepal_length":7.5,"sepal_width":3.0,"petal_length":6.3,"petal_width":2.2,"species":"virginica"}"#;
        assert_eq!(lines(1, 1, 1), [other]);
    }

    #[test]
    fn a_record_is_json_with_the_species_only_on_request() {
        let mut value = Vec::new();
        let species = Iris::new(7, 0).next(&mut value, false);
        let blind: serde_json::Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(blind.as_object().unwrap().len(), 5);
        assert_eq!(blind["id"], 0);

        value.clear();
        assert_eq!(Iris::new(7, 0).next(&mut value, true), species);
        let told: serde_json::Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(told["species"], species.name());
        assert_eq!(told["petal_width"], blind["petal_width"]);
    }

    #[test]
    fn partitions_and_seeds_have_streams_of_their_own() {
        assert_ne!(lines(1, 0, 5), lines(1, 1, 5));
        assert_ne!(lines(1, 0, 5), lines(2, 0, 5));
    }

    #[test]
    fn the_species_are_equally_likely_and_have_the_means_of_the_real_ones() {
        let mut iris = Iris::new(3, 0);
        let mut petals = [(0_u32, 0.0_f64); 3];
        let mut value = Vec::new();
        for _ in 0..30_000 {
            value.clear();
            let species = iris.next(&mut value, false);
            let told: serde_json::Value = serde_json::from_slice(&value).unwrap();
            let seen = &mut petals[species as usize];
            seen.0 += 1;
            seen.1 += told["petal_length"].as_f64().unwrap();
        }
        for ((count, sum), shape) in petals.into_iter().zip([SETOSA, VERSICOLOR, VIRGINICA]) {
            assert!((9_500..10_500).contains(&count), "{count}");
            assert!((sum / f64::from(count) - shape.mean[2]).abs() < 0.02);
        }
    }

    #[test]
    fn a_measurement_is_always_above_zero() {
        let mut value = Vec::new();
        push_tenths(&mut value, -0.4);
        value.push(b' ');
        push_tenths(&mut value, 10.26);
        assert_eq!(value, b"0.1 10.3");
    }
}
