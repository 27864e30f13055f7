-- Redshift: two ways to the scored rows of dataset `iris` in an S3 lake. Replace s3://BUCKET/PREFIX, the role and the
-- Glue database with yours; the bucket must be in the cluster's region.

-- ---------------------------------------------------------------------------------------------------------------------
-- 1. In place, as an external table (Spectrum). Nothing is copied, so nothing can be loaded twice.

CREATE EXTERNAL SCHEMA IF NOT EXISTS lake
FROM DATA CATALOG
DATABASE 'alluvium'
IAM_ROLE 'arn:aws:iam::ACCOUNT:role/ROLE'
CREATE EXTERNAL DATABASE IF NOT EXISTS;

-- Columns are found by name. Can't be run inside a transaction.
CREATE EXTERNAL TABLE lake.iris_scored (
    id           BIGINT,
    sepal_length DOUBLE PRECISION,
    sepal_width  DOUBLE PRECISION,
    petal_length DOUBLE PRECISION,
    petal_width  DOUBLE PRECISION,
    prediction   VARCHAR(256),
    confidence   REAL,
    _generation  INTEGER,
    _partition   INTEGER,
    _offset      BIGINT,
    _timestamp   TIMESTAMP,
    _model       VARCHAR(256)
)
PARTITIONED BY (date DATE, hour CHAR(2))
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/scored/iris/';

-- Spectrum sees a folder once it is told of it: run this for each new hour, or let a Glue crawler do so.
ALTER TABLE lake.iris_scored ADD IF NOT EXISTS
PARTITION (date = '2026-11-21', hour = '07')
LOCATION 's3://BUCKET/PREFIX/scored/iris/date=2026-11-21/hour=07/';

SELECT date, hour, prediction, COUNT(*) AS records
FROM lake.iris_scored
GROUP BY date, hour, prediction
ORDER BY date, hour, prediction;

-- ---------------------------------------------------------------------------------------------------------------------
-- 2. Into a table of Redshift's own, from the external one. Idempotent by (_generation, _partition, _offset), which names
--    a record for ever: run it for an hour as often as you like, also while the hour still grows.
--
--    Plain COPY ... FORMAT AS PARQUET would do for a single load; it keeps no history of files, so a second run
--    loads everything twice, and it wants the table's columns to be exactly the file's, in the file's order.

CREATE TABLE IF NOT EXISTS iris_scored (
    id           BIGINT,
    sepal_length DOUBLE PRECISION,
    sepal_width  DOUBLE PRECISION,
    petal_length DOUBLE PRECISION,
    petal_width  DOUBLE PRECISION,
    prediction   VARCHAR(256) NOT NULL,
    confidence   REAL NOT NULL,
    _generation  INTEGER NOT NULL,
    _partition   INTEGER NOT NULL,
    _offset      BIGINT NOT NULL,
    _timestamp   TIMESTAMP NOT NULL,
    _model       VARCHAR(256) NOT NULL,
    date         DATE NOT NULL,
    hour         CHAR(2) NOT NULL
)
SORTKEY (date, hour);

-- One writer at a time: the lock makes a second one wait for what the first inserts.
BEGIN;
LOCK TABLE iris_scored;
INSERT INTO iris_scored
SELECT
    found.id, found.sepal_length, found.sepal_width, found.petal_length, found.petal_width, found.prediction,
    found.confidence, found._generation, found._partition, found._offset, found._timestamp, found._model, found.date,
    found.hour
FROM lake.iris_scored AS found
LEFT JOIN iris_scored AS held
    ON held.date = found.date AND held.hour = found.hour
    AND held._generation = found._generation AND held._partition = found._partition AND held._offset = found._offset
WHERE found.date = '2026-11-21' AND found.hour = '07' AND held._offset IS NULL;
COMMIT;
