"""Reads a lake again and again until stdin ends: each offset once, and none that is gone later."""

import glob
import json
import sys
import threading

import duckdb

lake = sys.argv[1]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
con.execute("SET threads = 1")
con.execute("CREATE TABLE before (_partition INT, _offset BIGINT)")
looks, last = 0, False
while not last:
    last = stop.is_set()
    patterns = [f"{lake}/{kind}/**/*.parquet" for kind in ("scored", "rejected")]
    patterns = [pattern for pattern in patterns if glob.glob(pattern, recursive=True)]
    if not patterns:
        stop.wait(0.05)
        continue
    files = "[" + ", ".join(f"'{pattern}'" for pattern in patterns) + "]"
    con.execute(
        "CREATE OR REPLACE TABLE now AS SELECT _partition, _offset "
        f"FROM read_parquet({files}, hive_partitioning = false, union_by_name = true)"
    )
    doubled = con.execute("SELECT count(*) - count(DISTINCT (_partition, _offset)) FROM now").fetchone()[0]
    gone = con.execute("SELECT count(*) FROM before ANTI JOIN now USING (_partition, _offset)").fetchone()[0]
    looks += 1
    assert doubled == 0, f"look {looks}: {doubled} offsets are there twice"
    assert gone == 0, f"look {looks}: {gone} offsets are gone"
    con.execute("DROP TABLE before")
    con.execute("ALTER TABLE now RENAME TO before")
print(json.dumps({"looks": looks}))
