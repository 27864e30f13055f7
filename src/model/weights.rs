//! The weights as plain numbers, and as a safetensors file in PyTorch's layout. Does not know Burn.

use safetensors::{
    SafeTensors,
    tensor::{Dtype, TensorView},
};

use super::features::DEVIATIONS_MAX;

/// A fully connected layer, laid out as PyTorch's `nn.Linear`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// `[outputs, inputs]`, a row after the other.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

pub(super) fn to_safetensors(layers: &[Layer]) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let tensors: Vec<_> = layers
        .iter()
        .enumerate()
        .flat_map(|(index, layer)| {
            let weight = (weight_name(index), vec![layer.outputs, layer.inputs], little_endian(&layer.weight));
            let bias = (bias_name(index), vec![layer.outputs], little_endian(&layer.bias));
            [weight, bias]
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

/// Reads the layers of a network of these widths; the error says what is wrong with the file.
pub(super) fn from_safetensors(bytes: &[u8], widths: &[usize]) -> Result<Vec<Layer>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| format!("not a safetensors file: {error}"))?;
    let layers = widths
        .windows(2)
        .enumerate()
        .map(|(index, pair)| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weight = floats(&tensors, &weight_name(index), &[outputs, inputs])?;
            let bias = floats(&tensors, &bias_name(index), &[outputs])?;
            Ok(Layer { inputs, outputs, weight, bias })
        })
        .collect::<Result<Vec<_>, String>>()?;
    if tensors.len() != 2 * layers.len() {
        return Err(format!("it holds {} tensors, and the manifest tells of {}", tensors.len(), 2 * layers.len()));
    }
    check_bound(&layers)?;
    Ok(layers)
}

/// Refuses weights with which the largest input that [`DEVIATIONS_MAX`] lets through could overflow an `f32`; with it,
/// every row has an answer that is a number.
fn check_bound(layers: &[Layer]) -> Result<(), String> {
    let mut bounds = vec![DEVIATIONS_MAX; layers.first().map_or(0, |layer| layer.inputs)];
    for (index, layer) in layers.iter().enumerate() {
        let rows = layer.weight.chunks_exact(layer.inputs).zip(&layer.bias);
        bounds = rows.map(|(row, bias)| largest(row, &bounds) + f64::from(bias.abs())).collect();
        if bounds.iter().any(|bound| *bound >= f64::from(f32::MAX)) {
            return Err(format!("the weights of layer {index} are so large that an answer could overflow"));
        }
    }
    Ok(())
}

fn largest(weights: &[f32], bounds: &[f64]) -> f64 {
    weights.iter().zip(bounds).map(|(weight, bound)| f64::from(weight.abs()) * bound).sum()
}

fn floats(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|_| format!("the tensor `{name}` is not there"))?;
    if tensor.dtype() != Dtype::F32 {
        let dtype = tensor.dtype();
        return Err(format!(
            "the tensor `{name}` holds {dtype:?}, and F32 is wanted; PyTorch's `.float()` makes it so"
        ));
    }
    if tensor.shape() != shape {
        let wanted = if shape.len() == 2 { " ([out, in])" } else { "" };
        return Err(format!("the tensor `{name}` is {:?}, and {shape:?}{wanted} is wanted", tensor.shape()));
    }
    let (quads, _) = tensor.data().as_chunks::<4>();
    let floats: Vec<f32> = quads.iter().copied().map(f32::from_le_bytes).collect();
    match floats.iter().find(|float| !float.is_finite()) {
        Some(float) => Err(format!("the tensor `{name}` holds {float}; every weight must be a finite number")),
        None => Ok(floats),
    }
}

fn little_endian(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

fn weight_name(layer: usize) -> String {
    format!("layers.{layer}.weight")
}

fn bias_name(layer: usize) -> String {
    format!("layers.{layer}.bias")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Vec<Layer> {
        vec![
            Layer { inputs: 2, outputs: 3, weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], bias: vec![0.1, 0.2, 0.3] },
            Layer { inputs: 3, outputs: 2, weight: vec![-1.0; 6], bias: vec![0.0; 2] },
        ]
    }

    fn fault(edit: impl FnOnce(&mut Vec<Layer>), widths: &[usize]) -> String {
        let mut layers = layers();
        edit(&mut layers);
        from_safetensors(&to_safetensors(&layers).unwrap(), widths).unwrap_err()
    }

    #[test]
    fn layers_survive_the_file_and_the_file_is_the_same_each_time() {
        let bytes = to_safetensors(&layers()).unwrap();
        assert_eq!(from_safetensors(&bytes, &[2, 3, 2]).unwrap(), layers());
        assert_eq!(bytes, to_safetensors(&layers()).unwrap());
    }

    #[test]
    fn the_file_is_laid_out_as_pytorch_lays_it_out() {
        let bytes = to_safetensors(&layers()).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let weight = file.tensor("layers.0.weight").unwrap();
        assert_eq!(weight.shape(), [3, 2], "[out, in]");
        assert_eq!(weight.data()[..8], [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat());
    }

    #[test]
    fn each_fault_is_one_clear_sentence() {
        let turned = fault(|_| (), &[3, 2, 2]);
        assert_eq!(turned, "the tensor `layers.0.weight` is [3, 2], and [2, 3] ([out, in]) is wanted");
        let missing = fault(|layers| layers.truncate(1), &[2, 3, 2]);
        assert_eq!(missing, "the tensor `layers.1.weight` is not there");
        let surplus = fault(|_| (), &[2, 3]);
        assert_eq!(surplus, "it holds 4 tensors, and the manifest tells of 2");
        let nan = fault(|layers| layers[0].weight[3] = f32::NAN, &[2, 3, 2]);
        assert!(nan.starts_with("the tensor `layers.0.weight` holds NaN"), "{nan}");
        let infinite = fault(|layers| layers[1].bias[0] = f32::INFINITY, &[2, 3, 2]);
        assert!(infinite.starts_with("the tensor `layers.1.bias` holds inf"), "{infinite}");
        let huge = fault(|layers| layers[0].weight[0] = 1e35, &[2, 3, 2]);
        assert_eq!(huge, "the weights of layer 0 are so large that an answer could overflow");
    }

    #[test]
    fn numbers_of_another_type_are_refused_before_a_digit_is_lost() {
        for (dtype, bytes) in [(Dtype::F16, 2), (Dtype::BF16, 2), (Dtype::F64, 8), (Dtype::I32, 4)] {
            let (weight, bias) = (vec![0; 6 * bytes], vec![0; 3 * bytes]);
            let views = [("layers.0.weight", vec![3, 2], &weight), ("layers.0.bias", vec![3], &bias)];
            let views = views.map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape, bytes).unwrap()));
            let error = from_safetensors(&safetensors::serialize(views, None).unwrap(), &[2, 3]).unwrap_err();
            let want = format!("the tensor `layers.0.weight` holds {dtype:?}, and F32 is wanted");
            assert!(error.starts_with(&want), "{error}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let bytes = to_safetensors(&layers()).unwrap();
        for end in 0..bytes.len() {
            assert!(from_safetensors(&bytes[..end], &[2, 3, 2]).is_err());
        }
    }
}
