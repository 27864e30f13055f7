//! The network in Burn; the only folder that names it.
//!
//! [`Forward`] scores; [`Network`] is the module that learns. Owns the tensors. Does not own features, files or the training
//! loop.

mod forward;
mod trainer;

use burn::{
    module::{Module, Param},
    nn::{
        Linear,
        activation::{self, Activation},
    },
    tensor::{Device, Tensor, TensorData},
};

pub(super) use self::{
    forward::{Forward, ROWS_STEP},
    trainer::Trainer,
};

use super::{Backend, error::ModelError, manifest, weights::Layer};

/// The version of Burn that this build is made with, for the manifest.
pub(super) const BURN: &str = "0.22";

/// Fully connected layers with an activation between them, as Burn trains them.
#[derive(Module, Debug)]
pub(super) struct Network {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Network {
    fn on(device: &Device, layers: &[Layer], activation: manifest::Activation) -> Self {
        let activation = match activation {
            manifest::Activation::Relu => Activation::Relu(activation::Relu),
            manifest::Activation::Tanh => Activation::Tanh(activation::Tanh),
        };
        Self { layers: layers.iter().map(|layer| to_linear(layer, device)).collect(), activation }
    }

    /// `hidden` is done to what each hidden layer says.
    fn forward_with(&self, features: Tensor<2>, mut hidden: impl FnMut(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let mut signal = features;
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                signal = hidden(self.activation.forward(signal));
            }
            signal = layer.forward(signal);
        }
        signal
    }

    pub(super) fn layers(&self) -> Result<Vec<Layer>, ModelError> {
        self.layers.iter().map(from_linear).collect()
    }
}

#[cfg_attr(feature = "flex", allow(clippy::unnecessary_wraps, reason = "without `flex` it can fail"))]
fn device(backend: Backend) -> Result<Device, ModelError> {
    match backend {
        #[allow(deprecated, reason = "the default backend until Burn drops it; one `match` arm to change then")]
        Backend::NdArray => Ok(Device::ndarray()),
        #[cfg(feature = "flex")]
        Backend::Flex => Ok(Device::flex()),
        #[cfg(not(feature = "flex"))]
        Backend::Flex => Err(ModelError::Backend(
            "the backend `flex` is not in this build; build with `--features flex`, or choose `ndarray`".to_owned(),
        )),
    }
}

fn to_tensor(features: Vec<f32>, rows: usize, device: &Device) -> Tensor<2> {
    let width = features.len() / rows.max(1);
    Tensor::from_data(TensorData::new(features, [rows, width]), device)
}

/// Burn keeps `[in, out]` where PyTorch keeps `[out, in]`; with a square matrix nothing but this would notice.
fn to_linear(layer: &Layer, device: &Device) -> Linear {
    let weight = transposed(&layer.weight, layer.inputs);
    Linear {
        weight: Param::from_data(TensorData::new(weight, [layer.inputs, layer.outputs]), device),
        bias: Some(Param::from_data(TensorData::new(layer.bias.clone(), [layer.outputs]), device)),
    }
}

fn from_linear(linear: &Linear) -> Result<Layer, ModelError> {
    let [inputs, outputs] = linear.weight.dims();
    let weight: Vec<f32> = linear.weight.val().try_into_vec_as().map_err(compute)?;
    let bias = match &linear.bias {
        Some(bias) => bias.val().try_into_vec_as().map_err(compute)?,
        None => vec![0.0; outputs],
    };
    Ok(Layer { inputs, outputs, weight: transposed(&weight, outputs), bias })
}

/// A matrix of so many columns, turned.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

fn compute(error: impl std::fmt::Display) -> ModelError {
    ModelError::Compute(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELU: manifest::Activation = manifest::Activation::Relu;

    pub(super) fn square() -> Layer {
        Layer { inputs: 2, outputs: 2, weight: vec![1.0, 2.0, 3.0, 4.0], bias: vec![0.5, -20.0] }
    }

    fn network(layers: &[Layer], activation: manifest::Activation) -> Network {
        Network::on(&device(Backend::NdArray).unwrap(), layers, activation)
    }

    fn logits(network: &Network, inputs: Vec<f32>, rows: usize) -> Vec<f32> {
        let inputs = to_tensor(inputs, rows, &device(Backend::NdArray).unwrap());
        network.forward_with(inputs, |signal| signal).try_into_vec_as().unwrap()
    }

    #[test]
    fn a_square_matrix_is_out_by_in_and_not_the_other_way_round() {
        let network = network(&[square()], RELU);
        // [1·10 + 2·1 + 0.5, 3·10 + 4·1 − 20]; turned it would be [13.5, 4].
        assert_eq!(logits(&network, vec![10.0, 1.0], 1), [12.5, 14.0]);
        assert_eq!(network.layers().unwrap(), [square()]);
    }

    #[test]
    fn the_activation_stands_between_the_layers_and_not_after_the_last() {
        let last = Layer { inputs: 2, outputs: 1, weight: vec![-1.0, 1.0], bias: vec![0.0] };
        let logits = |activation| logits(&network(&[square(), last.clone()], activation), vec![1.0, 1.0, 0.0, 0.0], 2);
        // The first layer says [3.5, -13] and [0.5, -20].
        assert_eq!(logits(RELU), [-3.5, -0.5]);
        let tanh = logits(manifest::Activation::Tanh);
        assert!((tanh[0] - ((-13.0_f32).tanh() - 3.5_f32.tanh())).abs() < 1e-6, "{tanh:?}");
    }

    #[test]
    fn the_manifest_names_the_burn_that_is_built_in() {
        assert!(include_str!("../../../Cargo.toml").contains(&format!("burn = {{ version = \"{BURN}\"")));
    }
}
