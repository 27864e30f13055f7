-- How far each partition has come, and how old its newest record is.
SET VARIABLE lake = coalesce(getvariable('lake'), 'sink/lake');

SELECT
    _generation,
    _partition,
    count(*) AS records,
    min(_offset) AS first_offset,
    max(_offset) AS last_offset,
    max(_timestamp) AT TIME ZONE 'UTC' AS newest_utc,
    date_trunc('second', now() - max(_timestamp)) AS age
FROM read_parquet(getvariable('lake') || '/scored/*/**/*.parquet', union_by_name = true)
GROUP BY ALL
ORDER BY ALL;
