"""Flink's Table API: JSON by its own format, the model in a vectorised Python function, Parquet by date and hour.

Started by Python, which starts a JVM with a small cluster in it; the one argument is the file that says what to do.
"""

import json
import sys
from pathlib import Path

import iris_model
import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

FIELDS = "id BIGINT, sepal_length DOUBLE, sepal_width DOUBLE, petal_length DOUBLE, petal_width DOUBLE, species STRING"
PLACES = "_partition INT, _offset BIGINT, _timestamp TIMESTAMP_LTZ(3)"
METADATA = """
    _partition INT METADATA FROM 'partition' VIRTUAL,
    _offset BIGINT METADATA FROM 'offset' VIRTUAL,
    _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
"""


def options(settings: dict[str, str]) -> str:
    return ", ".join(f"'{key}' = '{value}'" for key, value in settings.items())


def source(job: dict) -> str:
    settings = {
        "connector": "kafka",
        "topic": job["topic"],
        "properties.bootstrap.servers": job["brokers"],
        "properties.group.id": "iris",
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
        "format": "json",
    }
    return f"CREATE TABLE records ({FIELDS}, {METADATA}) WITH ({options(settings | job['source'])})"


def sink(job: dict, model: iris_model.Model) -> str:
    settings = {"connector": "filesystem", "path": f"file://{job['output']}", "format": "parquet"}
    answer = ", ".join(["prediction STRING", "confidence FLOAT", *(f"p_{name} FLOAT" for name in model.classes)])
    return (
        f"CREATE TABLE lake ({FIELDS}, {answer}, {PLACES}, `date` STRING, `hour` STRING) "
        f"PARTITIONED BY (`date`, `hour`) WITH ({options(settings | job['sink'])})"
    )


def scores(model: iris_model.Model):
    """The class, how sure it is, and what each class got, of a batch of records at once."""
    answer = [DataTypes.FIELD("prediction", DataTypes.STRING()), DataTypes.FIELD("confidence", DataTypes.FLOAT())]
    answer += [DataTypes.FIELD(f"p_{name}", DataTypes.FLOAT()) for name in model.classes]
    names = pd.Series(model.classes).to_numpy()

    @udf(result_type=DataTypes.ROW(answer), func_type="pandas")
    def score(*columns: pd.Series) -> pd.DataFrame:
        rows = iris_model.probabilities(model, [column.to_numpy() for column in columns])
        answers = {"prediction": names[rows.argmax(axis=1)], "confidence": rows.max(axis=1)}
        return pd.DataFrame(answers | {f"p_{name}": rows[:, at] for at, name in enumerate(model.classes)})

    return score


def insert(model: iris_model.Model) -> str:
    fields = ", ".join(part.split()[0] for part in FIELDS.split(", "))
    answers = ", ".join(f"answer.{name}" for name in ["prediction", "confidence", *(f"p_{n}" for n in model.classes)])
    return (
        f"INSERT INTO lake SELECT {fields}, {answers}, _partition, _offset, _timestamp, "
        "DATE_FORMAT(_timestamp, 'yyyy-MM-dd'), DATE_FORMAT(_timestamp, 'HH') "
        f"FROM (SELECT *, score({', '.join(model.features)}) AS answer FROM records)"
    )


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in job["configuration"].items():
        table.get_config().set(key, str(value))
    table.get_config().set("pipeline.jars", ";".join(f"file://{jar}" for jar in job["jars"]))
    table.get_config().set("python.executable", sys.executable)
    table.get_config().set("execution.checkpointing.dir", f"file://{job['state']}")
    model = iris_model.load(job["model"])
    table.create_temporary_function("score", scores(model))
    table.execute_sql(source(job))
    table.execute_sql(sink(job, model))
    if job.get("explain"):
        print(table.explain_sql(insert(model)))
    table.execute_sql(insert(model)).wait()


if __name__ == "__main__":
    main()
