# DuckDB's command line, with what it reads S3 by.
FROM python:3.13.9-slim-bookworm
RUN pip install --no-cache-dir --disable-pip-version-check duckdb-cli==1.5.5 \
    && useradd --create-home --home-dir /reader --uid 65532 reader
USER 65532:65532
WORKDIR /reader
RUN duckdb -c "INSTALL httpfs"
ENTRYPOINT ["duckdb"]
CMD ["-init", "/lake.sql"]
