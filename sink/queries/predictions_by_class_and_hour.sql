-- How many records of each class, hour by hour of event time (UTC), and how sure the model was.
SET VARIABLE lake = coalesce(getvariable('lake'), 'sink/lake');

SELECT
    date,
    CAST(hour AS INTEGER) AS hour,
    prediction,
    count(*) AS records,
    round(avg(confidence), 4) AS confidence
FROM read_parquet(getvariable('lake') || '/scored/*/**/*.parquet', hive_partitioning = true, union_by_name = true)
GROUP BY ALL
ORDER BY ALL;
