"""Writes the model and the answers that `tests/it/pytorch.rs` compares with, by PyTorch itself.

    pip install torch numpy safetensors
    python tests/pytorch/make_fixture.py tests/pytorch/fixture [SEED]

The folder is a model as the repository keeps it, made by a network that PyTorch drew and never saw this program; beside it
stand rows and what PyTorch says of them.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPE = [5, 16, 16, 3]


class Network(torch.nn.Module):
    """The names of its tensors are those of `weights.safetensors`: `layers.0.weight` and so on."""

    def __init__(self, activation):
        super().__init__()
        pairs = zip(SHAPE, SHAPE[1:])
        self.layers = torch.nn.ModuleList(torch.nn.Linear(inputs, outputs) for inputs, outputs in pairs)
        self.activation = activation

    def forward(self, rows):
        for layer in self.layers[:-1]:
            rows = self.activation(layer(rows))
        return self.layers[-1](rows)


def main(folder, seed=1):
    torch.manual_seed(int(seed))
    for name, activation in (("relu", torch.relu), ("tanh", torch.tanh)):
        network = Network(activation).eval()
        rows = torch.randn(64, SHAPE[0], dtype=torch.float64)
        with torch.no_grad():
            answers = torch.softmax(network(((rows - 0.25) / 1.5).float()), dim=1)
        write(Path(folder) / name, name, network, rows, answers)


def write(model, name, network, rows, answers):
    version = model / "1"
    version.mkdir(parents=True, exist_ok=True)
    kind = {"numeric": {"mean": 0.25, "std": 1.5}}
    manifest = {
        "format": "alluvium-model/1",
        "name": name,
        "version": 1,
        "features": [{"name": f"x{place}", "missing": False, "kind": kind} for place in range(SHAPE[0])],
        "hidden": SHAPE[1:-1],
        "activation": name,
        "classes": [f"c{number}" for number in range(SHAPE[-1])],
    }
    (version / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (model / "champion").write_text("1\n")
    save_file(network.state_dict(), version / "weights.safetensors")
    answers = {"torch": torch.__version__, "rows": rows.tolist(), "probabilities": answers.tolist()}
    (model / "answers.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
