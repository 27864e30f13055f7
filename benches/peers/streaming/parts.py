"""The contenders' parts from the registries, at the versions that are compared: packages from PyPI, jars from Maven."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KAFKA = "4.3.1"
SPARK = "4.2.0"
FLINK = "2.3.0"

PACKAGES = {
    "check": ["duckdb==2.0.1"],
    "python": [
        "confluent-kafka==2.16.1",
        "scikit-learn==1.9.1",
        "pyarrow==26.0.1",
        "numpy==2.4.6",
        "safetensors==0.8.0",
    ],
    "spark": [f"pyspark=={SPARK}", "pandas==3.1.1", "pyarrow==26.0.1", "numpy==2.4.6", "safetensors==0.8.0"],
    "flink": [f"apache-flink=={FLINK}", "safetensors==0.8.0"],
}

# Each jar by name: Spark's Kafka package names a jar of its tests as needed, which no repository has to keep.
JARS = {
    "spark": [
        f"org.apache.spark:spark-sql-kafka-0-10_2.13:{SPARK}",
        f"org.apache.spark:spark-token-provider-kafka-0-10_2.13:{SPARK}",
        "org.apache.kafka:kafka-clients:3.9.2",
        "org.apache.commons:commons-pool2:2.13.1",
    ],
    # Flink's Parquet wants Hadoop's classes, and for zstd that library's.
    "flink": [
        "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",
        f"org.apache.flink:flink-sql-parquet:{FLINK}",
        "org.apache.hadoop:hadoop-client-api:3.4.2",
        "org.apache.hadoop:hadoop-client-runtime:3.4.2",
        "com.github.luben:zstd-jni:1.5.6-10",
    ],
}

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>alluvium</groupId>
  <artifactId>peers</artifactId>
  <version>1</version>
  <dependencies>
{}
  </dependencies>
</project>
"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>{}</dependency>"
ALONE = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


class Parts:
    """What the contenders are made of, in a folder that is kept from run to run."""

    def __init__(self, cache: Path):
        self.cache = cache

    def python(self, name: str) -> Path:
        """The interpreter of an environment with these packages, which is made if it is not there yet."""
        environment = self.cache / f"venv-{name}"
        wanted = "\n".join([sys.version, *PACKAGES[name]])
        done = environment / "installed.txt"
        if not (done.is_file() and done.read_text() == wanted):
            say(f"install {', '.join(PACKAGES[name])}")
            run([sys.executable, "-m", "venv", "--clear", environment], "a Python with the module venv is needed")
            install = [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]]
            run(install, "PyPI must be reachable, and Python be one that these versions are made for")
            done.write_text(wanted)
        return environment / "bin/python"

    def jars(self, name: str) -> Path:
        """A folder with these jars and nothing else."""
        return self._copied(name, JARS[name], alone=True)

    def kafka(self) -> Path:
        """A folder with Apache Kafka's broker and all that it needs."""
        return self._copied("kafka", [f"org.apache.kafka:kafka_2.13:{KAFKA}"], alone=False)

    def _copied(self, name: str, coordinates: list[str], *, alone: bool) -> Path:
        folder = self.cache / f"jars-{name}"
        done = folder / "copied.txt"
        if done.is_file() and done.read_text() == "\n".join(coordinates):
            return folder
        say(f"copy {', '.join(coordinates)}")
        if not shutil.which("mvn"):
            raise SystemExit("Maven copies the jars, and there is no mvn on the PATH: install Maven")
        with tempfile.TemporaryDirectory() as work:
            pom = Path(work) / "pom.xml"
            pom.write_text(POM.format("\n".join(dependency(one, alone) for one in coordinates)))
            shutil.rmtree(folder, ignore_errors=True)
            copy = ["mvn", "--quiet", "--batch-mode", "--file", pom, "dependency:copy-dependencies"]
            run([*copy, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], "Maven Central must be reachable")
        done.write_text("\n".join(coordinates))
        return folder


def dependency(coordinates: str, alone: bool) -> str:
    return DEPENDENCY.format(*coordinates.split(":"), ALONE if alone else "")


def run(command: list, remedy: str) -> None:
    """What it prints is only of use if it fails."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, check=False, text=True, **pipes)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}\n`{' '.join(map(str, command))}` failed: {remedy}")


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
