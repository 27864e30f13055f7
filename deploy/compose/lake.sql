-- Said when DuckDB is opened by `docker compose --profile duckdb run --rm duckdb`: the lake on S3 as two views.
LOAD httpfs;
SET VARIABLE lake = 's3://lake';
SET s3_access_key_id = getenv('S3_USER');
SET s3_secret_access_key = getenv('S3_PASSWORD');
SET s3_endpoint = 'minio:9000';
SET s3_use_ssl = false;
SET s3_url_style = 'path';
CREATE VIEW scored AS SELECT * FROM read_parquet('s3://lake/scored/iris/**/*.parquet', hive_partitioning = true);
CREATE VIEW rejected AS SELECT * FROM read_parquet('s3://lake/rejected/iris/**/*.parquet', hive_partitioning = true);
SELECT prediction, count(*) AS records, round(avg(confidence), 3) AS confidence, max(_timestamp) AS newest
FROM scored GROUP BY ALL ORDER BY ALL;
