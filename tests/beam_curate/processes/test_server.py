"""A server that is started for a run: awaited, stopped with all that it started, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from beam_curate.processes.server import Server, ServerError, free_ports, listens
from tests.support.program import started_by, wait_for

LISTENS = "import socket, sys, time; s = socket.create_server(('localhost', int(sys.argv[1]))); time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LISTENS}"
STARTS_ANOTHER = f"import subprocess; subprocess.Popen(['sleep', '600']); {LISTENS}"
NOWHERE = "localhost:1"  # a port that only root could listen on


def python(body: str, port: int = 0) -> list[str]:
    return [sys.executable, "-c", body, str(port)]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@pytest.mark.parametrize("body", [LISTENS, IGNORES_SIGTERM, STARTS_ANOTHER])
def test_it_and_what_it_started_are_there_in_the_block_and_gone_after(body: str) -> None:
    (port,) = free_ports(1)
    with Server("a server", python(body, port), grace_s=0.5) as server:
        server.wait_until_ready(lambda: listens(f"localhost:{port}"), 60)
        processes = [child for pid in started_by(server.pid) for child in (pid, *started_by(pid))]
        assert len(processes) == (2 if body == STARTS_ANOTHER else 1)
    wait_for(lambda: not any(is_running(pid) for pid in processes), 5)  # SIGKILL was sent; the kernel may take a while
    assert not listens(f"localhost:{port}")


def test_sigterm_comes_first() -> None:
    body = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit('goodbye'))\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    with Server("a server", python(body)) as server:
        server.wait_until_ready(lambda: server.lines == ["ready"], 60)
    assert server.lines[1] == "goodbye"


def test_ctrl_c_in_a_terminal_does_not_reach_it() -> None:
    with Server(
        "a server", python("import os; print(os.getpgid(0), flush=True)\nimport time; time.sleep(600)")
    ) as server:
        server.wait_until_ready(lambda: bool(server.lines), 60)
        assert server.lines == [str(server.pid)] != [str(os.getpgid(0))]


@pytest.mark.parametrize(
    ("body", "timeout_s", "message"),
    [
        ("print('no such port'); raise SystemExit(1)", 60, r"a server ended; .*: no such port .*exit status 1"),
        ("print('loading', flush=True); import time; time.sleep(600)", 3, r"within 3 s \(--wait\); .*: loading"),
        ("import time; time.sleep(600)", 0.2, "nothing"),
    ],
)  # fmt: skip
def test_its_last_lines_are_told_when_it_does_not_start(body: str, timeout_s: float, message: str) -> None:
    with Server("a server", python(body)) as server:
        with pytest.raises(ServerError, match=message) as raised:
            server.wait_until_ready(lambda: listens(NOWHERE), timeout_s, "--wait")
        assert server.has_ended()
    assert "\n" not in str(raised.value)
    (log,) = (word.rstrip(":") for word in str(raised.value).split() if word.endswith(".log:"))
    logged = Path(log).read_text().splitlines()
    assert logged == server.lines[: len(logged)]
    Path(log).unlink()


def test_a_program_that_is_not_there_is_named() -> None:
    with (
        Server("a server", ["/no/such/program"]) as server,
        pytest.raises(ServerError, match="/no/such/program cannot"),
    ):
        server.wait_until_ready(lambda: False, 60)


def test_long_lines_and_bytes_that_are_no_text() -> None:
    body = "import sys; sys.stdout.buffer.write(b'A' * 10**7 + b'\\n\\xff bad bytes\\n')"
    with Server("a server", python(body)) as server:
        assert server.has_ended(60)
        assert "bad bytes" in server.how_it_ended()
        assert max(len(line) for line in server.lines) == 2000
        assert len(server.how_it_ended()) < 1000
        server.save_log().unlink()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "os._exit(1)"])
def test_it_ends_with_the_process_that_started_it(end: str) -> None:
    (port,) = free_ports(1)
    body = (
        "import os, signal, sys\nfrom beam_curate.processes.server import Server, listens\n"
        f"server = Server('a server', {python(STARTS_ANOTHER, port)!r})\n"
        f"server.wait_until_ready(lambda: listens('localhost:{port}'), 60)\n"
        f"print('ready', flush=True)\nsys.stdin.readline()\n{end}"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", body],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    processes = [driver.pid]
    for pid in processes:
        processes += started_by(pid)
    assert len(processes) == 4  # with the supervisor, the server, and what that started
    driver.communicate("\n")
    wait_for(lambda: not any(is_running(pid) for pid in processes), within_s=60)


def test_it_outlives_the_thread_that_started_it() -> None:
    servers: list[Server] = []
    thread = threading.Thread(target=lambda: servers.append(Server("a server", ["sleep", "600"])))
    thread.start()
    thread.join()
    with servers[0] as server:
        time.sleep(0.5)
        assert not server.has_ended()


@pytest.mark.parametrize("endpoint", [NOWHERE, "localhost", "localhost:port", ""])
def test_nobody_listens(endpoint: str) -> None:
    assert not listens(endpoint)


def test_a_signal_to_a_server_is_told() -> None:
    with Server("a server", ["sleep", "600"]) as server:
        wait_for(lambda: started_by(server.pid), within_s=60)
        os.kill(started_by(server.pid)[0], signal.SIGSEGV)
        assert server.has_ended(60)
        assert "by signal SIGSEGV" in server.how_it_ended()
        server.save_log().unlink()
