"""Whether two folders of Parquet hold the same answers, by DuckDB. Run in an environment that has it.

    check.py OURS THEIRS RECORDS

Every record must be there once, as it was read, and each class's probability within 1e-5 of ours. Where it is, another
class is a tie: two classes are equally likely but for rounding. Prints how many ties there are.
"""

import sys

import duckdb

CLASSES = ("p_setosa", "p_versicolor", "p_virginica")
APART_MAX = 1e-5
COMPARED = """
select count(*), count(distinct (_partition, _offset)) from theirs
"""
JOINED = """
select
    count(*),
    count_if(ours.id is distinct from theirs.id or ours.species is distinct from theirs.species
        or ours._timestamp is distinct from theirs._timestamp),
    max(greatest({apart})),
    count_if(ours.prediction <> theirs.prediction),
    count_if(theirs.prediction is null or theirs.date is null or theirs.hour is null)
from ours join theirs using (_partition, _offset)
"""


def main() -> None:
    ours, theirs, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for name, folder in (("ours", ours), ("theirs", theirs)):
        files = f"read_parquet('{folder}/date=*/hour=*/[!._]*', hive_partitioning = true)"
        connection.execute(f"create view {name} as from {files}")
    rows, places = connection.execute(COMPARED).fetchone()
    apart = ", ".join(f"abs(ours.{name} - theirs.{name})" for name in CLASSES)
    joined, changed, farthest, ties, lacking = connection.execute(JOINED.format(apart=apart)).fetchone()
    if not rows == places == joined == records:
        raise SystemExit(f"{rows} rows of {places} records, {joined} of which are ours too, where {records} are")
    if changed or lacking:
        raise SystemExit(f"{changed} rows are not as they were sent, {lacking} lack a class, a date or an hour")
    if not farthest <= APART_MAX:
        raise SystemExit(f"a probability is {farthest} from ours")
    print(ties)


if __name__ == "__main__":
    main()
