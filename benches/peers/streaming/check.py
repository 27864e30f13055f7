"""Whether two folders of Parquet hold the same answers, by DuckDB. Run in an environment that has it.

    check.py OURS THEIRS RECORDS

Every record must be there once, as it was read, and each class's probability within 1e-5 of ours. Where it is, another
class is a tie: two classes are equally likely but for rounding. Prints how many ties there are.
"""

import sys

import duckdb

CLASSES = ("setosa", "versicolor", "virginica")
FIGURES = ("confidence", *(f"p_{name}" for name in CLASSES))
APART_MAX = 1e-5
COUNTED = "select count(*), count(distinct (_partition, _offset)) from theirs"
JOINED = """
select
    count(*),
    count_if(ours.id is distinct from theirs.id or ours.species is distinct from theirs.species
        or ours._timestamp is distinct from theirs._timestamp or theirs.date is null or theirs.hour is null),
    count_if(coalesce(greatest({apart}) > {most}, true) or {lacking}),
    count_if(coalesce(ours.confidence - case theirs.prediction {cases} end > {most}, true)),
    count_if(ours.prediction <> theirs.prediction)
from ours join theirs using (_partition, _offset)
"""


def main() -> None:
    ours, theirs, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for name, folder in (("ours", ours), ("theirs", theirs)):
        files = f"read_parquet('{folder}/date=*/hour=*/[!._]*', hive_partitioning = true)"
        connection.execute(f"create view {name} as from {files}")
    rows, places = connection.execute(COUNTED).fetchone()
    joined, changed, apart, wrong, ties = connection.execute(joined_sql()).fetchone()
    if not rows == places == joined == records:
        raise SystemExit(f"{rows} rows of {places} records, {joined} of which are ours too, where {records} are")
    if changed:
        raise SystemExit(f"{changed} rows are not as they were sent, or lack their date or hour")
    if apart or wrong:
        raise SystemExit(
            f"{apart} rows have probabilities that are not ours, {wrong} a class that is not the likeliest"
        )
    print(ties)


def joined_sql() -> str:
    return JOINED.format(
        most=APART_MAX,
        apart=", ".join(f"abs(ours.{name} - theirs.{name})" for name in FIGURES),
        lacking=" or ".join(f"theirs.{name} is null" for name in FIGURES),
        cases=" ".join(f"when '{name}' then ours.p_{name}" for name in CLASSES),
    )


if __name__ == "__main__":
    main()
