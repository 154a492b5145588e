"""A server that is started for a run: waited for, ended with it, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.servers import ServerError, listens, server
from tests.support.flink_cluster import free_ports

LISTENS = "import socket, sys, time; s = socket.create_server(('localhost', int(sys.argv[1]))); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LISTENS}"


NOWHERE = "localhost:1"  # a port that only root could listen on


def python(body: str, port: int) -> list[str]:
    return [sys.executable, "-c", body, str(port)]


@pytest.mark.parametrize("body", [LISTENS, DEAF], ids=["polite", "deaf"])
def test_it_is_there_in_the_block_and_gone_after(body: str) -> None:
    (port,) = free_ports(1)
    with server("a server", python(body, port), f"localhost:{port}"):
        assert listens(f"localhost:{port}", 1)
    assert not listens(f"localhost:{port}", 1)


def test_it_does_not_hear_the_terminals_ctrl_c() -> None:
    (port,) = free_ports(1)
    with server("a server", python("import os; print(os.getpgid(0))\n" + LISTENS, port), f"localhost:{port}"):
        groups = [os.getpgid(pid) for pid in holders(port)]
        assert groups and os.getpgid(0) not in groups


def test_what_it_printed_is_told_when_it_does_not_start() -> None:
    fails = python("print('no such port'); raise SystemExit(1)", 0)
    with (
        pytest.raises(ServerError, match=r"(?s)no such port.*a server did not start"),
        server("a server", fails, NOWHERE),
    ):
        pass


def test_it_ends_when_the_driver_is_killed() -> None:
    (port,) = free_ports(1)
    body = (
        f"import sys, time\nfrom runners.servers import server\n"
        f"with server('a server', {python(LISTENS, port)!r}, 'localhost:{port}'):\n"
        "    print('ready', flush=True)\n    time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    driver = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True, cwd=root)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    deadline = time.monotonic() + 60
    while listens(f"localhost:{port}", 1):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("endpoint", [NOWHERE, "localhost", "localhost:port", ""])
def test_nobody_listens(endpoint: str) -> None:
    assert not listens(endpoint, 1)


def holders(port: int) -> list[int]:
    """The processes whose command line names the port and that listen on it."""
    with socket.create_connection(("localhost", port)):
        return [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if str(port).encode() in (folder / "cmdline").read_bytes().split(b"\0")
        ]
