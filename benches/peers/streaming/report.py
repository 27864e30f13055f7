"""The table of a comparison, as Markdown."""

import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from .measured import Measured


@dataclass
class Round:
    """Over the whole topic, and over one with a record in each partition: what there is to starting and stopping."""

    whole: Measured
    tiny: Measured
    files: int
    bytes: int
    ties: int


@dataclass
class Contender:
    name: str
    title: str
    versions: str
    settings: str
    rounds: list[Round] = field(default_factory=list)

    def figures(self, records: int) -> dict[str, float | None]:
        """Medians over the rounds."""

        def middle(figure) -> float:
            return median(figure(one.whole, one.tiny) for one in self.rounds)

        # Where a topic is so short that starting is all of the time, there is no speed beyond it.
        seconds = middle(lambda whole, tiny: whole.seconds - tiny.seconds)
        return {
            "records_per_second": middle(lambda whole, _: records / whole.seconds),
            "records_per_second_running": records / seconds if seconds > 0 else None,
            "cpu_seconds_per_million": middle(lambda whole, _: whole.cpu_seconds * 1e6 / records),
            "cpu_seconds_per_million_running": middle(
                lambda whole, tiny: max(whole.cpu_seconds - tiny.cpu_seconds, 0) * 1e6 / records
            ),
            "peak_bytes": max(one.whole.peak_bytes for one in self.rounds),
            "startup_seconds": middle(lambda _, tiny: tiny.seconds),
        }


@dataclass
class Report:
    machine: str
    broker: str
    records: int
    partitions: int
    contenders: list[Contender]

    def as_json(self) -> dict:
        report = asdict(self)
        for entry, contender in zip(report["contenders"], self.contenders):
            entry["figures"] = contender.figures(self.records)
        return report

    def as_markdown(self) -> str:
        first = self.contenders[0].figures(self.records)
        lines = [
            "| | records/s | running | CPU s/million | running | peak memory | start-up | records/s, of ours |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [row(one.title, one.figures(self.records), first) for one in self.contenders]
        rounds = len(self.contenders[0].rounds)
        what = f"{self.records:,} records in {self.partitions} partitions, {rounds} round{'s' * (rounds > 1)}"
        lines += ["", f"{what}, on {self.machine}, which also ran the broker, {self.broker}.", ""]
        lines += [f"- {one.title}: {one.versions}. Settings: {one.settings}. {landed(one)}" for one in self.contenders]
        return "\n".join(lines)


def row(title: str, figures: dict[str, float | None], first: dict[str, float | None]) -> str:
    running = figures["records_per_second_running"]
    cells = [
        title,
        f"{figures['records_per_second']:,.0f}",
        f"{running:,.0f}" if running else "–",
        f"{figures['cpu_seconds_per_million']:.2f}",
        f"{figures['cpu_seconds_per_million_running']:.2f}",
        f"{figures['peak_bytes'] / 2**20:,.0f} MiB",
        f"{figures['startup_seconds']:.1f} s",
        f"{figures['records_per_second'] / first['records_per_second']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def landed(contender: Contender) -> str:
    last = contender.rounds[-1]
    return f"Landed {last.files} files of {last.bytes / 2**20:,.0f} MiB, {last.ties} ties decided otherwise than ours."


def machine() -> str:
    """Its processor, cores and memory, and what runs the peers."""
    models = [line.split(":")[1].strip() for line in lines_of("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(int(line.split()[1]) for line in lines_of("/proc/meminfo") if line.startswith("MemTotal"))
    java = subprocess.run(["java", "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    cores = f"{len(models)} cores of {models[0] if models else 'an unknown processor'} with {memory / 2**20:.0f} GiB"
    return f"{cores} (Python {platform.python_version()}, {java})"


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
