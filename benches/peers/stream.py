"""From a topic to a lake beside what users would pick instead: the same records, model and columns, in turns in one run.

    cargo build --release
    python benches/peers/stream.py                                   # a Markdown table; --json for JSON
    python benches/peers/stream.py --peers python --records 200000   # only one of the peers, and shorter

Needs Linux, Java 17 or newer, Maven, and Python 3.11 or 3.12 with nothing installed: the peers are installed from PyPI
and Maven Central into a folder that is kept. A broker of Apache Kafka is started and its topic filled; then each
contender carries the whole topic into an empty folder, scores every record with this repository's iris model, and
ends. Before that it does so with a topic of one record a partition, which is called its start-up. Each run's rows must
be as many as there are records, and their probabilities within 1e-5 of ours.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from streaming import contenders, report
from streaming.contenders import PEERS, Alluvium, Task
from streaming.kafka import Kafka
from streaming.measured import Measured, measure
from streaming.parts import Parts, run, say

PARTITIONS = 4
WHOLE, TINY = "iris", "iris-tiny"
CHECK = Path(contenders.__file__).with_name("check.py")


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    require_program(arguments.alluvium)
    parts = Parts(arguments.cache)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    all_contenders = [Alluvium(arguments.alluvium), *(PEERS[name]() for name in arguments.peers)]
    for contender in all_contenders:
        contender.prepare(parts)
    jars = arguments.kafka or parts.kafka()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=arguments.cache))
    try:
        with Kafka(jars, folder) as kafka:
            comparison = Comparison(kafka.address, folder, parts, arguments.records, arguments.limit)
            results = comparison.compared(all_contenders, arguments.rounds)
            broker = f"Apache Kafka {kafka.version()}"
    finally:
        if arguments.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    told = report.Report(report.machine(), broker, arguments.records, PARTITIONS, results)
    print(json.dumps(told.as_json(), indent=2) if arguments.json else told.as_markdown())


@dataclass
class Comparison:
    brokers: str
    folder: Path
    parts: Parts
    records: int
    seconds_max: float

    def compared(self, all_contenders: list, rounds: int) -> list[report.Contender]:
        ours = all_contenders[0]
        self.fill(ours.program, WHOLE, self.records)
        self.fill(ours.program, TINY, PARTITIONS)
        # Unmeasured: what the others' answers are held against, and the broker has its first run behind it.
        self.answers = self.carried(ours, WHOLE, "answers")[1]
        results = [report.Contender(one.name, one.title, one.versions(), one.settings) for one in all_contenders]
        for contender in all_contenders:
            say(f"warm up {contender.title}")
            # Its parts come off the disk once, and that is not its start-up.
            self.carried(contender, TINY, f"{contender.name}-warm")
        for number in range(rounds):
            for contender, result in zip(all_contenders, results):
                result.rounds.append(self.round(contender, f"{contender.name}-{number + 1}"))
        return results

    def fill(self, program: Path, topic: str, records: int) -> None:
        say(f"fill the topic {topic} with {records:,} records")
        produce = [program, "produce", "--brokers", self.brokers, "--topic", topic, "--partitions", PARTITIONS]
        produce += ["--source", "iris", "--with-truth", "--count", records, "--log", "warn"]
        run(list(map(str, produce)), "the topic must hold all records; what it said is above")

    def round(self, contender, name: str) -> report.Round:
        tiny, output = self.carried(contender, TINY, f"{name}-tiny")
        shutil.rmtree(output)
        whole, output = self.carried(contender, WHOLE, name)
        files = [file for file in output.rglob("*") if is_data(file.relative_to(output))]
        ties = self.checked(contender, output)
        one = report.Round(whole, tiny, len(files), sum(file.stat().st_size for file in files), ties)
        shutil.rmtree(output)
        say(f"{contender.title}: {self.records / whole.seconds:,.0f} records/s, start-up {tiny.seconds:.1f} s")
        return one

    def carried(self, contender, topic: str, name: str) -> tuple[Measured, Path]:
        """One run into a folder of its own."""
        state, output = self.folder / f"{name}-state", self.folder / f"{name}-lake"
        state.mkdir()
        output.mkdir()
        command = contender.command(Task(self.brokers, topic, output, state))
        # What the run before has left to be written is not this run's to wait for.
        os.sync()
        return measure(command.arguments, command.environment, state / "run.log", self.seconds_max), output

    def checked(self, contender, output: Path) -> int:
        command = [self.parts.python("check"), CHECK, data(self.answers), data(output), self.records]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{contender.title} did not land what it should have: {done.stderr[-2000:]}")
        return int(done.stdout)


def data(output: Path) -> Path:
    """Where the data is: a lake of ours has its ledger beside it."""
    ours = output / "scored/iris"
    return ours if ours.is_dir() else output


def is_data(path: Path) -> bool:
    return path.parent.name.startswith("hour=") and not path.name.startswith((".", "_"))


def require_program(program: Path) -> None:
    if not os.access(program, os.X_OK):
        raise SystemExit(f"no program at {program}: build it by `cargo build --release`, or name it by --alluvium")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alluvium", type=Path, default=Path("target/release/alluvium"), help="our program")
    parser.add_argument("--kafka", type=Path, help="a folder with Apache Kafka's jars [default: copied by Maven]")
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--peers", type=peers, default=list(PEERS), help=f"which of {','.join(PEERS)} [default: all]")
    parser.add_argument("--rounds", type=int, default=1, help="each has all contenders in turn; medians are shown")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the runs, with their logs")
    parser.add_argument("--cache", type=Path, default=cache(), help="where the peers are installed, and the runs write")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that one run may take")
    arguments = parser.parse_args()
    for name in ("alluvium", "kafka", "cache"):
        if path := getattr(arguments, name):
            setattr(arguments, name, path.resolve())
    return arguments


def peers(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(PEERS)}")
    return names


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alluvium-peers"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
