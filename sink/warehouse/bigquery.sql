-- BigQuery: the scored rows of dataset `iris`, read in place from Cloud Storage, then merged into a table.
--
-- Run as often as you like:   bq query --use_legacy_sql=false < sink/warehouse/bigquery.sql
-- The lake must be in (or be copied to) a bucket; replace gs://BUCKET/PREFIX and the dataset `alluvium` with yours. Copy
-- only `scored/` and `rejected/`; any copying tool will do, as a file never changes once it can be seen.
--
-- BigQuery keeps column names that begin with `_PARTITION`, in any case, for itself, and so can't take the lake's
-- `_partition`. The external table leaves that column out, and the view tells it from the file's name, where it stands
-- too: g0-p0003-00000000000000012345.parquet. Schema detection would stumble over it: the columns must be written out.

CREATE SCHEMA IF NOT EXISTS alluvium;

CREATE EXTERNAL TABLE IF NOT EXISTS alluvium.iris_files (
    id           INT64,
    sepal_length FLOAT64,
    sepal_width  FLOAT64,
    petal_length FLOAT64,
    petal_width  FLOAT64,
    prediction   STRING,
    confidence   FLOAT64,
    _generation  INT64,
    _offset      INT64,
    _timestamp   TIMESTAMP,
    _key         BYTES,
    _model       STRING
)
WITH PARTITION COLUMNS (date DATE, hour STRING)
OPTIONS (
    format = 'PARQUET',
    uris = ['gs://BUCKET/PREFIX/scored/iris/*.parquet'],
    hive_partition_uri_prefix = 'gs://BUCKET/PREFIX/scored/iris',
    ignore_unknown_values = TRUE
);

CREATE OR REPLACE VIEW alluvium.iris_lake AS
SELECT
    *,
    CAST(REGEXP_EXTRACT(_FILE_NAME, r'/g[0-9]+-p([0-9]+)-[0-9]+[.]parquet$') AS INT64) AS kafka_partition
FROM alluvium.iris_files;

-- A table of BigQuery's own, for speed. The view alone is enough to query the lake.
CREATE TABLE IF NOT EXISTS alluvium.iris_scored
PARTITION BY date
CLUSTER BY prediction, _generation, kafka_partition
AS SELECT * FROM alluvium.iris_lake WHERE FALSE;

-- Idempotent by (_generation, kafka_partition, _offset), which names a record for ever. Only the last days are looked at:
-- raise the number for event times that come later than that, or after a pause.
MERGE alluvium.iris_scored AS held
USING (
    SELECT * FROM alluvium.iris_lake WHERE date >= DATE_SUB(CURRENT_DATE('UTC'), INTERVAL 3 DAY)
) AS found
ON held.date = found.date
    AND held._generation = found._generation
    AND held.kafka_partition = found.kafka_partition
    AND held._offset = found._offset
WHEN NOT MATCHED THEN INSERT ROW;

SELECT date, hour, prediction, COUNT(*) AS records
FROM alluvium.iris_scored
GROUP BY date, hour, prediction
ORDER BY date, hour, prediction;
