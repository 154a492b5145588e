"""How the program ends: with its status, after what it printed has left it."""

from __future__ import annotations

import subprocess
import sys

import pytest

END = "import atexit; from beam_curate.processes import signals; atexit.register(print, 'left'); print('said'); "


@pytest.mark.parametrize(
    ("redirection", "status", "printed"),
    [("", 3, "said\nleft\n"), (">&-", 3, ""), (">/dev/full", 3, "")],
    ids=["read", "closed", "full disk"],
)
def test_the_status_is_kept_and_exit_functions_are_called(redirection: str, status: int, printed: str) -> None:
    command = f'unset PYTHONUNBUFFERED; "$0" -c "$1" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, f"{END} signals.end(3)"], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, printed)


def test_success_that_could_not_be_printed_is_none() -> None:
    command = 'unset PYTHONUNBUFFERED; "$0" -c "$1" >/dev/full'
    done = subprocess.run(["sh", "-c", command, sys.executable, f"{END} signals.end(0)"], check=False)
    assert done.returncode == 120  # Python's own
