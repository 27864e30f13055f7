"""A broker of Apache Kafka for one comparison: alone, in KRaft mode, on free ports, with a folder of its own."""

import shutil
import socket
import time
from pathlib import Path
from typing import Self

from .measured import started

READY_SECONDS_MAX = 60
CLUSTER = "4L6g3nShT-eMCtK--X86sw"
# Kafka's own start script has these.
JAVA = ["java", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
SETTINGS = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.ms=-1
"""


class Kafka:
    """Runs from `with` to its end."""

    def __init__(self, jars: Path, folder: Path):
        self.jars, self.folder = jars, folder
        self.port, controller = free_ports()
        self.address = f"127.0.0.1:{self.port}"
        self.log = folder / "kafka.log"
        self.settings = folder / "kafka.properties"
        self.settings.write_text(SETTINGS.format(port=self.port, controller=controller, folder=folder))

    def __enter__(self) -> Self:
        require_java()
        storage = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", self.settings]
        if started(self._java(*storage), {}, self.log).wait():
            raise SystemExit(f"Kafka's storage can't be formatted; are {self.jars}/*.jar Kafka's jars? {self._told()}")
        self.process = started(self._java("kafka.Kafka", self.settings), {}, self.log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def version(self) -> str:
        jar = next(iter(self.jars.glob("kafka_2.13-*.jar")), None)
        return jar.stem.removeprefix("kafka_2.13-") if jar else "of an unknown version"

    def _java(self, *arguments) -> list[str]:
        return [*JAVA, "-cp", f"{self.jars}/*", *map(str, arguments)]

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            if self.process.poll() is not None:
                raise SystemExit(f"Kafka stopped at once: {self._told()}")
            if time.monotonic() > until:
                raise SystemExit(f"Kafka is not up after {READY_SECONDS_MAX} s: {self._told()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _told(self) -> str:
        return "\n" + "\n".join(self.log.read_text().splitlines()[-15:])


def require_java() -> None:
    if not shutil.which("java"):
        raise SystemExit("Kafka, Spark and Flink need Java 17 or newer, and there is no java on the PATH: install it")


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
