"""Versions of what runs the pipeline, which workers and the program that submits the job have to share."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

SAME = ("Python", "machine", "Apache Beam", "beam-curate")
"""What has to be the same."""

_PACKAGES = {"Apache Beam": "apache-beam", "beam-curate": "beam-curate", "torch": "torch"}


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of this process by name; ``missing`` for what is not installed.

    >>> versions()["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    True
    """
    found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}", "machine": platform.machine()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Returns a clause for each version that has to be the same and is not.

    >>> differences(versions(), {**versions(), "Python": "2.7"})
    ['Python is 2.7 there and 3.1... here']

    Args:
        here: Of the program that submits the job.
        there: Of a worker.
    """
    return [
        f"{name} is {there.get(name)} there and {here.get(name)} here"
        for name in SAME
        if here.get(name) != there.get(name)
    ]
