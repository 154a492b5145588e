"""A cache that processes and threads share: fetched once, never deleted in use, and nothing is left of the killed."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.flocks import without_links
from beam_curate.store.disk_errors import explained

SPAWN = multiprocessing.get_context("spawn")
LONG_S = 60  # no test waits for that long, unless something blocks


def content_of(name: str, size_bytes: int = 100) -> bytes:
    return random.Random(name).randbytes(size_bytes)


def writing(name: str, size_bytes: int = 100) -> Callable[[Path], object]:
    """Fetches the content of a name."""
    return lambda path: path.write_bytes(content_of(name, size_bytes))


def never(path: Path) -> None:
    raise AssertionError(f"{path} is fetched although it was there")


def put(cache: FileCache, name: str, size_bytes: int = 100) -> None:
    with cache.holding(name, size_bytes, writing(name, size_bytes)):
        pass


def is_there(cache: FileCache, name: str) -> bool:
    """Whether a file is in the cache; asking does not put it there."""
    with contextlib.suppress(AssertionError), cache.holding(name, 0, never):
        return True
    return False


def bytes_in(cache: FileCache) -> int:
    files = [path for path in Path(cache.folder).rglob("*") if path.is_file() and not path.name.endswith("lock")]
    return sum(path.stat().st_size for path in files)


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(str(tmp_path / "new" / "cache"), max_bytes=300)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_is_fetched_once_and_keeps_its_suffix(cache: FileCache) -> None:
    with cache.holding("a.mp4", 100, writing("a.mp4")) as path:
        assert path.suffix == ".mp4"
        assert path.read_bytes() == content_of("a.mp4")
    with pickle.loads(pickle.dumps(cache)).holding("a.mp4", 100, never) as again:
        assert again.read_bytes() == content_of("a.mp4")


def test_the_least_recently_used_file_makes_room(cache: FileCache) -> None:
    for name in ("a", "b", "c"):
        put(cache, name)
    with cache.holding("a", 100, never):
        pass
    put(cache, "d")
    assert not Path(cache.folder, "files", "b").exists()
    assert [is_there(cache, name) for name in ("a", "b", "c", "d")] == [True, False, True, True]


def test_a_file_in_use_stays_and_others_go(cache: FileCache) -> None:
    with cache.holding("a", 100, writing("a")) as path:
        for name in ("b", "c", "d", "e"):
            put(cache, name)
        assert path.read_bytes() == content_of("a")
    assert bytes_in(cache) == 300
    assert is_there(cache, "a")
    assert not is_there(cache, "c")


def test_a_file_stays_until_the_last_of_its_users_has_done(cache: FileCache) -> None:
    with cache.holding("a", 100, writing("a")) as path:
        with cache.holding("a", 100, never):
            pass
        put(cache, "large", 300)
        assert path.exists()
    put(cache, "large 2", 300)
    assert not path.exists()


def test_the_end_of_use_counts(cache: FileCache) -> None:
    with cache.holding("a", 100, writing("a")):
        put(cache, "b")
        put(cache, "c")
    put(cache, "d")
    assert [is_there(cache, name) for name in ("a", "b", "c", "d")] == [True, False, True, True]


def test_a_file_larger_than_the_bound_is_there_alone(cache: FileCache) -> None:
    put(cache, "a")
    put(cache, "b")
    with cache.holding("large", 1000, writing("large", 1000)) as path:
        assert path.read_bytes() == content_of("large", 1000)
        assert bytes_in(cache) == 1000
    put(cache, "c")
    assert bytes_in(cache) == 100


def test_room_that_others_are_about_to_fill_is_taken(cache: FileCache) -> None:
    put(cache, "old")

    def fetch(path: Path) -> None:
        put(cache, "b", 200)  # in the meantime: beside 200 bytes of which none has arrived, only 100 are free
        path.write_bytes(content_of("a", 200))

    with cache.holding("a", 200, fetch):
        assert not Path(cache.folder, "files", "old").exists()


def test_what_was_fetched_before_an_error_is_there_for_the_next_try(cache: FileCache) -> None:
    def half(path: Path) -> None:
        path.write_bytes(content_of("a")[:50])
        raise ConnectionError("gone")

    def rest(path: Path) -> None:
        assert path.read_bytes() == content_of("a")[:50]
        with path.open("ab") as file:
            file.write(content_of("a")[50:])

    with pytest.raises(ConnectionError, match="gone"), cache.holding("a", 100, half):
        pass
    with cache.holding("a", 100, rest) as path:
        assert path.read_bytes() == content_of("a")
    assert bytes_in(cache) == 100


def test_what_nobody_goes_on_with_makes_room(cache: FileCache) -> None:
    def half(path: Path) -> None:
        path.write_bytes(bytes(150))
        raise ConnectionError

    with pytest.raises(ConnectionError), cache.holding("a", 200, half):
        pass
    put(cache, "b", 150)
    assert bytes_in(cache) == 300
    put(cache, "c", 150)
    assert bytes_in(cache) == 300
    assert is_there(cache, "b")


def test_an_object_that_is_not_there_is_no_deleted_folder(cache: FileCache) -> None:
    def fetch(path: Path) -> None:
        raise FileNotFoundError("no such key")

    with pytest.raises(FileNotFoundError, match="no such key"), cache.holding("a", 100, fetch):
        pass


def test_a_fetch_that_makes_nothing_is_an_error(cache: FileCache) -> None:
    with pytest.raises(FileNotFoundError), cache.holding("a", 100, lambda path: None):
        pass


def test_threads_that_want_a_file_at_once_fetch_it_once(cache: FileCache) -> None:
    fetched: list[Path] = []
    at_once = threading.Barrier(8)

    def fetch(path: Path) -> None:
        fetched.append(path)
        time.sleep(0.2)
        path.write_bytes(content_of("a"))

    def use(_: int) -> bytes:
        at_once.wait()
        with cache.holding("a", 100, fetch) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(use, range(8))) == {content_of("a")}
    assert len(fetched) == 1


def test_the_next_in_line_fetches_what_the_first_could_not(cache: FileCache) -> None:
    at_once = threading.Barrier(3)
    fetched: list[Path] = []

    def fetch(path: Path) -> None:
        fetched.append(path)
        if len(fetched) == 1:
            time.sleep(0.2)
            raise ConnectionError
        path.write_bytes(content_of("a"))

    def use(_: int) -> bytes | None:
        at_once.wait()
        with contextlib.suppress(ConnectionError), cache.holding("a", 100, fetch) as path:
            return path.read_bytes()
        return None

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(use, range(3)))
    assert results.count(None) == 1 and results.count(content_of("a")) == 2
    assert len(fetched) == 2


# What other processes do; each says on a queue how far it is.


def use_in_process(cache: FileCache, log: Path, start: threading.Event) -> None:
    def fetch(path: Path) -> None:
        with log.open("a") as file:
            file.write("fetched\n")
        time.sleep(0.3)
        path.write_bytes(content_of("a"))

    start.wait()
    with cache.holding("a", 100, fetch) as path:
        assert path.read_bytes() == content_of("a")


def hold_in_process(cache: FileCache, said: threading.Event) -> None:
    with cache.holding("a", 100, writing("a")):
        said.set()
        time.sleep(LONG_S)


def fetch_in_process(cache: FileCache, said: threading.Event) -> None:
    def fetch(path: Path) -> None:
        path.write_bytes(content_of("a")[:60])
        said.set()
        time.sleep(LONG_S)

    with cache.holding("a", 100, fetch):
        pass


def use_scratch_in_process(cache: FileCache, said: threading.Event) -> None:
    with cache.scratch() as folder:
        (folder / "half.mp4").write_bytes(bytes(100))
        said.set()
        time.sleep(LONG_S)


def started(target: Callable[..., None], cache: FileCache) -> BaseProcess:
    """Starts a process and waits until it has come to where it sleeps."""
    said = SPAWN.Event()
    process = SPAWN.Process(target=target, args=(cache, said), daemon=True)
    process.start()
    assert said.wait(LONG_S)
    return process


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def test_processes_that_want_a_file_at_once_fetch_it_once(cache: FileCache, tmp_path: Path) -> None:
    start = SPAWN.Event()
    log = tmp_path / "log"
    processes = [SPAWN.Process(target=use_in_process, args=(cache, log, start)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "fetched\n"


def test_a_file_that_another_process_uses_stays_until_that_is_killed(cache: FileCache) -> None:
    process = started(hold_in_process, cache)
    put(cache, "b", 300)
    assert is_there(cache, "a")
    kill(process)
    put(cache, "c", 300)
    assert not is_there(cache, "a")


def test_a_fetch_that_was_killed_is_gone_on_with(cache: FileCache) -> None:
    def rest(path: Path) -> None:
        assert path.read_bytes() == content_of("a")[:60]
        with path.open("ab") as file:
            file.write(content_of("a")[60:])

    process = started(fetch_in_process, cache)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: cache.holding("a", 100, rest).__enter__().read_bytes())
        time.sleep(0.2)
        assert not waiting.done()
        kill(process)
        assert waiting.result(LONG_S) == content_of("a")


def test_a_fetch_that_was_killed_takes_up_no_more_room_than_it_fills(cache: FileCache) -> None:
    process = started(fetch_in_process, cache)  # 60 bytes of 100
    put(cache, "b", 200)
    kill(process)
    put(cache, "c", 40)
    assert bytes_in(cache) == 300
    put(cache, "d", 240)
    assert bytes_in(cache) == 280
    assert is_there(cache, "c") and not is_there(cache, "b")


def test_a_temporary_folder_is_gone_at_the_end(cache: FileCache) -> None:
    with pytest.raises(ZeroDivisionError), cache.scratch() as folder, cache.scratch() as other:
        assert folder != other
        (folder / "a" / "b").mkdir(parents=True)
        raise ZeroDivisionError
    assert bytes_in(cache) == 0
    assert list(Path(cache.folder, "scratch").iterdir()) == []


def test_the_temporary_folder_of_a_killed_process_is_deleted_by_the_next(cache: FileCache) -> None:
    process = started(use_scratch_in_process, cache)
    with cache.scratch():
        assert list(Path(cache.folder).rglob("half.mp4"))
    kill(process)
    with cache.scratch() as folder:
        assert not list(Path(cache.folder).rglob("half.mp4"))
        assert list(folder.iterdir()) == []
    assert list(Path(cache.folder, "scratch").iterdir()) == []


def test_a_file_that_was_adopted_is_not_fetched(cache: FileCache) -> None:
    with cache.scratch() as folder:
        (folder / "made").write_bytes(content_of("a.mp4"))
        cache.adopt("a.mp4", folder / "made")
        assert not (folder / "made").exists()
    with cache.holding("a.mp4", 100, never) as path:
        assert path.read_bytes() == content_of("a.mp4")


def test_an_adopted_file_takes_its_turn(cache: FileCache, tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(cache, name)
    made = tmp_path / "made"
    made.write_bytes(content_of("c"))
    os.utime(made, (0, 0))  # made long ago, used now
    cache.adopt("c", made)
    put(cache, "d")
    assert [is_there(cache, name) for name in ("a", "b", "c", "d")] == [False, True, True, True]


def test_a_file_is_adopted_over_what_was_fetched_of_it(cache: FileCache, tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_bytes(bytes(50))
        raise ConnectionError

    with pytest.raises(ConnectionError), cache.holding("a", 100, half):
        pass
    (tmp_path / "made").write_bytes(content_of("a"))
    cache.adopt("a", tmp_path / "made")
    with cache.holding("a", 100, never) as path:
        assert path.read_bytes() == content_of("a")
    assert bytes_in(cache) == 100


def test_a_file_in_use_is_not_replaced_by_an_adopted_one(cache: FileCache, tmp_path: Path) -> None:
    with cache.holding("a", 100, writing("a")) as path:
        (tmp_path / "made").write_bytes(content_of("a"))
        cache.adopt("a", tmp_path / "made")
        put(cache, "b", 300)
        assert path.exists()
    assert not (tmp_path / "made").exists()


def test_a_file_is_adopted_only_into_room_that_can_be_made(cache: FileCache, tmp_path: Path) -> None:
    put(cache, "b")
    (tmp_path / "made").write_bytes(bytes(301))
    cache.adopt("large", tmp_path / "made")
    assert is_there(cache, "b") and not is_there(cache, "large")
    with cache.holding("a", 200, writing("a", 200)):
        (tmp_path / "made").write_bytes(bytes(200))
        cache.adopt("c", tmp_path / "made")
        assert not is_there(cache, "c")
    assert not (tmp_path / "made").exists()


def test_a_file_is_adopted_from_another_disk(cache: FileCache, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m"):
        made = tmp_path / "disk" / "made"
        made.write_bytes(content_of("a"))
        cache.adopt("a", made)
        assert not made.exists()
    with cache.holding("a", 100, never) as path:
        assert path.read_bytes() == content_of("a")


def test_a_full_disk_keeps_no_file_and_fails_none_that_was_made(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(bytes(1 << 20))
    with mounted(tmp_path / "disk", "size=128k"):
        cache = FileCache(str(tmp_path / "disk" / "cache"), max_bytes=1 << 30)
        cache.adopt("a", made)
        assert not made.exists()
        assert not is_there(cache, "a")
        assert bytes_in(cache) == 0


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=128k"):
        cache = FileCache(str(tmp_path / "disk" / "cache"), max_bytes=1 << 30)
        with (
            pytest.raises(OSError, match=str(tmp_path / "disk" / "cache")) as caught,
            cache.holding("a", 1 << 20, writing("a", 1 << 20)),
        ):
            pass
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro"):
        cache = FileCache(str(tmp_path / "disk" / "cache"), max_bytes=1000)
        (tmp_path / "made").touch()
        for use in (cache.holding("a", 1, writing("a")), cache.scratch()):
            with pytest.raises(OSError, match=str(tmp_path / "disk" / "cache")) as caught, use:
                pass
            assert caught.value.errno == errno.EROFS
        with pytest.raises(OSError, match=str(tmp_path / "disk" / "cache")):
            cache.adopt("a", tmp_path / "made")


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FileCache(str(tmp_path / "file" / "cache"), max_bytes=1000)
    with pytest.raises(NotADirectoryError, match=str(tmp_path / "file")), cache.holding("a", 1, writing("a")):
        pass


def test_the_folder_may_be_deleted_at_any_time(cache: FileCache, tmp_path: Path) -> None:
    def first_fetch_is_lost(path: Path) -> None:
        if not losses:
            losses.append(path)
            path.write_bytes(bytes(50))
            shutil.rmtree(cache.folder)
            return
        assert not path.exists()
        path.write_bytes(content_of("a"))

    losses: list[Path] = []
    with cache.holding("a", 100, first_fetch_is_lost) as path:
        assert path.read_bytes() == content_of("a")
        shutil.rmtree(cache.folder)
    put(cache, "a")
    with cache.scratch() as folder:
        shutil.rmtree(cache.folder)
        assert not folder.exists()
    (tmp_path / "made").write_bytes(content_of("b"))
    cache.adopt("b", tmp_path / "made")
    assert is_there(cache, "b")


def test_a_fetch_into_a_folder_that_was_deleted_and_made_again_spoils_nothing(cache: FileCache) -> None:
    """The first is overtaken by a second one to the same path, which is not complete when the first one ends."""
    goes_on = threading.Event()
    deleted = threading.Event()

    def slow(path: Path) -> None:
        path.write_bytes(content_of("a"))
        shutil.rmtree(cache.folder)
        deleted.set()
        assert goes_on.wait(LONG_S)

    def second(path: Path) -> None:
        path.write_bytes(content_of("a")[:50])
        goes_on.set()
        time.sleep(0.3)
        path.write_bytes(content_of("a"))

    def use(fetch: Callable[[Path], None]) -> bytes:
        with cache.holding("a", 100, fetch) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(use, slow)
        assert deleted.wait(LONG_S)
        assert use(second) == content_of("a")
        assert first.result(LONG_S) == content_of("a")


def stress_in_process(cache: FileCache, seed: int, seconds: float, whole: bool) -> None:
    """Threads that use and adopt random files of a few, in a cache that has room for three of them."""
    end = time.monotonic() + seconds

    def use(number: int) -> int:
        rng = random.Random(seed * 100 + number)
        uses = 0
        while time.monotonic() < end:
            name = f"{rng.randrange(6)}.mp4"
            uses += 1
            if rng.random() < 0.2:
                with cache.scratch() as folder, contextlib.suppress(FileNotFoundError):
                    (folder / name).write_bytes(content_of(name))
                    cache.adopt(name, folder / name)
                continue
            with cache.holding(name, 100, writing(name)) as path:
                for _ in range(3):
                    if whole:
                        assert path.read_bytes() == content_of(name)
                    else:
                        with contextlib.suppress(FileNotFoundError):  # the folder was deleted
                            assert path.read_bytes() == content_of(name)
                    time.sleep(rng.random() / 1000)
        return uses

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(use, range(3))) > 3


@pytest.mark.parametrize("deleting", [False, True], ids=["", "while the folder is deleted"])
def test_many_at_once_see_whole_files_only(cache: FileCache, deleting: bool) -> None:
    processes = [SPAWN.Process(target=stress_in_process, args=(cache, seed, 3.0, not deleting)) for seed in range(3)]
    for process in processes:
        process.start()
    while deleting and any(process.is_alive() for process in processes):
        time.sleep(0.05)
        shutil.rmtree(cache.folder, ignore_errors=True)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    put(cache, "last")
    assert bytes_in(cache) <= 300
    assert not list(Path(cache.folder, "unfinished").iterdir())


# Folders that others can write to.


@pytest.fixture
def default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache is by default, which is not there yet."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"beam-curate-cache-{os.getuid()}"


def test_nobody_else_can_enter_the_default_folder(default_folder: Path) -> None:
    put(FileCache(), "a")
    shutil.rmtree(default_folder)  # as the system does with temporary files
    put(FileCache(), "a")
    assert default_folder.stat().st_mode & 0o777 == 0o700


def _anothers(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder.mkdir(0o700)
    os.chown(folder, 12345, -1)


def _link_to_another_folder(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(0o700)
    folder.symlink_to(elsewhere)


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("planted", [_anothers, _link_to_another_folder, _open_to_all, Path.touch])
def test_a_default_folder_that_others_could_have_filled_is_refused(
    default_folder: Path, planted: Callable[[Path], None]
) -> None:
    planted(default_folder)
    for use in (lambda: put(FileCache(), "a"), lambda: FileCache().scratch().__enter__()):
        with pytest.raises(PermissionError, match="name a folder of your own with --cache-path") as caught:
            use()
        assert explained(caught.value) == str(caught.value)  # and no other advice
        assert str(default_folder) in str(caught.value)
    assert [path.name for path in default_folder.parent.rglob("*") if path.name == "a"] == []


@pytest.mark.parametrize("place", ["files", "unfinished"])
def test_a_planted_link_is_neither_read_nor_overwritten(cache: FileCache, tmp_path: Path, place: str) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    folder = Path(cache.folder, place)
    folder.mkdir(parents=True)
    (folder / "a").symlink_to(mine)

    def fetch(path: Path) -> None:
        with open(path, "ab", opener=without_links) as file:
            file.write(content_of("a"))

    with pytest.raises(OSError, match="a link is in the place"), cache.holding("a", 100, fetch):
        pass
    assert mine.read_bytes() == b"mine"


def test_a_file_that_is_taken_over_from_another_disk_is_not_written_through_a_link(
    cache: FileCache, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    unfinished = Path(cache.folder, "unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "a").symlink_to(mine)
    with mounted(tmp_path / "disk", "size=1m"):
        (tmp_path / "disk" / "made").write_bytes(content_of("a"))
        cache.adopt("a", tmp_path / "disk" / "made")
    assert mine.read_bytes() == b"mine"
    assert is_there(cache, "a")


@pytest.mark.parametrize("name", ["../mine", "a/../../mine", "/mine", ".hidden"])
def test_no_name_leads_out_of_the_folder(cache: FileCache, tmp_path: Path, name: str) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"made")
    with pytest.raises(ValueError, match="cannot be the name"), cache.holding(name, 100, never):
        pass
    with pytest.raises(ValueError, match="cannot be the name"):
        cache.adopt(name, made)
    assert [path.name for path in tmp_path.rglob("*mine*")] == []
