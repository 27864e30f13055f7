-- How the model's confidence is spread, in steps of five per cent, class by class.
SET VARIABLE lake = coalesce(getvariable('lake'), 'sink/lake');

SELECT
    prediction,
    CAST(least(floor(confidence * 20), 19) AS INTEGER) * 5 AS from_percent,
    count(*) AS records,
    bar(count(*), 0, max(count(*)) OVER (), 40) AS picture
FROM read_parquet(getvariable('lake') || '/scored/*/**/*.parquet', union_by_name = true)
GROUP BY ALL
ORDER BY ALL;
