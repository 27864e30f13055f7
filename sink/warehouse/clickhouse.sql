-- ClickHouse: load the scored rows of dataset `iris` into a table of its own.
--
-- Run from the repository root, as often as you like:
--
--     clickhouse local --multiquery < sink/warehouse/clickhouse.sql        (a local lake, to try it)
--     clickhouse client --multiquery < sink/warehouse/clickhouse.sql       (a server: see "From S3" below)
--
-- Idempotent. A file never changes once it can be seen, so files that the table holds in full are passed over. One that
-- an insert left half-way is read again, and its rows replace their own copies, as (_generation, _partition, _offset)
-- names a record for ever. Until ClickHouse has merged such copies away, read with FINAL.
--
-- From S3: write  s3('https://BUCKET.s3.REGION.amazonaws.com/PREFIX/scored/iris/**/*.parquet', 'Parquet')
-- for each  file('sink/lake/scored/iris/**/*.parquet', 'Parquet').
-- Your own fields: name them in the table and in both column lists below; `_partition` and its kind stay.

CREATE TABLE IF NOT EXISTS iris_scored
(
    id           Nullable(Int64),
    sepal_length Nullable(Float64),
    sepal_width  Nullable(Float64),
    petal_length Nullable(Float64),
    petal_width  Nullable(Float64),
    prediction   LowCardinality(String),
    confidence   Float32,
    _generation  Int32,
    _partition   Int32,
    _offset      Int64,
    _timestamp   DateTime64(3, 'UTC'),
    _key         Nullable(String),
    _model       LowCardinality(String),
    -- From the folders: UTC of the event time.
    date         Date,
    hour         UInt8,
    file         LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (_generation, _partition, _offset);

INSERT INTO iris_scored
SELECT
    id, sepal_length, sepal_width, petal_length, petal_width,
    assumeNotNull(prediction), assumeNotNull(confidence),
    assumeNotNull(_generation), assumeNotNull(_partition), assumeNotNull(_offset), assumeNotNull(_timestamp),
    _key, assumeNotNull(_model),
    date, hour, _path
FROM file('sink/lake/scored/iris/**/*.parquet', 'Parquet')
WHERE _path NOT IN (
    SELECT file
    FROM (SELECT file, count() AS rows FROM iris_scored FINAL GROUP BY file) AS held
    INNER JOIN (
        SELECT _path AS file, count() AS rows
        FROM file('sink/lake/scored/iris/**/*.parquet', 'Parquet')
        GROUP BY _path
    ) AS there USING (file, rows)
)
SETTINGS use_hive_partitioning = 1;

SELECT prediction, count() AS records, round(avg(confidence), 4) AS confidence
FROM iris_scored FINAL
GROUP BY prediction
ORDER BY prediction;
