//! A network in training: forward, backward, and a step of the optimizer.

use burn::{
    module::Module,
    nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{Network, compute, device, to_tensor};
use crate::model::{Backend, error::ModelError, manifest, weights::Layer};

/// A network in training.
pub(in crate::model) struct Trainer {
    network: Network,
    optimizer: ModuleOptimizer,
    loss: CrossEntropyLoss,
    device: Device,
}

impl Trainer {
    pub(in crate::model) fn new(
        layers: &[Layer],
        activation: manifest::Activation,
        class_weights: Option<Vec<f32>>,
        weight_decay: f32,
    ) -> Result<Self, ModelError> {
        let device = device(Backend::default())?.autodiff();
        Ok(Self {
            network: Network::on(&device, layers, activation),
            optimizer: AdamWConfig::new().with_weight_decay(weight_decay).init(),
            loss: CrossEntropyLossConfig::new().with_weights(class_weights).init(&device),
            device,
        })
    }

    /// One step down the gradient; returns the loss before it.
    pub(in crate::model) fn step(
        &mut self,
        features: Vec<f32>,
        labels: &[u8],
        learning_rate: f64,
    ) -> Result<f32, ModelError> {
        let rows = labels.len();
        let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), &self.device);
        let logits = self.network.forward(to_tensor(features, rows, &self.device));
        let loss = self.loss.forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);
        let loss: Vec<f32> = loss.try_into_vec_as().map_err(compute)?;
        Ok(loss.into_iter().sum())
    }

    /// The network as it stands, for computing.
    pub(in crate::model) fn network(&self) -> Network {
        self.network.valid()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::square, *};

    #[test]
    fn a_step_goes_down_the_gradient_the_same_way_each_time() {
        let train = || {
            let mut trainer =
                Trainer::new(&[square()], manifest::Activation::Relu, Some(vec![1.0, 2.0]), 1e-4).unwrap();
            let losses: Vec<f32> =
                (0..20).map(|_| trainer.step(vec![0.0, 1.0, 1.0, 0.0], &[0, 1], 0.1).unwrap()).collect();
            (losses, trainer.network().layers().unwrap())
        };
        let (losses, layers) = train();
        assert!(losses[19] < losses[0], "{losses:?}");
        assert_eq!((losses, layers), train());
    }
}
