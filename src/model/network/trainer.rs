//! A network in training: forward, backward, and a step of the optimizer.

use burn::{
    module::Module,
    nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Network, compute, device, to_tensor};
use crate::model::{Backend, error::ModelError, evaluation::argmax, manifest, weights::Layer};

/// A network in training.
pub(in crate::model) struct Trainer {
    network: Network,
    optimizer: ModuleOptimizer,
    loss: CrossEntropyLoss,
    dropout: f64,
    device: Device,
}

/// What a step saw before it changed anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::model) struct Step {
    /// The mean loss of the rows.
    pub loss: f32,
    /// Rows whose class was right.
    pub right: usize,
}

impl Trainer {
    pub(in crate::model) fn new(
        layers: &[Layer],
        activation: manifest::Activation,
        class_weights: Option<Vec<f32>>,
        weight_decay: f32,
        dropout: f64,
    ) -> Result<Self, ModelError> {
        let device = device(Backend::default())?.autodiff();
        Ok(Self {
            network: Network::on(&device, layers, activation),
            optimizer: AdamWConfig::new().with_weight_decay(weight_decay).init(),
            loss: CrossEntropyLossConfig::new().with_weights(class_weights).init(&device),
            dropout,
            device,
        })
    }

    /// One step down the gradient.
    pub(in crate::model) fn step(
        &mut self,
        features: Vec<f32>,
        labels: &[u8],
        learning_rate: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Step, ModelError> {
        let rows = labels.len();
        let indices: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [rows]), &self.device);
        let input = to_tensor(features, rows, &self.device);
        let logits = self.network.forward_with(input, |signal| self.drop_out(signal, rng));
        let loss = self.loss.forward(logits.clone(), indices);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);
        let loss: Vec<f32> = loss.try_into_vec_as().map_err(compute)?;
        let logits: Vec<f32> = logits.try_into_vec_as().map_err(compute)?;
        Ok(Step { loss: loss.into_iter().sum(), right: right(&logits, labels) })
    }

    /// Silences a share of the units, and lets the others speak up for them.
    fn drop_out(&self, signal: Tensor<2>, rng: &mut ChaCha8Rng) -> Tensor<2> {
        if self.dropout == 0.0 {
            return signal;
        }
        let [rows, units] = signal.dims();
        #[allow(clippy::cast_possible_truncation, reason = "a factor of a few")]
        let loud = (1.0 / (1.0 - self.dropout)) as f32;
        let mask = (0..rows * units).map(|_| if rng.random_bool(self.dropout) { 0.0 } else { loud }).collect();
        signal * to_tensor(mask, rows, &self.device)
    }

    /// The network as it stands, for computing.
    pub(in crate::model) fn network(&self) -> Network {
        self.network.valid()
    }
}

/// How many rows have the largest logit where their label is.
fn right(logits: &[f32], labels: &[u8]) -> usize {
    let classes = logits.len() / labels.len().max(1);
    logits.chunks_exact(classes.max(1)).zip(labels).filter(|(logits, label)| argmax(logits) == **label).count()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::{super::tests::square, *};

    fn trained(dropout: f64) -> (Vec<Step>, Vec<Layer>) {
        let layers = [square(), square()];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut trainer =
            Trainer::new(&layers, manifest::Activation::Relu, Some(vec![1.0, 2.0]), 1e-4, dropout).unwrap();
        let mut step = |_| trainer.step(vec![0.0, 1.0, 1.0, 0.0], &[0, 1], 0.1, &mut rng).unwrap();
        let steps: Vec<Step> = (0..20).map(&mut step).collect();
        (steps, trainer.network().layers().unwrap())
    }

    #[test]
    fn a_step_goes_down_the_gradient_the_same_way_each_time() {
        let (steps, layers) = trained(0.0);
        assert!(steps[19].loss < steps[0].loss, "{steps:?}");
        assert_eq!((steps, layers), trained(0.0));
    }

    #[test]
    fn rows_are_right_whose_largest_logit_is_their_own() {
        assert_eq!(right(&[0.0, 1.0, 2.0, 1.0, 3.0, 3.0], &[1, 0, 0]), 3);
        assert_eq!(right(&[0.0, 1.0, 2.0, 1.0], &[0, 1]), 0);
        assert_eq!(right(&[], &[]), 0);
    }

    #[test]
    fn dropout_changes_what_is_learned_and_a_seed_drops_the_same_units() {
        let (_, layers) = trained(0.5);
        assert_ne!(layers, trained(0.0).1);
        assert_eq!(layers, trained(0.5).1);
    }
}
