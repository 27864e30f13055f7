"""Spark Structured Streaming: JSON by `from_json`, the model in a pandas UDF, Parquet by date and hour.

Started by spark-submit, which has the settings; its one argument is the file that says what there is to do.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import iris_model
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.functions import pandas_udf

FIELDS = "id BIGINT, sepal_length DOUBLE, sepal_width DOUBLE, petal_length DOUBLE, petal_width DOUBLE, species STRING"
MEASUREMENTS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def scores(model: iris_model.Model, columns: list[Column]) -> Column:
    """One structure for each record: the class, how sure it is, and what each class got."""
    answer = f"prediction STRING, confidence FLOAT, {', '.join(f'p_{name} FLOAT' for name in model.classes)}"

    # An iterator, as the documentation advises for what has a state of its own: here, the weights.
    @pandas_udf(answer)
    def score(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        names = pd.Series(model.classes).to_numpy()
        for batch in batches:
            rows = iris_model.probabilities(model, [column.to_numpy() for column in batch])
            best = rows.argmax(axis=1)
            answers = {"prediction": names[best], "confidence": rows.max(axis=1)}
            yield pd.DataFrame(answers | {f"p_{name}": rows[:, at] for at, name in enumerate(model.classes)})

    return score(*columns)


def records(spark: SparkSession, job: dict) -> DataFrame:
    options = {
        "kafka.bootstrap.servers": job["brokers"],
        "subscribe": job["topic"],
        "startingOffsets": "earliest",
        **job["source"],
    }
    return spark.readStream.format("kafka").options(**options).load()


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    spark = SparkSession.builder.appName("iris").getOrCreate()
    model = iris_model.load(job["model"])
    decoded = records(spark, job).select(
        F.from_json(F.col("value").cast("string"), FIELDS).alias("record"),
        F.col("partition").alias("_partition"),
        F.col("offset").alias("_offset"),
        F.col("timestamp").alias("_timestamp"),
    )
    flat = decoded.select("record.*", "_partition", "_offset", "_timestamp")
    scored = flat.withColumn("answer", scores(model, [F.col(name) for name in MEASUREMENTS]))
    rows = scored.select("*", "answer.*").drop("answer")
    filed = rows.withColumn("date", F.to_date("_timestamp")).withColumn("hour", F.date_format("_timestamp", "HH"))
    sink = filed.writeStream.format("parquet").partitionBy("date", "hour").option("path", job["output"])
    sink.option("checkpointLocation", job["state"]).trigger(availableNow=True).start().awaitTermination()


if __name__ == "__main__":
    main()
