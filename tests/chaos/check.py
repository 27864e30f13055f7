"""Holds a lake against what was sent, in SQL: a line of JSON in, a line of JSON out."""

import glob
import json
import sys

import duckdb

PLACE = "e.p = r.p AND e.o = r.o"
ORIGIN = PLACE + " AND e.ts = r.ts AND e.k IS NOT DISTINCT FROM r.k"


def view(con, lake, kind, columns, none):
    pattern = f"{lake}/{kind}/chaos/**/*.parquet"
    origin = "_partition AS p, _offset AS o, epoch_ms(_timestamp) AS ts, _key AS k"
    if glob.glob(pattern, recursive=True):
        sql = f"SELECT {origin}, {columns} FROM read_parquet('{pattern}', hive_partitioning = true)"
    else:
        sql = f"SELECT 0::INT AS p, 0::BIGINT AS o, 0::BIGINT AS ts, NULL::BLOB AS k, {none} WHERE false"
    con.execute(f"CREATE VIEW {kind} AS {sql}")


def check(lake, expected):
    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")
    con.execute("SET threads = 1")
    con.execute(f"CREATE VIEW expected AS SELECT * FROM read_parquet('{expected}')")
    view(con, lake, "scored", "id, petal_length AS petal", "0::BIGINT AS id, 0.0::DOUBLE AS petal")
    headers = "array_to_string([h.key || '=' || hex(h.value) FOR h IN _headers], ',') AS h"
    view(con, lake, "rejected", "_value AS v, " + headers, "NULL::BLOB AS v, '' AS h")
    con.execute("CREATE VIEW landed AS SELECT p, o FROM scored UNION ALL SELECT p, o FROM rejected")
    count = lambda sql: con.execute(sql).fetchone()[0]
    scored = f"{ORIGIN} AND e.good AND e.id = r.id AND e.petal = r.petal"
    rejected = f"{ORIGIN} AND NOT e.good AND e.v IS NOT DISTINCT FROM r.v AND e.h = r.h"
    lost = count(f"SELECT count(*) FROM expected e ANTI JOIN landed r ON {PLACE}")
    right = count(f"SELECT count(*) FROM expected e SEMI JOIN scored r ON {scored}") + count(
        f"SELECT count(*) FROM expected e SEMI JOIN rejected r ON {rejected}"
    )
    return {
        "lost": lost,
        "doubled": count("SELECT count(*) - count(DISTINCT (p, o)) FROM landed"),
        "unexplained": count(f"SELECT count(*) FROM landed r ANTI JOIN expected e ON {PLACE}"),
        "wrong": count("SELECT count(*) FROM expected") - lost - right,
        "rows": count("SELECT count(*) FROM landed"),
    }


for line in sys.stdin:
    print(json.dumps(check(*json.loads(line))), flush=True)
