"""Scoring beside onnxruntime and scikit-learn: the same weights, the same rows, one thread each, in one run.

    pip install numpy safetensors onnx onnxruntime scikit-learn
    python benches/peers/score.py

Builds this repository's `score` benchmark, has it score each network's rows with both backends, and prints
millions of rows a second and how they compare with onnxruntime's. Softmax and the choice of the class are part of
the work of all. What is shown is the best of several rounds; the peers may choose their best size of batch. Answers that
differ by more than 1e-5 end the run.
"""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelBinarizer

SHAPES = [(4, 16, 3), (4, 64, 64, 3), (30, 128, 64, 2)]
ROWS = 65_536
BATCHES = [256, 1_024, 4_096]
REPOSITORY = Path(__file__).parents[2]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_argument("--program", help="the benchmark's program, if it is built already")
    arguments = arguments.parse_args()
    program = arguments.program or built()
    results = [compared(shape, program, arguments.rounds) for shape in SHAPES]
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


def compared(shape, program, rounds):
    """The speeds of one network, in rows a second, best of the rounds."""
    random = np.random.default_rng(1)
    layers = [
        (
            random.uniform(-1, 1, (outputs, inputs)).astype(np.float32) * np.float32((6 / inputs) ** 0.5),
            random.uniform(-0.1, 0.1, outputs).astype(np.float32),
        )
        for inputs, outputs in zip(shape, shape[1:])
    ]
    rows = random.normal(size=(ROWS, shape[0])).astype(np.float32)
    onnx_scores, sklearn_scores = with_onnxruntime(layers), with_scikit_learn(layers)
    expected = onnx_scores(rows)
    agree("scikit-learn", sklearn_scores(rows), expected)
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), shape, layers, rows)
        for _ in range(rounds):
            measured = {"onnxruntime": fastest(onnx_scores, rows), "scikit-learn": fastest(sklearn_scores, rows)}
            for backend in ("ndarray", "flex"):
                environment = {**os.environ, "ALLUVIUM_BENCH_MODEL": folder, "ALLUVIUM_BENCH_BACKEND": backend}
                run = subprocess.run([program], env=environment, check=True, capture_output=True, text=True)
                answer = json.loads(run.stdout)
                first = np.array(answer["probabilities"], dtype=np.float32)
                agree(backend, first, expected[: len(first)])
                measured[backend] = answer["rows_per_second"]
            for name, speed in measured.items():
                speeds[name] = max(speed, speeds.get(name, 0))
    return {"network": "-".join(map(str, shape)), **speeds}


def write_model(folder, shape, layers, rows):
    """A model as this repository keeps it, and the rows beside it."""
    manifest = {
        "format": "alluvium-model/1",
        "name": folder.name,
        "version": 1,
        "features": [
            {"name": f"x{column}", "missing": False, "kind": {"numeric": {"mean": 0.0, "std": 1.0}}}
            for column in range(shape[0])
        ],
        "hidden": list(shape[1:-1]),
        "activation": "relu",
        "classes": [f"c{number}" for number in range(shape[-1])],
    }
    tensors = {}
    for index, (weight, bias) in enumerate(layers):
        tensors[f"layers.{index}.weight"], tensors[f"layers.{index}.bias"] = weight, bias
    (folder / "1").mkdir()
    (folder / "1/manifest.json").write_text(json.dumps(manifest))
    (folder / "champion").write_text("1\n")
    save_file(tensors, folder / "1/weights.safetensors")
    save_file({"rows": rows}, folder / "rows.safetensors")


def with_onnxruntime(layers):
    """Rows to probabilities; the class is computed too."""
    nodes, tensors, signal = [], [], "rows"
    for index, (weight, bias) in enumerate(layers):
        tensors += [numpy_helper.from_array(weight, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        nodes.append(helper.make_node("Gemm", [signal, f"w{index}", f"b{index}"], [f"y{index}"], transB=1))
        signal = f"y{index}"
        if index + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [signal], [f"a{index}"]))
            signal = f"a{index}"
    nodes.append(helper.make_node("Softmax", [signal], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", [signal], ["class"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, layers[0][0].shape[1]])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, layers[-1][0].shape[0]]),
            helper.make_tensor_value_info("class", TensorProto.INT64, [None]),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"rows": rows})[0]


def with_scikit_learn(layers):
    """An MLPClassifier that was never fitted, with the weights set by hand."""
    classes = np.arange(layers[-1][0].shape[0])
    network = MLPClassifier(hidden_layer_sizes=[len(bias) for _, bias in layers[:-1]])
    network.n_layers_, network.n_outputs_ = len(layers) + 1, len(classes)
    network.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    network.intercepts_ = [bias for _, bias in layers]
    network.out_activation_, network.classes_ = "softmax", classes
    network._label_binarizer = LabelBinarizer().fit(classes)

    def scores(rows):
        probabilities = network._forward_pass_fast(rows, check_input=False)
        probabilities.argmax(axis=1)
        return probabilities

    return scores


def fastest(scores, rows):
    """Rows a second with the best size of batch."""

    def seconds(batch):
        begin = time.perf_counter()
        for start in range(0, len(rows), batch):
            scores(rows[start : start + batch])
        return time.perf_counter() - begin

    return len(rows) / min(seconds(batch) for batch in BATCHES for _ in range(5))


def agree(name, scores, expected):
    difference = float(np.abs(scores - expected).max())
    if not difference < 1e-5:
        raise SystemExit(f"{name} and onnxruntime differ by {difference}: they do not compute the same network")


def built():
    """The benchmark's program, built."""
    command = ["cargo", "bench", "--bench", "score", "--no-run", "--message-format", "json"]
    run = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    messages = (json.loads(line) for line in run.stdout.splitlines())
    programs = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "score"]
    return programs[-1]


def show(results):
    names = ["onnxruntime", "scikit-learn", "ndarray", "flex"]
    print("M rows/s, one thread  " + "".join(f"{name:>20}" for name in names))
    for result in results:
        cells = (f"{result[name] / 1e6:.1f} ({result[name] / result['onnxruntime']:.2f} x)" for name in names)
        print(f"{result['network']:<22}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
