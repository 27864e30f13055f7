"""Ten-fold accuracy beside scikit-learn's MLPClassifier, on scikit-learn's own tables and on the same folds.

    python benches/peers/accuracy.py [--alluvium target/release/alluvium] [--hidden 16]

Needs scikit-learn and pandas. Both get the same rows in the same folds, inputs standardised within each fold, and
the same hidden layers; all else is each program's default. Exits with 1 if one falls behind by more than a point.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 10
POINT = 0.01


def ours(program, table, hidden, folder):
    """Our mean accuracy, and the fold of each row."""
    command = [program, "train", table, "--label", "class", "--hidden", hidden, "--json"]
    command += ["--folds", str(FOLDS), "--folds-out", folder / "folds.txt", "--out", folder / "model"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    fold_of = [int(line) for line in (folder / "folds.txt").read_text().split()]
    return json.loads(done.stdout)["report"]["folds"]["accuracy_mean"], fold_of


def theirs(features, labels, fold_of, hidden):
    folds = PredefinedSplit(fold_of)
    layers = tuple(int(units) for units in hidden.split(","))
    classifier = MLPClassifier(hidden_layer_sizes=layers, max_iter=500, random_state=0)
    return cross_val_score(make_pipeline(StandardScaler(), classifier), features, labels, cv=folds).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alluvium", default="target/release/alluvium")
    parser.add_argument("--hidden", default="16")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    behind = False
    for name, load in [("iris", load_iris), ("wine", load_wine), ("breast cancer", load_breast_cancer)]:
        features, labels = load(return_X_y=True, as_frame=True)
        table = features.assign(**{"class": [f"c{label}" for label in labels]})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            pd.DataFrame(table).to_csv(path, index=False)
            mine, fold_of = ours(arguments.alluvium, path, arguments.hidden, Path(folder))
        peer = theirs(features, labels, fold_of, arguments.hidden)
        behind |= mine < peer - POINT
        print(f"{name:14} alluvium {100 * mine:5.1f} %   scikit-learn {100 * peer:5.1f} %   {100 * (mine - peer):+.1f}")
    sys.exit(bool(behind))


if __name__ == "__main__":
    main()
