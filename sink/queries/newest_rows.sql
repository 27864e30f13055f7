-- The twenty newest rows by the broker's timestamp, with what the model saw and where each came from.
SET VARIABLE lake = coalesce(getvariable('lake'), 'sink/lake');

SELECT
    _timestamp AT TIME ZONE 'UTC' AS utc,
    prediction,
    confidence,
    * EXCLUDE (_timestamp, prediction, confidence, _key),
    CAST(_key AS VARCHAR) AS _key
FROM read_parquet(getvariable('lake') || '/scored/*/**/*.parquet', hive_partitioning = true, union_by_name = true)
ORDER BY utc DESC, _generation DESC, _offset DESC, _partition
LIMIT 20;
