-- Snowflake: load the scored rows of dataset `iris` from an S3 lake.
--
-- Run as often as you like, by hand or as a task:   snow sql -f sink/warehouse/snowflake.sql
-- Replace s3://BUCKET/PREFIX and the storage integration with yours.
--
-- Idempotent: COPY INTO keeps a history of the files it has loaded into a table and passes over them; and a file never
-- changes once it can be seen, so nothing is missed by that. The history is kept for 64 days. After that COPY can't tell
-- whether an old file was loaded, and with LOAD_UNCERTAIN_FILES = FALSE, the default, it leaves such a file alone. Never
-- use FORCE = TRUE here: it loads files again. Recreating the table loses the history along with the rows.

-- The record's UTC instants are stored without a zone; the session must not shift them.
ALTER SESSION SET TIMEZONE = 'UTC';

CREATE FILE FORMAT IF NOT EXISTS alluvium_parquet
    TYPE = PARQUET
    BINARY_AS_TEXT = FALSE      -- keys are bytes
    USE_LOGICAL_TYPE = TRUE;    -- timestamps are timestamps

CREATE STAGE IF NOT EXISTS alluvium_lake
    URL = 's3://BUCKET/PREFIX/'
    STORAGE_INTEGRATION = MY_INTEGRATION
    FILE_FORMAT = alluvium_parquet;

CREATE TABLE IF NOT EXISTS iris_scored (
    id           NUMBER(19, 0),
    sepal_length FLOAT,
    sepal_width  FLOAT,
    petal_length FLOAT,
    petal_width  FLOAT,
    prediction   VARCHAR NOT NULL,
    confidence   FLOAT NOT NULL,
    _generation  NUMBER(10, 0) NOT NULL,
    _partition   NUMBER(10, 0) NOT NULL,
    _offset      NUMBER(19, 0) NOT NULL,
    _timestamp   TIMESTAMP_NTZ(3) NOT NULL,
    _key         BINARY,
    _model       VARCHAR NOT NULL,
    file         VARCHAR NOT NULL
);

-- Only columns that the table has are loaded: add p_<class> or your own fields to the table above to have them.
COPY INTO iris_scored
FROM @alluvium_lake/scored/iris/
PATTERN = '.*[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'alluvium_parquet')
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
INCLUDE_METADATA = (file = METADATA$FILENAME)
ON_ERROR = ABORT_STATEMENT;

-- The folders' date and hour (UTC of the event time) are in the path, not in the file.
CREATE OR REPLACE VIEW iris AS
SELECT
    *,
    TO_DATE(REGEXP_SUBSTR(file, 'date=([0-9-]{10})', 1, 1, 'e')) AS date,
    TO_NUMBER(REGEXP_SUBSTR(file, 'hour=([0-9]{2})', 1, 1, 'e')) AS hour
FROM iris_scored;

-- The proof, whenever wanted: no row comes back.
SELECT _generation, _partition, _offset, COUNT(*) AS copies
FROM iris_scored
GROUP BY _generation, _partition, _offset
HAVING COUNT(*) > 1;
