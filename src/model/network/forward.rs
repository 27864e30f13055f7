//! The network for scoring: from the inputs of a chunk of rows to one number for each class.
//!
//! A chunk lies column after column: all rows' first input, then all rows' second. So the matrix product runs along the
//! rows, however few outputs a layer has, and what stands around it runs along them too, in plain loops that the compiler
//! makes vectors of. Only the product is Burn's; a `Vec` goes in and out of a tensor without a copy.
//!
//! A row's answer does not depend on the rows beside it. The kernels of both backends sum each output in the order of the
//! inputs, but may choose another order for another number of rows; so that number is always a multiple of
//! [`ROWS_STEP`], which none of them cuts at an edge.

use burn::tensor::{Device, Tensor, TensorData};

use super::{compute, device};
use crate::model::{Backend, error::ModelError, manifest::Activation, weights::Layer};

/// The rows of a chunk are a multiple of this, if need be filled up with noughts. More than 64, because for fewer
/// rows flex cuts long sums elsewhere.
pub(in crate::model) const ROWS_STEP: usize = 128;

/// Fully connected layers with an activation between them. `Send` and `Sync`: many lanes compute with one.
#[derive(Debug)]
pub(in crate::model) struct Forward {
    first: Weights,
    /// Each with an activation before it.
    rest: Vec<Weights>,
    activation: Activation,
    device: Device,
}

#[derive(Debug)]
struct Weights {
    /// `[out, in]`, as in the file.
    weight: Tensor<2>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Forward {
    pub(in crate::model) fn new(
        layers: &[Layer],
        activation: Activation,
        backend: Backend,
    ) -> Result<Self, ModelError> {
        let device = device(backend)?;
        let mut weights = layers.iter().map(|layer| Weights::new(layer, &device));
        let none = || ModelError::Compute("the network has no layers".to_owned());
        let first = weights.next().ok_or_else(none)?;
        let rest = weights.collect();
        Ok(Self { first, rest, activation, device })
    }

    pub(in crate::model) fn classes(&self) -> usize {
        self.rest.last().unwrap_or(&self.first).bias.len()
    }

    /// The floats that a row takes at its widest, between two layers.
    pub(in crate::model) fn width_max(&self) -> usize {
        self.rest.iter().map(|weights| weights.inputs).fold(self.first.inputs.max(self.classes()), usize::max)
    }

    /// For each class, what the last layer says of each of `rows` rows, from each input of those rows.
    pub(in crate::model) fn logits(&self, inputs: Vec<f32>, rows: usize) -> Result<Vec<f32>, ModelError> {
        if rows == 0 || !rows.is_multiple_of(ROWS_STEP) || inputs.len() != rows * self.first.inputs {
            let (floats, width) = (inputs.len(), self.first.inputs);
            return Err(ModelError::Compute(format!("{floats} floats are not {rows} rows of {width} in whole steps")));
        }
        let mut signal = self.first.multiply(inputs, rows, &self.device)?;
        let mut bias = &self.first.bias;
        for weights in &self.rest {
            self.activate(&mut signal, bias, rows);
            signal = weights.multiply(signal, rows, &self.device)?;
            bias = &weights.bias;
        }
        each_with_bias(&mut signal, bias, rows, |sum| sum);
        Ok(signal)
    }

    fn activate(&self, signal: &mut [f32], bias: &[f32], rows: usize) {
        match self.activation {
            Activation::Relu => each_with_bias(signal, bias, rows, |sum| sum.max(0.0)),
            Activation::Tanh => each_with_bias(signal, bias, rows, f32::tanh),
        }
    }
}

fn each_with_bias(signal: &mut [f32], bias: &[f32], rows: usize, then: impl Fn(f32) -> f32) {
    for (line, bias) in signal.chunks_exact_mut(rows).zip(bias) {
        for float in line {
            *float = then(*float + bias);
        }
    }
}

impl Weights {
    fn new(layer: &Layer, device: &Device) -> Self {
        let weight = TensorData::new(layer.weight.clone(), [layer.outputs, layer.inputs]);
        Self { weight: Tensor::from_data(weight, device), bias: layer.bias.clone(), inputs: layer.inputs }
    }

    fn multiply(&self, inputs: Vec<f32>, rows: usize, device: &Device) -> Result<Vec<f32>, ModelError> {
        let inputs = Tensor::from_data(TensorData::new(inputs, [self.inputs, rows]), device);
        self.weight.clone().matmul(inputs).try_into_vec_as().map_err(compute)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::square, *};

    fn logits(layers: &[Layer], activation: Activation, rows: &[[f32; 2]]) -> Vec<f32> {
        let forward = Forward::new(layers, activation, Backend::NdArray).unwrap();
        let inputs = [0, 1].map(|input| {
            let mut line: Vec<f32> = rows.iter().map(|row| row[input]).collect();
            line.resize(ROWS_STEP, 0.0);
            line
        });
        let logits = forward.logits(inputs.concat(), ROWS_STEP).unwrap();
        (0..rows.len()).flat_map(|row| logits.iter().skip(row).step_by(ROWS_STEP).copied()).collect()
    }

    #[test]
    fn a_square_matrix_is_out_by_in_and_not_the_other_way_round() {
        // [1·10 + 2·1 + 0.5, 3·10 + 4·1 − 20]; turned it would be [13.5, 4].
        assert_eq!(logits(&[square()], Activation::Relu, &[[10.0, 1.0]]), [12.5, 14.0]);
    }

    #[test]
    fn the_activation_stands_between_the_layers_and_not_after_the_last() {
        let last = Layer { inputs: 2, outputs: 1, weight: vec![-1.0, 1.0], bias: vec![0.25] };
        let logits = |activation| logits(&[square(), last.clone()], activation, &[[1.0, 1.0], [0.0, 0.0]]);
        // The first layer says [3.5, -13] and [0.5, -20].
        assert_eq!(logits(Activation::Relu), [-3.25, -0.25]);
        let tanh = logits(Activation::Tanh);
        assert!((tanh[0] - ((-13.0_f32).tanh() - 3.5_f32.tanh() + 0.25)).abs() < 1e-6, "{tanh:?}");
    }

    #[test]
    fn what_is_no_whole_chunk_is_an_error() {
        let forward = Forward::new(&[square()], Activation::Relu, Backend::NdArray).unwrap();
        for (floats, rows) in [(0, 0), (2, 1), (255, 128), (512, 128)] {
            assert!(forward.logits(vec![0.0; floats], rows).is_err());
        }
        assert!(Forward::new(&[], Activation::Relu, Backend::NdArray).is_err());
    }

    #[cfg(not(feature = "flex"))]
    #[test]
    fn a_backend_that_is_not_in_the_build_is_an_error_that_says_how_to_get_it() {
        let error = Forward::new(&[square()], Activation::Relu, Backend::Flex).unwrap_err();
        assert!(error.to_string().contains("--features flex"), "{error}");
    }

    #[test]
    fn one_network_serves_many_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Forward>();
    }
}
