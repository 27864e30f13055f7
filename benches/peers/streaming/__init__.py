"""The parts of `stream.py`: contenders and their jobs, the broker, measuring, checking and telling."""

import sys

PYTHONS = ((3, 11), (3, 12))

# Before anything else is read, which an older Python could not.
if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
    versions = " or ".join(".".join(map(str, version)) for version in PYTHONS)
    raise SystemExit(
        f"the peers' versions are for Python {versions}, not {sys.version.split()[0]}: run it with such a one"
    )
