"""The cause of an error is found by accessing the disk, not from the number of FFmpeg's error."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import av
import pytest

from beam_curate import errors
from beam_curate.containers.error_causes import classify_read_error, classify_write_error
from beam_curate.elements import Failure
from beam_curate.errors import (
    ContentError,
    DecoderMemoryError,
    DiskError,
    EncodingError,
    InternalError,
    MachineError,
    PlaceError,
    SetupError,
    UnreadableSourceError,
)
from tests.support import media

NUMBERS = (
    *(
        "EIO",
        "EINVAL",
        "ENOSYS",
        "EPERM",
        "ERANGE",
        "EOPNOTSUPP",
        "ENOSPC",
        "EACCES",
        "ENOENT",
        "EDOM",
        "EBUSY",
        "EPIPE",
    ),
    *(
        "EEXIST",
        "ENOTDIR",
        "EISDIR",
        "ENODEV",
        "ENXIO",
        "ESPIPE",
        "EMSGSIZE",
        "EOVERFLOW",
        "EILSEQ",
        "ENOBUFS",
        "ETIMEDOUT",
    ),
)


def of_ffmpeg(number: int, name: str = "file:a.mp4") -> Exception:
    """The error that PyAV raises for one of FFmpeg's error numbers."""
    with pytest.raises(av.error.FFmpegError) as caught:
        av.error.err_check(-number, name)
    return caught.value


@pytest.mark.parametrize("name", NUMBERS)
def test_any_error_on_a_readable_file_is_blamed_on_its_content(tmp_path, name):
    path = media.text_file(tmp_path / "a.mp4")
    error = classify_read_error(of_ffmpeg(getattr(errno, name)), str(path))
    assert isinstance(error, UnreadableSourceError)


@pytest.mark.parametrize("name", NUMBERS)
def test_any_error_in_a_writable_folder_is_blamed_on_the_content(tmp_path, name):
    error = classify_write_error(of_ffmpeg(getattr(errno, name)), tmp_path, "libx264")
    assert isinstance(error, EncodingError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["EDQUOT", "EROFS", "EFBIG"])
def test_errors_that_only_disks_report_are_blamed_on_the_disk(tmp_path, name):
    error = classify_write_error(of_ffmpeg(getattr(errno, name)), tmp_path, "libx264")
    assert isinstance(error, DiskError) and os.strerror(getattr(errno, name)) in str(error)


def missing(path: Path) -> str:
    return str(path / "none.mp4")


def circular_link(path: Path) -> str:
    (path / "a.mp4").symlink_to(path / "a.mp4")
    return str(path / "a.mp4")


def folder(path: Path) -> str:
    return str(path)


def below_a_file(path: Path) -> str:
    return str(media.text_file(path / "a") / "b.mp4")


@pytest.mark.parametrize("make", [missing, circular_link, folder, below_a_file])
@pytest.mark.parametrize("name", ["EIO", "EINVAL", "ENOENT", "EPERM"])
def test_any_error_on_an_unreadable_file_is_blamed_on_the_disk(tmp_path, make, name):
    error = classify_read_error(of_ffmpeg(getattr(errno, name)), make(tmp_path))
    assert isinstance(error, DiskError)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES])
def test_a_failing_disk_is_named(tmp_path, monkeypatch, number):
    path = media.text_file(tmp_path / "a.mp4")

    def fails(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", fails)
    error = classify_read_error(of_ffmpeg(errno.EIO), str(path))
    assert isinstance(error, DiskError) and os.strerror(number) in str(error)


@pytest.mark.parametrize("name", ["ENOSPC", "EIO", "EINVAL"])
def test_a_folder_that_cannot_be_written_is_blamed_on_the_disk(tmp_path, name):
    gone = tmp_path / "gone"
    assert isinstance(classify_write_error(of_ffmpeg(getattr(errno, name)), gone, "libx264"), DiskError)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        error = classify_write_error(of_ffmpeg(getattr(errno, name)), tmp_path, "libx264")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(error, DiskError)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_is_named(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (tmp_path / "clip.mp4").write_bytes(bytes(200_000))
        error = classify_write_error(of_ffmpeg(errno.ENOSPC), tmp_path, "libx264")
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    assert isinstance(error, DiskError) and "No space left" in str(error)


def test_errors_whose_type_tells_the_cause(tmp_path):
    path = str(media.text_file(tmp_path / "a.mp4"))
    assert isinstance(classify_read_error(MemoryError(), path), DecoderMemoryError)
    assert isinstance(classify_read_error(RuntimeError("can't start new thread"), path), MachineError)
    assert isinstance(classify_read_error(FileNotFoundError(2, "No such file"), path), DiskError)
    error = classify_read_error(KeyError("x"), path)
    assert isinstance(error, InternalError) and str(error) == "internal error: KeyError: 'x'"
    assert isinstance(classify_write_error(of_ffmpeg(errno.EINVAL), tmp_path, "h264_nvenc"), MachineError)
    known = UnreadableSourceError("known")
    assert classify_read_error(known, path) is known


def test_every_error_has_one_base_class_that_decides_whether_it_is_retriable():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CurateError)]
    bases = (ContentError, PlaceError, SetupError)
    for kind in kinds:
        if kind is not errors.CurateError:
            assert sum(issubclass(kind, base) for base in bases) == 1, kind
            assert kind.retriable is not issubclass(kind, ContentError), kind


@pytest.mark.parametrize(
    ("error", "retriable", "message"),
    [
        (UnreadableSourceError("a\nb"), False, "a b"),
        (DiskError("gone"), True, "gone"),
        (KeyError("x"), True, "internal error: KeyError: 'x'"),
        (ValueError(), True, "internal error: ValueError: ValueError"),
        (OSError(28, "No space left on device"), True, "[Errno 28] No space left on device"),
    ],
)
def test_a_failure_names_the_error_in_one_line(error, retriable, message):
    failure = Failure.of(error, "shots", "a.mp4")
    assert (failure.retriable, failure.message) == (retriable, message)


def test_an_encoder_out_of_memory_is_not_blamed_on_the_content(tmp_path):
    code = """
import pathlib, resource, sys, av
from beam_curate.containers.error_causes import classify_write_error
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (4 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
error = av.error.ExternalError(-542398533, "Generic error in an external library")
print(type(classify_write_error(error, pathlib.Path(sys.argv[1]), "libx264")).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "DecoderMemoryError", done.stderr
