"""Scores rows with a model of this program in PyTorch.

python tests/pytorch/score.py models/iris/1 < rows.json > probabilities.json
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def load(version):
    """The network of a version, and its manifest."""
    manifest = json.loads((Path(version) / "manifest.json").read_text())
    weights = load_file(Path(version) / "weights.safetensors")
    layers = []
    for index in range(len(manifest["hidden"]) + 1):
        outputs, inputs = weights[f"layers.{index}.weight"].shape
        layers.append(torch.nn.Linear(inputs, outputs))
    network = torch.nn.Module()
    network.layers = torch.nn.ModuleList(layers)
    network.load_state_dict(weights)
    return network, manifest


def probabilities(network, manifest, rows):
    """Of rows of numbers; words and texts would need their floats first."""
    scales = [feature["kind"]["numeric"] for feature in manifest["features"]]
    mean, std = (torch.tensor([scale[key] for scale in scales], dtype=torch.float64) for key in ("mean", "std"))
    signal = ((torch.tensor(rows, dtype=torch.float64) - mean) / std).float()
    activation = {"relu": torch.relu, "tanh": torch.tanh}[manifest["activation"]]
    for layer in network.layers[:-1]:
        signal = activation(layer(signal))
    return torch.softmax(network.layers[-1](signal) / manifest.get("temperature", 1.0), dim=1)


if __name__ == "__main__":
    with torch.no_grad():
        print(json.dumps(probabilities(*load(sys.argv[1]), json.load(sys.stdin)).tolist()))
