"""One run of a program, measured with all the processes that it starts. Linux only, since it reads /proc.

The run has a process of its own above it that does nothing else, this file as a program: CPU that the system adds up
for finished children is then the run's alone. Orphans become that process's children, and it waits for them too. When
it is told to stop, or who started it is gone, all of them go.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

SECONDS_BETWEEN = 0.1
# Looking takes a core that the run could have, so that no more than this share of the time is spent on it.
SHARE_MAX = 0.05
SECONDS_BETWEEN_MAX = 1.0
STRAGGLERS_SECONDS_MAX = 30
NOT_MEASURED = "-"
TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)


@dataclass
class Measured:
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(command: list, environment: dict[str, str], log: Path, seconds_max: float) -> Measured:
    """Runs the command to its end; what it prints goes to the log."""
    result = log.with_suffix(".json")
    process = started(command, environment, log, result)
    try:
        code = process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"`{command[0]}` was not done after {seconds_max:.0f} s; --limit gives it longer") from None
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        told = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise SystemExit(f"{told}\n`{command[0]}` ended with {code}; above is the end of what it said")
    return Measured(**json.loads(result.read_text()))


def started(command: list, environment: dict[str, str], log: Path, result: Path | None = None) -> subprocess.Popen:
    """The process above the command, which goes with it and with us; measured if there is a file for the result."""
    above = [sys.executable, __file__, os.getpid(), result or NOT_MEASURED, *command]
    with log.open("w") as output:
        return subprocess.Popen(
            list(map(str, above)),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            # Ctrl-C is for who started it, who stops it when what is under way has been put away.
            start_new_session=True,
        )


@dataclass
class Watch:
    """What is seen of this process's descendants, from time to time."""

    cpu_by_process: dict[tuple[int, int], float] = field(default_factory=dict)
    peak_bytes: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        pause = SECONDS_BETWEEN
        while not self.over.wait(pause):
            began = time.thread_time()
            self.look()
            pause = min(max(SECONDS_BETWEEN, (time.thread_time() - began) / SHARE_MAX), SECONDS_BETWEEN_MAX)

    def look(self) -> None:
        seen = descendants()
        for process, _, began, cpu in seen:
            self.cpu_by_process[process, began] = cpu
        self.peak_bytes = max(self.peak_bytes, sum(resident_bytes(process) for process, *_ in seen))

    def cpu_seconds(self) -> float:
        return sum(self.cpu_by_process.values())


def descendants() -> list[tuple[int, int, int, float]]:
    """Id, parent, start and CPU seconds of each."""
    parents = {os.getpid()}
    every = [one for one in map(stat, filter(str.isdigit, os.listdir("/proc"))) if one]
    found: dict[int, tuple[int, int, int, float]] = {}
    while new := [one for one in every if one[1] in parents and one[0] not in parents]:
        found |= {one[0]: one for one in new}
        parents |= {one[0] for one in new}
    return list(found.values())


def stat(process: str) -> tuple[int, int, int, float] | None:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(process), int(fields[1]), int(fields[19]), (int(fields[11]) + int(fields[12])) * TICK


def resident_bytes(process: int) -> int:
    """Its share of what it shares (PSS) and all of what it doesn't; where that is not told, all that is resident."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    except OSError:
        pass
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def main() -> None:
    parent, result, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, stop)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("who started this is gone already")
    if result == NOT_MEASURED:
        sys.exit(subprocess.call(command))
    code, measured = watched(command)
    Path(result).write_text(json.dumps(asdict(measured)))
    sys.exit(code)


def watched(command: list[str]) -> tuple[int, Measured]:
    watch = Watch()
    thread = threading.Thread(target=watch.run)
    began = time.perf_counter()
    child = subprocess.Popen(command)
    thread.start()
    code, ended = child.wait(), time.perf_counter()
    reap_stragglers()
    watch.over.set()
    thread.join()
    times = os.times()
    waited_for = times.children_user + times.children_system
    # A child whose parent ignores its end is missing from the one sum, a process's last moments from the other.
    return code, Measured(ended - began, max(waited_for, watch.cpu_seconds()), watch.peak_bytes)


def reap_stragglers() -> None:
    """Those that outlive the program itself, such as the Python workers of a JVM."""
    until = time.monotonic() + STRAGGLERS_SECONDS_MAX
    while True:
        try:
            gone, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not gone:
            if time.monotonic() > until:
                return kill_all()
            time.sleep(0.01)


def stop(*_) -> None:
    kill_all()
    os._exit(143)


def kill_all() -> None:
    """Until none is left: one that is about to be killed may have started another."""
    while found := [one for one in descendants() if not is_gone(one[0])]:
        for process, *_ in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Dead, and only waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    main()
