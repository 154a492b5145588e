"""Installs Prism, Flink and object stores into a cache outside the checkout, for tests and for trying them out.

`make engines` runs this. Existing installations are left alone. Each one is built in a temporary folder and renamed at
the end, so that an interrupted run leaves nothing half installed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from runners.flink.standalone import ADD_EXPORTS, ADD_OPENS

BEAM = "2.77.0"
FLINK = "1.19.3"
# The job server that Beam downloads for a user is one large jar that is not in every Maven mirror. This is the newest
# release whose parts are.
JOB_SERVER = "2.62.0"
# MinIO's releases have names that Go's module proxy need not serve: this is a commit, as Go names it.
MINIO_COMMIT = "0.0.0-20260212201848-7aac2a2c5b7c"
FAKE_GCS_RELEASE = "1.56.1"
VERSITYGW_RELEASE = "1.8.0"

CACHE = Path(
    os.environ.get("BEAM_CURATE_ENGINES")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beam-curate" / "engines"
)
PRISM = CACHE / f"prism-{BEAM}" / "prism"
BOOT = CACHE / f"python-boot-{BEAM}" / "container"
FLINK_LIB = CACHE / f"flink-{FLINK}" / "lib"
JOB_SERVER_JAR = CACHE / f"flink-job-server-{JOB_SERVER}" / "flink-job-server.jar"
MINIO = CACHE / f"minio-{MINIO_COMMIT}" / "minio"
FAKE_GCS = CACHE / f"fake-gcs-server-{FAKE_GCS_RELEASE}" / "fake-gcs-server"
VERSITYGW = CACHE / f"versitygw-{VERSITYGW_RELEASE}" / "versitygw"  # for a benchmark; see `install`

_POM = """<project>
  <modelVersion>4.0.0</modelVersion><groupId>engines</groupId><artifactId>engines</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.beam</groupId><artifactId>beam-runners-flink-{flink}</artifactId><version>{version}</version>
  </dependency></dependencies>
</project>
"""


class EngineError(Exception):
    """An engine could not be installed; the message says why and what to do."""


def install_prism(folder: Path) -> None:
    """Builds Beam's portable local runner."""
    _go_install(f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}", folder)


def install_boot(folder: Path) -> None:
    """Builds the program that starts a Python worker when a runner asks for one."""
    _go_install(f"github.com/apache/beam/sdks/v2/python/container@v{BEAM}", folder)


def install_minio(folder: Path) -> None:
    """Builds a server that speaks S3."""
    _go_install(f"github.com/minio/minio@v{MINIO_COMMIT}", folder)


def install_fake_gcs(folder: Path) -> None:
    """Builds a server that speaks as Google Cloud Storage does."""
    _go_install(f"github.com/fsouza/fake-gcs-server@v{FAKE_GCS_RELEASE}", folder)


def install_versitygw(folder: Path) -> None:
    """Builds a gateway that serves a folder as S3 does."""
    _go_install(f"github.com/versity/versitygw/cmd/versitygw@v{VERSITYGW_RELEASE}", folder)


def install_flink(folder: Path) -> None:
    """Extracts Flink's jars from the package that PyFlink depends on, which holds a whole distribution."""
    package = f"apache-flink-libraries=={FLINK}"
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package])
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if path.parts[1:3] == ("deps", "lib") and path.suffix == ".jar":
                member.name = f"lib/{path.name}"
                tar.extract(member, folder, filter="data")
    archive.unlink()


def install_job_server(folder: Path) -> None:
    """Downloads Beam's job server for Flink with one jar to start it by, as `--flink_job_server_jar` expects."""
    _require("mvn", "Maven (apt-get install maven)")
    _require("java", "Java 17 (apt-get install openjdk-17-jre-headless)")
    flink_minor = FLINK.rpartition(".")[0]
    (folder / "pom.xml").write_text(_POM.format(flink=flink_minor, version=JOB_SERVER))
    _run(["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory=lib"])
    attributes = {
        "Manifest-Version": "1.0",
        "Main-Class": "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "Class-Path": " ".join(f"lib/{path.name}" for path in sorted((folder / "lib").glob("*.jar"))),
        "Add-Opens": " ".join(ADD_OPENS),
        "Add-Exports": " ".join(ADD_EXPORTS),
    }
    with zipfile.ZipFile(folder / JOB_SERVER_JAR.name, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "".join(_manifest_lines(attributes)))


ENGINES: dict[Path, Callable[[Path], None]] = {
    PRISM: install_prism,
    BOOT: install_boot,
    FLINK_LIB: install_flink,
    JOB_SERVER_JAR: install_job_server,
    MINIO: install_minio,
    FAKE_GCS: install_fake_gcs,
}
ON_DEMAND: dict[Path, Callable[[Path], None]] = {VERSITYGW: install_versitygw}


def main() -> int:
    """Installs the missing ones of `ENGINES`; returns the exit status."""
    return 0 if install(*ENGINES) else 1


def install(*places: Path) -> bool:
    """Installs what is missing, several at a time, and prints what is there; returns whether all is."""
    with _locked():
        missing = [place for place in places if not place.exists()]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            problems = [problem for problem in pool.map(_install, missing) if problem]
    for problem in problems:
        print(f"engines: {problem}", file=sys.stderr)
    for place in places:
        if place.exists():
            print(place)
    return not problems


def _install(place: Path) -> str | None:
    """Installs one engine; returns an error message, or None."""
    print(f"installing {place.parent.name}, which takes minutes", flush=True)
    built = Path(tempfile.mkdtemp(dir=CACHE, prefix=".building-"))
    try:
        (ENGINES | ON_DEMAND)[place](built)
        built.chmod(0o755)
        built.rename(place.parent)
    except (EngineError, OSError) as error:
        return f"{place.parent.name}: {error}"
    finally:
        shutil.rmtree(built, ignore_errors=True)
    return None


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Makes a second run wait for the first, and deletes what killed ones left."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in CACHE.glob(".building-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _go_install(package: str, folder: Path) -> None:
    _require("go", "Go (https://go.dev/doc/install)")
    _run(["go", "install", package], {"GOBIN": str(folder), "GOFLAGS": ""})


def _require(program: str, name: str) -> None:
    if shutil.which(program) is None:
        raise EngineError(f"the program {program} is missing; install {name}")


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise EngineError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-3000:]}")


def _manifest_lines(attributes: dict[str, str]) -> Iterator[str]:
    """Yields the lines of a jar's manifest, none longer than the 72 bytes that its format allows."""
    for name, value in attributes.items():
        text = f"{name}: {value}"
        yield text[:72] + "\n"
        for start in range(72, len(text), 71):
            yield " " + text[start : start + 71] + "\n"


if __name__ == "__main__":
    sys.exit(main())
