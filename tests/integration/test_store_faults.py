"""Whatever befalls an object store or the way to it: the run, or the next one, makes the same as an undisturbed one."""

from __future__ import annotations

import collections
import itertools
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import reliability
from tests.support.faulty_proxy import Cut, Refusal, Request
from tests.support.needed import need
from tests.support.program import wait_for
from tests.support.store_site import (
    BUCKET,
    CLIPS,
    INPUT,
    OUTPUT,
    PROFILE,
    Site,
    ended,
    make_footage,
    new_site,
    without_own_settings,
)
from tools import engines

OUTAGE_S = 20
HALF_OF_THE_REQUESTS = 120  # of an undisturbed run
RUN_S = 240
SOON_S = 60  # for a run to end that has given up
MIB = 1 << 20
RENEWED = "renewed"  # the name, in requests, of who has read the credentials after they were renewed
ANOTHER_RUN = "another run is writing to this output"
# Only the time that requests are signed with: Beam's servers hang where the clock of Python is not the system's.
WRONG_CLOCK = """
import datetime
import botocore.compat
now = botocore.compat.get_current_datetime
botocore.compat.get_current_datetime = lambda *arguments: now(*arguments) + datetime.timedelta(seconds={ahead_s})
"""


def stopped_for_a_while(site: Site, choose: random.Random) -> None:
    """The store is out of reach for 20 s: the run waits for it."""
    process = working(site)
    site.server.stop()
    time.sleep(OUTAGE_S)
    assert process.poll() is None
    site.server.start()
    ended(process)


def throttled(site: Site, choose: random.Random) -> None:
    """The store is too busy for a fifth of the requests, and slow with others: the run repeats them."""
    refused: list[Request] = []

    def fault(request: Request) -> Refusal | None:
        drawn = choose.random()
        if drawn < 0.2:
            refused.append(request)
            return Refusal(503, "SlowDown") if drawn < 0.1 else Refusal(429, "TooManyRequests")
        if drawn < 0.3:
            time.sleep(0.5)
        return None

    site.behind_the_proxy()
    site.proxy.fault = fault
    site.run()
    assert len(refused) > 20


def cut(site: Site, choose: random.Random) -> None:
    """Connections end in the middle of each video, several times: downloads go on where they were."""

    def fault(request: Request) -> Cut | None:
        is_video = request.method == "GET" and request.path.startswith(f"/{BUCKET}/{INPUT}/")
        return Cut(choose.randint(MIB + MIB // 4, MIB + MIB // 2)) if is_video else None

    site.behind_the_proxy()
    site.proxy.fault = fault
    site.run()
    starts = collections.defaultdict(list)
    for request in site.proxy.requests:
        if request.path.endswith(".mp4") and "range" in request.headers and INPUT in request.path.split("/"):
            starts[request.path].append(int(request.headers["range"].removeprefix("bytes=").removesuffix("-")))
    assert len(starts) == 3
    for one in starts.values():
        assert one[0] == 0 and len(one) >= 3, one
        assert all(later >= earlier + MIB for earlier, later in itertools.pairwise(one)), one


def expired_and_renewed(site: Site, choose: random.Random) -> None:
    """Credentials expire after they were renewed in the file: the run reads them again."""
    refused: list[Request] = []
    expired, expiring = threading.Event(), threading.Lock()

    def fault(request: Request) -> Refusal | None:
        with expiring:
            if not expired.is_set() and CLIPS in request.path:
                site.behind_the_proxy(sdk_ua_app_id=RENEWED)
                expired.set()
        if not expired.is_set() or f"app/{RENEWED}" in request.headers["user-agent"]:
            return None
        refused.append(request)
        return Refusal(400, "ExpiredToken")

    site.behind_the_proxy()
    site.proxy.fault = fault
    site.run()
    assert 1 <= len(refused) <= 16  # one by each thread that had a request in hand


def expired_for_good(site: Site, choose: random.Random) -> None:
    """Credentials expire: the run ends with a message, and is complete when it is run again with others."""
    expired = threading.Event()

    def fault(request: Request) -> Refusal | None:
        if CLIPS in request.path:
            expired.set()
        return Refusal(400, "ExpiredToken") if expired.is_set() else None

    site.behind_the_proxy()
    site.proxy.fault = fault
    printed = ended(site.start(), expect=1)
    assert_one_error(printed, "credentials", PROFILE, "expired", "renew them")
    site.profile()
    site.run()


def gone(site: Site, choose: random.Random, wait_s: float | None = 8) -> None:
    """The store is gone: the run ends by itself with a message, and is complete when it is run again."""
    process = working(site, wait_s)
    site.server.stop()
    printed = ended(process, expect=1, within_s=(wait_s or 120) + SOON_S)
    assert_one_error(printed, f"s3://{BUCKET}/{OUTPUT}/", PROFILE, "is the store up")
    site.server.start()
    site.run()


def gone_for_minutes(site: Site, choose: random.Random) -> None:
    """The store is gone, with the time that users wait: the run ends by itself, and the next one is complete."""
    gone(site, choose, None)


def killed(site: Site, choose: random.Random) -> None:
    """The program is killed (SIGKILL) with all its processes during a random request; twice, then it is run again."""
    site.behind_the_proxy()
    for _ in range(2):
        process = site.start(own_group=True)
        at = len(site.proxy.requests) + choose.randint(1, HALF_OF_THE_REQUESTS)

        def fault(request: Request, process: subprocess.Popen[str] = process, at: int = at) -> None:
            if len(site.proxy.requests) >= at and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

        site.proxy.fault = fault
        process.communicate(timeout=RUN_S)
        assert process.returncode == -signal.SIGKILL
    site.proxy.fault = lambda request: None
    site.run()


def two_at_once(site: Site, choose: random.Random) -> None:
    """A second run begins while the first one works: both end well, and the second says that it is not alone."""
    first = site.start()
    wait_for(lambda: any("selection-" in key for key in site.keys(f"{OUTPUT}/.work/runs/")), first)
    second = site.start()
    assert ANOTHER_RUN not in ended(first)
    assert ANOTHER_RUN in ended(second)


def wrong_clock(site: Site, choose: random.Random) -> None:
    """The clock is wrong by an hour, which the store refuses with a message; then by ten minutes, which it takes."""
    refused = ended(with_wrong_clock(site, 3600), expect=2)
    assert f"s3://{BUCKET}: the clock of this computer differs from the store's" in refused
    assert "Traceback" not in refused
    ended(with_wrong_clock(site, 600))


FAULTS: dict[Callable[[Site, random.Random], None], int] = {  # and how often the long test has them
    stopped_for_a_while: 3,
    throttled: 3,
    cut: 3,
    expired_and_renewed: 3,
    expired_for_good: 2,
    gone: 2,
    killed: 10,
    two_at_once: 3,
    wrong_clock: 1,
}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(engines.MINIO)
    return make_footage(tmp_path_factory.mktemp("footage") / "in")


@pytest.fixture(scope="module")
def undisturbed(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run without any fault makes."""
    with pytest.MonkeyPatch.context() as monkeypatch, new_site(tmp_path_factory.mktemp("site"), footage) as site:
        without_own_settings(monkeypatch)
        site.run()
        found = site.snapshot()
    assert sum(name.endswith(".mp4") for name in found) == 12  # of six clips, with six items
    return found


@pytest.fixture(autouse=True)
def own_settings_away(monkeypatch: pytest.MonkeyPatch) -> None:
    without_own_settings(monkeypatch)


@pytest.fixture
def choose() -> Iterator[random.Random]:
    seed = int(os.environ.get("BEAM_CURATE_SEED", random.randrange(2**32)))
    print(f"BEAM_CURATE_SEED={seed}")
    yield random.Random(seed)


@pytest.mark.parametrize("befall", FAULTS, ids=lambda befall: befall.__name__)
def test_nothing_is_lost(
    befall: Callable[[Site, random.Random], None],
    footage: Path,
    undisturbed: dict[str, str],
    choose: random.Random,
    tmp_path: Path,
) -> None:
    with new_site(tmp_path, footage) as site:
        befall(site, choose)
        assert_complete(site, undisturbed)


@pytest.mark.soak
def test_nothing_is_lost_again_and_again(
    footage: Path, undisturbed: dict[str, str], choose: random.Random, tmp_path: Path
) -> None:
    rows = []
    for befall, times in (FAULTS | {gone_for_minutes: 1}).items():
        for number in range(times):
            folder = tmp_path / f"{befall.__name__} {number}"
            with new_site(folder, footage) as site:
                befall(site, choose)
                assert_complete(site, undisturbed)
            shutil.rmtree(folder)
        rows.append((str(befall.__doc__).rstrip("."), times, "nothing"))
        report(rows)  # each as soon as it is known, since all of them take half an hour


def report(rows: list[tuple[object, ...]]) -> None:
    reliability.write_section(
        "stores",
        "Runs from and to a bucket of MinIO. After each, the same command had nothing to do, the output was that of "
        "an undisturbed run, byte for byte, and nothing temporary was left in the bucket.\n\n"
        + reliability.table(("what happened", "times", "lost"), rows),
    )


def working(site: Site, wait_s: float | None = None) -> subprocess.Popen[str]:
    """Starts the program and waits until it has stored its first clips."""
    process = site.start(wait_s=wait_s)
    wait_for(lambda: site.keys(CLIPS), process)
    return process


def with_wrong_clock(site: Site, ahead_s: int) -> subprocess.Popen[str]:
    """Starts the program on a computer whose clock is ahead."""
    folder = site.folder / f"ahead {ahead_s} s"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(ahead_s=ahead_s))
    return site.start(PYTHONPATH=f"{folder}:{os.environ.get('PYTHONPATH', '')}")


def assert_one_error(printed: str, *words: str) -> None:
    """The program ended with one message, in which all of the words are."""
    assert "Traceback" not in printed, printed
    (error,) = [line for line in printed.splitlines() if "error:" in line]
    assert all(word in error for word in words), printed


def assert_complete(site: Site, undisturbed: dict[str, str]) -> None:
    """The output is that of an undisturbed run, and another one finds nothing to do."""
    site.profile()
    site.proxy.fault = lambda request: None
    assert "Nothing to do" in site.run()
    assert site.snapshot() == undisturbed
    assert site.temporary() == []
