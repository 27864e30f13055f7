"""The time that training takes beside scikit-learn's MLPClassifier: a million rows of 30 numbers, hidden 64 and 64.

    python benches/peers/train.py [--alluvium target/release/alluvium] [--rows 1000000] [--epochs 3]

Needs scikit-learn, pandas and pyarrow. Both learn from as many rows for as many epochs with batches of 256, Adam and
32-bit floats, without early stopping. Ours includes reading the Parquet file, measuring on held-out rows after each
epoch, the logistic regression beside it, and the report; scikit-learn's is the call of `fit` alone. Exits with 1 if ours takes twice as long or longer.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

COLUMNS = 30
HELD_OUT = 0.0125
BATCH = 256


def rows(count):
    random = np.random.default_rng(0)
    features = random.normal(size=(count, COLUMNS)).astype(np.float32)
    mixed = np.tanh(features @ random.normal(size=(COLUMNS, 8)) / 3).sum(axis=1)
    return features, np.where(mixed + random.normal(size=count) * 0.3 > 0, "yes", "no")


def ours(program, features, labels, epochs):
    table = pd.DataFrame(features, columns=[f"f{column}" for column in range(COLUMNS)]).assign(label=labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        table.to_parquet(path, index=False)
        start = time.perf_counter()
        command = [program, "train", path, "--label", "label", "--out", Path(folder) / "model", "--hidden", "64,64"]
        command += ["--epochs", epochs, "--patience", epochs, "--batch-size", BATCH]
        command += ["--validation-share", HELD_OUT, "--test-share", HELD_OUT]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        return time.perf_counter() - start


def theirs(features, labels, epochs):
    classifier = MLPClassifier((64, 64), batch_size=BATCH, max_iter=epochs, n_iter_no_change=epochs + 1, tol=0.0)
    start = time.perf_counter()
    classifier.fit(features, labels)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alluvium", default="target/release/alluvium")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    features, labels = rows(int(arguments.rows / (1 - 2 * HELD_OUT)))
    mine = ours(arguments.alluvium, features, labels, arguments.epochs)
    peer = theirs(features[: arguments.rows], labels[: arguments.rows], arguments.epochs)
    print(f"alluvium {mine:.1f} s, scikit-learn {peer:.1f} s: {mine / peer:.2f} of its time")
    sys.exit(bool(mine >= 2 * peer))


if __name__ == "__main__":
    main()
