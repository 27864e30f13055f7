"""The model that this repository ships, computed by numpy: what a user has who takes the weights along."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


@dataclass
class Model:
    features: list[str]
    classes: list[str]
    mean: np.ndarray
    deviation: np.ndarray
    # Each with one row for each input.
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def load(folder: str) -> Model:
    """The champion of this folder, its temperature worked into the last layer."""
    version = Path(folder) / (Path(folder) / "champion").read_text().split()[0]
    manifest = json.loads((version / "manifest.json").read_text())
    tensors = load_file(version / "weights.safetensors")
    layers = range(len(tensors) // 2)
    weights = [np.ascontiguousarray(tensors[f"layers.{layer}.weight"].T) for layer in layers]
    biases = [tensors[f"layers.{layer}.bias"] for layer in layers]
    temperature = np.float32(manifest.get("temperature", 1))
    weights[-1], biases[-1] = weights[-1] / temperature, biases[-1] / temperature
    numeric = [feature["kind"]["numeric"] for feature in manifest["features"]]
    return Model(
        features=[feature["name"] for feature in manifest["features"]],
        classes=manifest["classes"],
        mean=np.array([one["mean"] for one in numeric]),
        deviation=np.array([one["std"] for one in numeric]),
        weights=weights,
        biases=biases,
    )


def standardised(model: Model, columns: list[np.ndarray]) -> np.ndarray:
    """One row of 32-bit floats for each record."""
    rows = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    for index, column in enumerate(columns):
        rows[:, index] = (column - model.mean[index]) / model.deviation[index]
    return rows


def probabilities(model: Model, columns: list[np.ndarray]) -> np.ndarray:
    """One row for each record, one column for each class."""
    signal = standardised(model, columns)
    for weight, bias in zip(model.weights[:-1], model.biases[:-1]):
        signal = np.maximum(signal @ weight + bias, 0)
    scores = signal @ model.weights[-1] + model.biases[-1]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)
