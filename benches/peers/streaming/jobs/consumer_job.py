"""A Python consumer: confluent-kafka for the records, pyarrow for JSON and Parquet, scikit-learn for the model.

Offsets are committed once the files that hold their records are in place: a crash repeats records, and loses none.
"""

import json
import multiprocessing
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import iris_model
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Message, TopicPartition
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelBinarizer

FIELDS = pa.schema(
    {
        "id": pa.int64(),
        "sepal_length": pa.float64(),
        "sepal_width": pa.float64(),
        "petal_length": pa.float64(),
        "petal_width": pa.float64(),
        "species": pa.string(),
    }
)
WAIT_SECONDS_MAX = 10.0
BATCH_SECONDS_MAX = 0.1


def classifier(model: iris_model.Model) -> MLPClassifier:
    """As if scikit-learn had fitted it: the shipped weights, set by hand."""
    network = MLPClassifier(hidden_layer_sizes=[len(bias) for bias in model.biases[:-1]])
    network.n_layers_, network.n_outputs_ = len(model.weights) + 1, len(model.classes)
    network.n_features_in_ = len(model.features)
    network.coefs_, network.intercepts_ = model.weights, model.biases
    network.out_activation_, network.classes_ = "softmax", np.array(model.classes)
    network._label_binarizer = LabelBinarizer().fit(network.classes_)
    return network


def decoded(messages: list[Message]) -> pa.Table:
    """As lines for pyarrow, which is quicker than `orjson` and a table made of its answers."""
    lines = pa.BufferReader(b"\n".join([message.value() for message in messages]))
    reading = pj.ReadOptions(use_threads=False, block_size=64 << 20)
    return pj.read_json(lines, reading, pj.ParseOptions(explicit_schema=FIELDS, unexpected_field_behavior="ignore"))


def scored(table: pa.Table, model: iris_model.Model, network: MLPClassifier) -> pa.Table:
    columns = [table[name].to_numpy() for name in model.features]
    rows = network.predict_proba(iris_model.standardised(model, columns))
    best = pa.DictionaryArray.from_arrays(rows.argmax(axis=1).astype(np.int8), model.classes)
    table = table.append_column("prediction", best).append_column("confidence", pa.array(rows.max(axis=1)))
    for at, name in enumerate(model.classes):
        table = table.append_column(f"p_{name}", pa.array(np.ascontiguousarray(rows[:, at])))
    return table


def placed(table: pa.Table, messages: list[Message]) -> pa.Table:
    """With where each record came from."""
    times = [message.timestamp()[1] for message in messages]
    table = table.append_column("_partition", pa.array([message.partition() for message in messages], pa.int32()))
    table = table.append_column("_offset", pa.array([message.offset() for message in messages], pa.int64()))
    return table.append_column("_timestamp", pa.array(times, pa.timestamp("ms", tz="UTC")))


@dataclass
class Writer:
    """Keeps rows until they are worth a file."""

    output: Path
    compression: dict
    tables: list[pa.Table] = field(default_factory=list)
    rows: int = 0

    def add(self, table: pa.Table) -> None:
        self.tables.append(table)
        self.rows += len(table)

    def write(self) -> None:
        """A file for each hour."""
        table = pa.concat_tables(self.tables).unify_dictionaries()
        hours = pc.floor_temporal(table["_timestamp"], unit="hour")
        for hour in hours.unique():
            folder = self.output / f"date={hour.as_py():%Y-%m-%d}" / f"hour={hour.as_py():%H}"
            folder.mkdir(parents=True, exist_ok=True)
            name = uuid.uuid4().hex
            pq.write_table(table.filter(pc.equal(hours, hour)), folder / f".{name}", **self.compression)
            (folder / f".{name}").rename(folder / f"{name}.parquet")
        self.tables, self.rows = [], 0


def consume(job: dict, partitions: list[int]) -> None:
    """Takes these partitions to where they end now."""
    settings = {"bootstrap.servers": job["brokers"], "group.id": job["group"], "enable.auto.commit": False}
    consumer = Consumer(settings | {"auto.offset.reset": "earliest"} | job["consumer"])
    mine = consumer.committed([TopicPartition(job["topic"], partition) for partition in partitions], WAIT_SECONDS_MAX)
    ends = {one.partition: consumer.get_watermark_offsets(one, WAIT_SECONDS_MAX)[1] for one in mine}
    consumer.assign(mine)
    model = iris_model.load(job["model"])
    network = classifier(model)
    writer = Writer(Path(job["output"]), job["parquet"])
    while not at_end(mine, ends):
        messages = next_batch(consumer, job["batch"])
        if failed := next((message for message in messages if message.error()), None):
            raise SystemExit(f"the broker says: {failed.error()}")
        writer.add(placed(scored(decoded(messages), model, network), messages))
        mine = consumer.position(mine)
        if writer.rows >= job["rows"] or at_end(mine, ends):
            writer.write()
            consumer.commit(offsets=[one for one in mine if one.offset >= 0], asynchronous=False)
    consumer.close()


def next_batch(consumer: Consumer, count: int) -> list[Message]:
    """So many, or fewer where no more come soon: `consume` waits its whole time for a batch that is not full."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not (messages := consumer.consume(count, BATCH_SECONDS_MAX)):
        if time.monotonic() > until:
            raise SystemExit(f"no record came within {WAIT_SECONDS_MAX:.0f} s")
    return messages


def at_end(positions: list[TopicPartition], ends: dict[int, int]) -> bool:
    """Before its first record, a position is negative."""
    return all(max(one.offset, 0) >= ends[one.partition] for one in positions)


def partitions_of(job: dict) -> list[int]:
    consumer = Consumer({"bootstrap.servers": job["brokers"], "group.id": job["group"]})
    topic = consumer.list_topics(job["topic"], WAIT_SECONDS_MAX).topics[job["topic"]]
    consumer.close()
    return sorted(topic.partitions)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    partitions, count = partitions_of(job), job["processes"]
    start = multiprocessing.get_context("fork").Process
    workers = [start(target=consume, args=(job, partitions[worker::count])) for worker in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


if __name__ == "__main__":
    main()
