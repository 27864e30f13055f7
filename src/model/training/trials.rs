//! Other ways to judge and to choose settings: cross-validation, and a search.
//!
//! Owns which settings are tried and on which rows. Does not own a single training ([`super::descend`]).

use std::ops::ControlFlow;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Stage, Watch,
    descend::{learn, predict},
    labelled::Labelled,
    prepared::Prepared,
    settings::TrainSettings,
    split::{Split, draw_folds},
};
use crate::model::{Evaluation, Fold, Predictions, Trial, error::ModelError};

/// Settings that one search may try.
pub const TRIALS_MAX: usize = 1_000;

/// The hidden layers that a search draws from.
const SHAPES: [&[usize]; 9] = [&[], &[8], &[16], &[32], &[64], &[16, 16], &[32, 16], &[64, 32], &[128, 64]];

/// And the learning rates lie between these, evenly in their logarithms.
const RATES: [f64; 2] = [5e-4, 5e-2];

/// For each row the number of its fold, the same for the same seed.
#[must_use]
pub fn folds(labels: &[u8], folds: u8, seed: u64) -> Vec<u8> {
    draw_folds(labels, folds, &mut generator(seed, Draw::Folds))
}

/// Trains once for each fold, without it, and measures on it. `None` if it was told to stop.
pub(super) fn cross_validate(
    table: &Labelled,
    settings: &TrainSettings,
    count: u8,
    watch: &mut Watch<'_>,
) -> Result<Option<Vec<Fold>>, ModelError> {
    let fold_of = folds(&table.labels, count, settings.seed);
    let mut results = Vec::new();
    for fold in 0..count {
        let mut rng = generator(settings.seed, Draw::Fold(fold));
        let split = Split::of_fold(&table.labels, &fold_of, fold, settings.validation_share, &mut rng)?;
        let prepared = Prepared::new(table, &split, settings.memory_bytes_max)?;
        let stage = Stage::Fold { number: usize::from(fold) + 1, of: usize::from(count) };
        let learned = learn(&prepared, &table.classes, settings, &mut rng, &mut |epoch| watch(stage, epoch))?;
        if learned.stopped {
            return Ok(None);
        }
        let validation = predict(&learned.layers, settings.activation, &prepared.validation.packed)?;
        let labels = &prepared.validation.labels;
        let temperature =
            crate::model::temperature(&Predictions { classes: &table.classes, labels, logits: &validation });
        let logits = predict(&learned.layers, settings.activation, &prepared.test.packed)?;
        let test = Predictions { classes: &table.classes, labels: &prepared.test.labels, logits: &logits };
        let evaluation = Evaluation::of(&test, temperature);
        results.push(Fold {
            number: usize::from(fold) + 1,
            rows: evaluation.rows,
            accuracy: evaluation.accuracy,
            log_loss: evaluation.log_loss.unwrap_or(0.0),
        });
    }
    Ok(Some(results))
}

/// Tries settings drawn at random beside the given ones, judged on the validation rows. The best comes back with all that was
/// tried; `None` if it was told to stop.
pub(super) fn search(
    prepared: &Prepared,
    table: &Labelled,
    settings: &TrainSettings,
    count: usize,
    watch: &mut Watch<'_>,
) -> Result<Option<(TrainSettings, Vec<Trial>)>, ModelError> {
    let mut draw = generator(settings.seed, Draw::Search);
    let mut trials: Vec<Trial> = Vec::new();
    for number in 1..=count {
        let tried = if number == 1 { settings.clone() } else { drawn(settings, &mut draw) };
        let stage = Stage::Trial { number, of: count };
        let mut rng = generator(settings.seed, Draw::Weights);
        let learned = learn(prepared, &table.classes, &tried, &mut rng, &mut |epoch| watch(stage, epoch))?;
        if learned.stopped {
            return Ok(None);
        }
        trials.push(Trial {
            hidden: tried.hidden,
            learning_rate: tried.learning_rate,
            validation_loss: learned.best.validation_loss,
            validation_accuracy: learned.best.validation_accuracy,
            chosen: false,
        });
    }
    let best = trials.iter_mut().min_by(|left, right| left.validation_loss.total_cmp(&right.validation_loss));
    let best = best.ok_or_else(|| ModelError::Choice("a search tries at least one setting".to_owned()))?;
    best.chosen = true;
    let settings = TrainSettings { hidden: best.hidden.clone(), learning_rate: best.learning_rate, ..settings.clone() };
    Ok(Some((settings, trials)))
}

fn drawn(settings: &TrainSettings, draw: &mut ChaCha8Rng) -> TrainSettings {
    let shape = SHAPES[draw.random_range(0..SHAPES.len())];
    let [low, high] = RATES.map(f64::ln);
    // Four digits are enough, and can be typed again.
    let rate = draw.random_range(low..high).exp();
    let learning_rate = format!("{rate:.3e}").parse().unwrap_or(rate);
    TrainSettings { hidden: shape.to_vec(), learning_rate, ..settings.clone() }
}

/// What a generator is for. Each has a stream of its own, so that asking for one thing more changes nothing of the rest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw {
    Split,
    Weights,
    Baseline,
    Search,
    Folds,
    Fold(u8),
}

pub(super) fn generator(seed: u64, draw: Draw) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match draw {
        Draw::Split => 0,
        Draw::Weights => 1,
        Draw::Baseline => 2,
        Draw::Search => 3,
        Draw::Folds => 4,
        Draw::Fold(fold) => 256 + u64::from(fold),
    });
    rng
}

/// Goes on whatever comes.
pub(super) fn unwatched(_: &crate::model::EpochPoint) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
