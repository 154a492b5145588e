"""Building the image of the Dockerfile, and running it, without a registry and a daemon: buildah in chroot isolation.

The bases that the Dockerfile names come from a registry. Here one is a Debian that debootstrap makes, and the other
holds Beam's boot program, built from its source.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools import engines

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/beam-curate:test"
_DEBIAN = "bookworm"  # its Python is 3.11
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Images:
    """A storage for images in a folder.

    Attributes:
        environment: What `buildah` has to be started with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        config = folder / "storage.conf"
        config.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/running"\n')
        self.environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}

    def build(self) -> None:
        """Builds the image, with bases made here; this downloads all packages of the lock file."""
        debian = self._folder / "debian"
        packages = "--include=ca-certificates,python3,python3-venv"
        self._run("debootstrap", "--variant=minbase", packages, _DEBIAN, str(debian))
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", container, str(debian), "/")
        # Where a mirror of the package registry stands behind a proxy, its certificate is this computer's.
        self.buildah("copy", container, _CERTIFICATES, _CERTIFICATES)
        self.buildah("config", "--env", f"PATH={_PATH}", "--env", f"PIP_CERT={_CERTIFICATES}", container)
        self.buildah("commit", "--rm", container, "localhost/debian:1")
        container = self.buildah("from", "scratch").strip()
        self.buildah("copy", container, str(engines.BOOT), "/opt/apache/beam/boot")
        self.buildah("commit", "--rm", container, "localhost/beam:1")
        bases = ("--build-arg", "BASE_IMAGE=localhost/debian:1", "--build-arg", "BEAM_IMAGE=localhost/beam:1")
        self.buildah("build", *bases, "--tag", IMAGE, str(ROOT))

    def container(self) -> str:
        """Returns a container of the image, in which `run_command` runs things."""
        return self.buildah("from", IMAGE).strip()

    def run_command(self, container: str, *command: str, mounts: tuple[str, ...] = ()) -> list[str]:
        """Returns the command that runs another in a container, as its own user.

        Args:
            container: Which one.
            command: What to run.
            mounts: Folders, ``HERE:THERE``.
        """
        return ["buildah", "run", *(word for one in mounts for word in ("--volume", one)), container, "--", *command]

    def buildah(self, *words: str) -> str:
        """Returns what a command of buildah printed."""
        return self._run("buildah", *words)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout
