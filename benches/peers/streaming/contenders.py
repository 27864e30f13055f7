"""Who is compared: how each is started for one run over a topic, and the settings that it is given."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .parts import JARS, PACKAGES, Parts

JOBS = Path(__file__).parent / "jobs"
MODEL = Path(__file__).parents[3] / "models/iris"
CORES = 2

PIPELINE = """[source]
brokers = "{brokers}"
topic = "{topic}"

{fields}
[model]
path = "{model}"

[lake]
url = "{output}"
dataset = "iris"

[http]
listen = "off"
"""
FIELDS = {
    "id": "int64",
    "sepal_length": "float64",
    "sepal_width": "float64",
    "petal_length": "float64",
    "petal_width": "float64",
    "species": "string",
}

CONSUMER = {
    "batch": 10_000,
    "rows": 500_000,
    "consumer": {
        "fetch.max.bytes": 16 << 20,
        "max.partition.fetch.bytes": 4 << 20,
        "queued.min.messages": 500_000,
    },
    "parquet": {"compression": "zstd", "compression_level": 1, "use_dictionary": ["species", "prediction"]},
}
SPARK = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": CORES,
    "spark.sql.execution.arrow.maxRecordsPerBatch": 50_000,
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.hadoop.parquet.compression.codec.zstd.level": 1,
    "spark.ui.enabled": "false",
    "spark.log.level": "WARN",
}
SPARK_SOURCE = {"maxOffsetsPerTrigger": 2_000_000}

FLINK = {
    "parallelism.default": CORES,
    "execution.checkpointing.interval": "10 s",
    "restart-strategy.type": "none",
    "table.local-time-zone": "UTC",
    "pipeline.object-reuse": "true",
}
FLINK_SINK = {
    "parquet.compression": "ZSTD",
    "parquet.compression.codec.zstd.level": "1",
    "parquet.utc-timezone": "true",
    "parquet.write.int64.timestamp": "true",
}
FLINK_JVM = "-Xmx2g"


def listed(settings: dict) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in settings.items())


@dataclass
class Task:
    """One run: from this topic into this folder, with another folder for whatever it likes to keep."""

    brokers: str
    topic: str
    output: Path
    state: Path


@dataclass
class Command:
    arguments: list
    environment: dict[str, str]


class Alluvium:
    name = "alluvium"
    title = "Alluvium"
    settings = "a pipeline file with fields, model and lake; all else is its default"

    def __init__(self, program: Path):
        self.program = program

    def prepare(self, parts: Parts) -> None:
        pass

    def versions(self) -> str:
        return subprocess.run([self.program, "--version"], check=True, capture_output=True, text=True).stdout.strip()

    def command(self, task: Task) -> Command:
        pipeline = task.state / "pipeline.toml"
        fields = "".join(f'[[fields]]\nname = "{name}"\ntype = "{kind}"\n\n' for name, kind in FIELDS.items())
        pipeline.write_text(
            PIPELINE.format(
                brokers=task.brokers, topic=task.topic, output=task.output, model=MODEL.resolve(), fields=fields
            )
        )
        return Command([self.program, "batch", pipeline, "--log", "warn"], {})


class Peer:
    """A job in Python, in an environment of its own."""

    name: str

    def prepare(self, parts: Parts) -> None:
        self.python = parts.python(self.name)

    def versions(self) -> str:
        packages = [package.replace("==", " ") for package in PACKAGES[self.name]]
        jars = [" ".join(jar.split(":")[1:]) for jar in JARS.get(self.name, [])]
        return ", ".join(packages + jars)

    def job(self, task: Task, **more) -> Path:
        """The file that tells the job what there is to do."""
        what = {"brokers": task.brokers, "topic": task.topic, "model": str(MODEL.resolve()), "output": str(task.output)}
        path = task.state / "job.json"
        path.write_text(json.dumps(what | {"state": str(task.state / "checkpoints")} | more))
        return path


class Consumer(Peer):
    name = "python"
    title = "Python consumer"
    settings = (
        f"{CORES} processes of one group, each with half of the partitions; batches of {CONSUMER['batch']:,} records; "
        f"a file of {CONSUMER['rows']:,} rows, then a commit; {listed(CONSUMER['consumer'])}; "
        f"JSON read by pyarrow; no further threads of NumPy's; {listed(CONSUMER['parquet'])}"
    )

    def command(self, task: Task) -> Command:
        # A group of its own, or it would go on where the run before it ended.
        job = self.job(task, processes=CORES, group=task.output.name, **CONSUMER)
        # Two processes on two cores are threads enough.
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return Command([self.python, JOBS / "consumer_job.py", job], alone)


class Spark(Peer):
    name = "spark"
    title = "Spark Structured Streaming"
    submit = ("--master", f"local[{CORES}]", "--driver-memory", "2g")
    settings = f"`{' '.join(submit)}`; {listed(SPARK | SPARK_SOURCE)}; `trigger(availableNow=True)`"

    def prepare(self, parts: Parts) -> None:
        super().prepare(parts)
        self.jars = parts.jars(self.name)

    def command(self, task: Task) -> Command:
        submit = [self.python.parent / "spark-submit", *self.submit]
        submit += ["--jars", ",".join(map(str, sorted(self.jars.glob("*.jar"))))]
        for key, value in SPARK.items():
            submit += ["--conf", f"{key}={value}"]
        submit += [JOBS / "spark_job.py", self.job(task, source=SPARK_SOURCE)]
        environment = {
            "PYSPARK_PYTHON": str(self.python),
            "PYTHONPATH": str(JOBS),
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "SPARK_LOCAL_DIRS": str(task.state / "local"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_HOME": str(next(self.python.parents[1].glob("lib/python3*/site-packages/pyspark"))),
        }
        return Command(submit, environment)


class Flink(Peer):
    name = "flink"
    title = "PyFlink"
    settings = (
        f"a cluster within one JVM of `{FLINK_JVM}`; {listed(FLINK | FLINK_SINK)}; `scan.bounded.mode=latest-offset`"
    )

    def prepare(self, parts: Parts) -> None:
        super().prepare(parts)
        self.jars = parts.jars(self.name)

    def command(self, task: Task) -> Command:
        jars = [str(jar) for jar in sorted(self.jars.glob("*.jar"))]
        job = self.job(task, jars=jars, configuration=FLINK, source={}, sink=FLINK_SINK)
        environment = {"PYTHONPATH": str(JOBS), "JVM_ARGS": FLINK_JVM, "FLINK_LOG_DIR": str(task.state)}
        return Command([self.python, JOBS / "flink_job.py", job], environment)


PEERS = {peer.name: peer for peer in (Spark, Consumer, Flink)}
