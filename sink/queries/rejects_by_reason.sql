-- Why records were rejected, how many, and one example of each; no row where nothing was rejected.
SET VARIABLE lake = coalesce(getvariable('lake'), 'sink/lake');

-- read_parquet fails on a pattern without files, so the table is read only where there is one.
SET VARIABLE rejected = (
    SELECT CASE
        WHEN count(*) > 0 THEN
            'SELECT * FROM read_parquet(''' || replace(getvariable('lake'), '''', '''''')
            || '/rejected/*/**/*.parquet'', union_by_name = true)'
        ELSE
            'SELECT NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::BLOB AS _value, NULL::INTEGER AS _partition, '
            || 'NULL::BIGINT AS _offset, NULL::TIMESTAMPTZ AS _timestamp WHERE false'
    END
    FROM glob(getvariable('lake') || '/rejected/*/**/*.parquet')
);

SELECT
    reason,
    count(*) AS records,
    max(_timestamp) AT TIME ZONE 'UTC' AS newest_utc,
    arg_max(detail, _timestamp) AS example_detail,
    arg_max(left(CAST(_value AS VARCHAR), 80), _timestamp) AS example_value
FROM query(getvariable('rejected'))
GROUP BY reason
ORDER BY records DESC, reason;
