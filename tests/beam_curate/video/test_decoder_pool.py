"""Whatever a source does to the process that reads it, the next task works."""

import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import termios
import textwrap
import threading
import time
from pathlib import Path

import pytest

from beam_curate.elements import Span
from beam_curate.errors import (
    DecoderCrashedError,
    DecoderKilledError,
    DecoderMemoryError,
    DecoderTimeoutError,
    DiskError,
    InternalError,
    LostFramesError,
    MachineError,
    UnreadableSourceError,
)
from beam_curate.video import decoder_pool
from beam_curate.video.decoder_pool import Limits, call, stream
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times
from beam_curate.video.timeline import Timeline
from tests.support import media

LIMITS = Limits(timeout_s=30, memory_mb=1500)
SIZE = (96, 64)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(media.make_video(tmp_path_factory.mktemp("children") / "a.mp4", frames=250, size=SIZE))


def status(pid: int) -> str:
    """Returns the state letter of a process, e.g. S for sleeping and Z for zombie; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def our_children() -> dict[int, str]:
    pids = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid): status(int(pid)) for file in pids for pid in file.read_text().split()}


def reading_processes() -> list[int]:
    found = []
    for pid in our_children():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"beam_curate.video.decoder_process" in command:
            found.append(pid)
    return found


def works(video) -> bool:
    return call("probe", video, limits=LIMITS).width == SIZE[0]


def started(video, limits=LIMITS):
    """Begins to read a video and returns (the process, the remaining items)."""
    before = set(reading_processes())
    with decoder_pool._pool.lock:
        idle = {child.process.pid for child in decoder_pool._pool.idle}
    answers = stream("shot_frames", video, limits=limits)
    next(answers)
    with decoder_pool._pool.lock:
        still_idle = {child.process.pid for child in decoder_pool._pool.idle}
    (pid,) = (set(reading_processes()) - before) | (idle - still_idle & before & set(reading_processes()))
    return pid, answers


@pytest.fixture(autouse=True)
def fresh_pool():
    decoder_pool._pool.close()
    yield
    decoder_pool._pool.close()
    assert reading_processes() == []


@pytest.mark.parametrize(
    ("signal_number", "error_type", "words", "retriable"),
    [
        (signal.SIGSEGV, DecoderCrashedError, "SIGSEGV", False),
        (signal.SIGABRT, DecoderCrashedError, "SIGABRT", False),
        (signal.SIGBUS, DecoderCrashedError, "SIGBUS", False),
        (signal.SIGILL, DecoderCrashedError, "SIGILL", False),
        (signal.SIGFPE, DecoderCrashedError, "SIGFPE", False),
        (signal.SIGKILL, DecoderKilledError, "out of memory", True),
        (signal.SIGTERM, DecoderKilledError, "from outside .SIGTERM", True),
        (signal.SIGHUP, DecoderKilledError, "from outside .SIGHUP", True),
        (signal.SIGQUIT, DecoderKilledError, "from outside .SIGQUIT", True),
        (signal.SIGUSR1, DecoderKilledError, "from outside .SIGUSR1", True),
        (signal.SIGXCPU, DecoderKilledError, "from outside .SIGXCPU", True),
        (signal.SIGRTMIN + 1, DecoderKilledError, "from outside", True),
    ],
)
def test_a_crash_fails_that_video_only(video, signal_number, error_type, words, retriable):
    if signal.getsignal(signal_number) is signal.SIG_IGN:
        pytest.skip("these tests were started deaf to it, as nohup does, and so are the processes that they start")
    pid, answers = started(video)
    os.kill(pid, signal_number)
    with pytest.raises(error_type, match=words) as caught:
        list(answers)
    assert caught.value.retriable is retriable
    assert works(video)


@pytest.mark.parametrize(
    ("signal_number", "error_type"), [(signal.SIGSEGV, DecoderCrashedError), (signal.SIGKILL, DecoderKilledError)]
)
def test_a_crash_in_the_middle_of_a_message_fails_that_video_only(video, signal_number, error_type):
    pid, answers = started(video)
    (child,) = decoder_pool._pool.busy
    sent = [-1, 0]
    while sent[-1] != sent[-2] or not sent[-1]:  # until the socket is full, within a message of many frames
        time.sleep(0.2)
        sent.append(int.from_bytes(fcntl.ioctl(child.connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder))
    os.kill(pid, signal_number)
    with pytest.raises(error_type):
        list(answers)
    assert works(video)


def test_a_hang_is_an_error_after_the_time_limit(tmp_path, video):
    os.mkfifo(tmp_path / "pipe.mp4")  # nobody writes into it
    start_s = time.monotonic()
    with pytest.raises(DecoderTimeoutError, match="no progress in reading it for 2 s") as caught:
        call("probe", str(tmp_path / "pipe.mp4"), limits=Limits(timeout_s=2, memory_mb=1500))
    assert not caught.value.retriable
    assert time.monotonic() - start_s < 20
    assert reading_processes() == []
    assert works(video)


def test_time_in_which_the_child_is_stopped_does_not_count(video):
    pid, answers = started(video, Limits(timeout_s=3, memory_mb=1500))
    os.kill(pid, signal.SIGSTOP)
    going_on = threading.Timer(5, os.kill, (pid, signal.SIGCONT))
    going_on.start()
    parts = [part for part in answers if hasattr(part, "frames")]
    assert sum(len(part.frames) for part in parts) == 250
    assert not going_on.is_alive()


@pytest.mark.parametrize("whom", ["the parent", "the child", "both"])
def test_suspending_parent_or_child_is_no_timeout(tmp_path, whom):
    """A batch system or Ctrl-Z sends SIGSTOP, and SIGCONT much later than the time limit."""
    os.mkfifo(tmp_path / "pipe.mp4")
    code = textwrap.dedent(f"""
        from beam_curate.video import decoder_pool
        limits = decoder_pool.Limits(4, 1500)
        try:
            decoder_pool.call("probe", {str(tmp_path / "pipe.mp4")!r}, limits=limits)
        except Exception as error:
            print(type(error).__name__, error)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        while not (child := Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()):
            time.sleep(0.05)
        pids = {"the parent": [parent.pid], "the child": [int(child[0])], "both": [parent.pid, int(child[0])]}[whom]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.3)
        with open(tmp_path / "pipe.mp4", "wb") as pipe:  # unblocks the child, which finds no video
            pipe.write(b"no video" * 1000)
        assert parent.stdout.read().startswith("UnreadableSourceError")


def test_a_child_inherits_no_credentials(video, monkeypatch):
    secret = "hunter2"
    names = (
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "HF_TOKEN",
        "NVIDIA_API_KEY",
        "MY_PASSWORD",
    )
    names += (
        "LANGCHAIN_API_KEY",
        "HOMEBREW_GITHUB_API_TOKEN",
        "PYTHONANYWHERE_API_TOKEN",
        "DATABASE_URL",
        "PGPASSWORD",
    )
    names += (
        "KUBECONFIG",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_AUTH_SOCK",
        "PATH_TOKEN",
        "USER_PASSWORD",
        "http_proxy",
    )
    for name in names:
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    assert works(video)
    (pid,) = reading_processes()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert secret.encode() not in environment
    assert b"PATH=" in environment and b"LD_LIBRARY_PATH=/nowhere" in environment


def test_a_child_that_cannot_start_is_not_blamed_on_the_video(tmp_path, video, monkeypatch):
    (tmp_path / "beam_curate").mkdir()
    (tmp_path / "beam_curate" / "__init__.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(MachineError, match="failed to start") as caught:
        works(video)
    assert caught.value.retriable


def test_a_file_size_limit_is_not_blamed_on_the_video(tmp_path, video):
    timeline = Timeline(*filter(None, packet_times(video)))
    spans = (timeline.span("small", 0, 2), timeline.span("large", 2, 250))
    assert works(video)
    (pid,) = reading_processes()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    arguments = (video, timeline.info, spans, Encoding(crf=0), str(tmp_path))
    small, large = (made for made in stream("cut", *arguments, limits=LIMITS) if made)
    assert small.error is None
    assert isinstance(large.error, DiskError) and "File too large" in str(large.error)


@pytest.fixture(scope="module")
def memory_bomb(tmp_path_factory):
    """A small video whose second half is large, with the facts of a scan."""
    folder = tmp_path_factory.mktemp("bomb")
    small = media.make_video(folder / "small.ts", frames=60, size=SIZE, options={"bf": "0"})
    large = media.make_video(folder / "large.ts", frames=4, size=(7680, 4320), options={"bf": "0"}, start_pts=60)
    bomb = folder / "bomb.ts"
    bomb.write_bytes(small.read_bytes() + large.read_bytes())
    return str(bomb)


LITTLE_MEMORY = Limits(timeout_s=20, memory_mb=280)


def test_too_little_memory_fails_that_video_only(memory_bomb, video):
    with pytest.raises(DecoderMemoryError, match="--decode-memory-mb"):
        list(stream("shot_frames", memory_bomb, limits=LITTLE_MEMORY))
    assert works(video)


@pytest.mark.parametrize("memory_mb", [200, 210, 220, 230, 240, 260])
def test_every_lack_of_memory_is_the_same_error(memory_bomb, memory_mb):
    with pytest.raises(DecoderMemoryError):
        list(stream("shot_frames", memory_bomb, limits=Limits(timeout_s=20, memory_mb=memory_mb)))


def test_running_out_of_memory_inside_a_clip_is_an_error_and_no_hang(memory_bomb, tmp_path, video):
    timeline = Timeline(*packet_times(memory_bomb))
    spans = (timeline.span("small", 0, 20), timeline.span("both", 20, timeline.info.num_frames))
    start_s = time.monotonic()
    # Memory may run out in decoding, which fails the chunk, or in the encoder of the large clip, which may crash.
    limits = Limits(timeout_s=20, memory_mb=235)
    try:
        made = list(stream("cut", memory_bomb, timeline.info, spans, Encoding(), str(tmp_path), limits=limits))
    except (DecoderMemoryError, DecoderCrashedError) as error:
        assert "--decode-memory-mb" in str(error)
    else:
        assert isinstance(made[-1].error, (DecoderMemoryError, LostFramesError))
    assert time.monotonic() - start_s < LITTLE_MEMORY.timeout_s
    assert works(video)


def invalid_file(name, folder: Path) -> Path:
    path = folder / f"{name}.mp4"
    if name == "text":
        return media.text_file(path)
    if name == "empty":
        path.write_bytes(b"")
    elif name == "zeros":
        path.write_bytes(bytes(100_000))
    elif name == "index missing":
        media.truncate(media.make_video(path, frames=100, size=SIZE), 0.5)
    elif name == "audio only":
        import av

        with av.open(str(path), "w") as container:
            sound = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            frame.sample_rate, frame.pts = 48000, 0
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("task", ["probe", "packet_times", "shot_frames"])
@pytest.mark.parametrize("name", ["text", "empty", "zeros", "index missing", "audio only"])
def test_files_that_are_no_video_are_unreadable(tmp_path, video, capfd, name, task):
    path = invalid_file(name, tmp_path)
    with pytest.raises(UnreadableSourceError) as caught:
        list(stream(task, str(path), limits=LIMITS))
    assert not caught.value.retriable
    assert ("no video stream" in str(caught.value)) is (name == "audio only")
    assert works(video)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_a_disk_error(tmp_path, video):
    with pytest.raises(DiskError, match="No such file") as caught:
        call("probe", str(tmp_path / "none.mp4"), limits=LIMITS)
    assert caught.value.retriable
    assert works(video)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_a_truncated_file_gives_the_frames_it_has(tmp_path, capfd, suffix):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = media.make_video(tmp_path / f"a.{suffix}", frames=100, size=SIZE, codec=codec)
    if suffix == "mp4":
        path = index_first(path)
    media.truncate(path, 0.6)
    timeline = Timeline(*stream("packet_times", str(path), limits=LIMITS))
    assert 30 < timeline.info.num_frames < 80
    if suffix in ("mp4", "avi"):
        assert any("may be truncated" in note for note in timeline.info.notes)
    *_, last = stream("shot_frames", str(path), limits=LIMITS)
    assert last.damaged <= 60
    assert capfd.readouterr() == ("", "")


def index_first(path: Path) -> Path:
    """Cuts an mp4 as one clip, which has its index first."""
    timeline = Timeline(*filter(None, packet_times(str(path))))
    span = timeline.span("whole", 0, timeline.info.num_frames)
    arguments = (str(path), timeline.info, (span,), Encoding(), str(path.parent))
    made = [clip for clip in stream("cut", *arguments, limits=LIMITS) if clip]
    return Path(made[0].path)


def test_an_unknown_task_does_not_stop_the_child(video):
    with pytest.raises(InternalError, match="internal error: KeyError"):
        call("no such task", limits=LIMITS)
    assert works(video)
    assert len(reading_processes()) == 1


def test_children_are_reused(video):
    assert works(video)
    pids = reading_processes()
    assert len(pids) == 1
    for _ in range(5):
        assert works(video)
    assert reading_processes() == pids


def test_a_child_that_died_while_idle_is_replaced(video):
    assert works(video)
    (pid,) = reading_processes()
    os.kill(pid, signal.SIGKILL)
    (child,) = decoder_pool._pool.idle
    while child.process.poll() is None:
        time.sleep(0.01)
    assert works(video)
    assert pid not in our_children()
    assert len(decoder_pool._pool.idle) == 1


def test_children_with_other_limits_do_not_pile_up(video):
    for memory_mb in (1000, 1100, 1200):
        assert call("probe", video, limits=Limits(30, memory_mb)).width == SIZE[0]
    assert len(reading_processes()) == 1


def test_a_child_is_replaced_after_many_tasks(video, monkeypatch):
    monkeypatch.setattr(decoder_pool, "TASKS_PER_CHILD", 3)
    pids = []
    for _ in range(6):
        assert works(video)
        pids += reading_processes()
    assert len(set(pids)) == 2


def test_no_zombie_is_left_when_the_pool_closes(video):
    assert works(video)
    (pid,) = reading_processes()
    decoder_pool._pool.close()
    assert status(pid) == ""
    assert pid not in our_children()
    assert works(video)


def test_a_default_timeout_of_sockets_harms_no_stream(video):
    limits = Limits(timeout_s=29, memory_mb=1500)  # of no other test, so that no child is there from before
    socket.setdefaulttimeout(60)  # as Beam does when it looks for Google's credentials
    try:
        answers = stream("shot_frames", video, limits=limits)
        first = next(answers)
        time.sleep(1)  # so that the child has to wait until there is room for its next message
        assert len([first, *answers]) == len(list(stream("shot_frames", video, limits=limits)))
        time.sleep(1)  # so that the child waits for its next task
        assert works(video)
    finally:
        socket.setdefaulttimeout(None)


def test_an_abandoned_stream_frees_its_slot(video):
    for _ in range((os.cpu_count() or 1) + 1):
        answers = stream("shot_frames", video, limits=LIMITS)
        next(answers)
        answers.close()
    assert works(video)


def test_the_pool_serves_several_threads(video):
    found: list[int] = []

    def read() -> None:
        for _ in range(3):
            times = list(stream("packet_times", video, limits=LIMITS))[1]
            found.append(len(times.pts))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [250] * 18
    assert len(reading_processes()) <= (os.cpu_count() or 1)


def test_the_child_imports_neither_beam_nor_torch():
    code = "import sys, beam_curate.video.decoder_process; print(sorted({n.split('.')[0] for n in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "beam_curate" in out
    assert not [name for name in ("apache_beam", "torch", "transformers", "grpc") if f"'{name}'" in out]


@pytest.mark.parametrize("busy", [False, True])
def test_the_child_ends_when_its_parent_is_killed(video, busy):
    code = textwrap.dedent(f"""
        import sys, time
        from beam_curate.video import decoder_pool
        limits = decoder_pool.Limits(30, 1500)
        answers = decoder_pool.stream("shot_frames", {video!r}, limits=limits)
        next(answers)
        if not {busy}:
            list(answers)
            (child,) = decoder_pool._pool.idle
        else:
            child = answers.gi_yieldfrom.gi_frame.f_locals["self"]
        print(child.process.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert status(pid) != ""
        parent.kill()
    deadline_s = time.monotonic() + 10
    while status(pid) not in ("", "Z") and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert status(pid) in ("", "Z")


def test_a_span_beyond_the_end_is_an_item_with_an_error(video, tmp_path):
    timeline = Timeline(*packet_times(video))
    end = int(timeline.pts[-1])
    span = Span("beyond", 250, 260, end, end + 5120, 10.4, 10.8)
    items = list(stream("cut", video, timeline.info, (span,), Encoding(), str(tmp_path), limits=LIMITS))
    (clip,) = [item for item in items if item is not None]
    assert type(clip.error).__name__ == "LostFramesError"
