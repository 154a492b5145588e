"""Names and places of every kind: each video is curated, or the run says why it is not."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from beam_curate.dataset.verify.verify import verify
from tests.support.media import make_video, text_file
from tests.support.program import FIXED_STRIDE, command, dataset_stems, run, summary

FLAGS = (*FIXED_STRIDE, "--fixed-stride-min-clip-length-s", "1")
NAME_MAX = 255  # bytes


def test_backslashes_longest_names_and_names_that_differ_only_in_case(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    names = [
        "back\\slash.mp4",
        "\\.mp4",
        "a\\b/c.mp4",
        "a" * (NAME_MAX - 5) + "1.mp4",
        "a" * (NAME_MAX - 5) + "2.mp4",  # both are shortened where the program adds to them
        "映" * ((NAME_MAX - 7) // 3) + "aa1.mp4",
        "映" * ((NAME_MAX - 7) // 3) + "aa2.mp4",
        f"{'d' * NAME_MAX}/{'é' * 125}x.mp4",
        "Case.mp4",
        "case.mp4",
        "CASE.MP4",
        "same.mp4",
        "same.mkv",
    ]
    for seed, name in enumerate(names):
        assert len(os.path.basename(name).encode()) <= NAME_MAX
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        made = make_video(tmp_path / f"plain{Path(name).suffix.lower()}", frames=100, size=(192, 108), seed=seed)
        made.rename(source / name)
    printed = run(source, output, *FLAGS)
    counted = summary(output)
    assert counted["num_processed_videos"] == len(names), printed
    assert {name for name in names if counted.get(name, {}).get("state") == "processed"} == set(names)
    sources = {json.loads(path.read_text())["source_video"] for path in (output / "metas" / "v0").glob("*.json")}
    assert sources == {str(source / name) for name in names}
    assert len(dataset_stems(output)) == len(names)
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok
    assert len(list((output / "processed_videos").rglob("*.json"))) == len(names)
    assert "Nothing to do" in run(source, output, *FLAGS)


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    with public_folder() as place:
        source, output = place / "in", place / "out"
        (source / "closed").mkdir(parents=True)
        make_video(source / "good.mp4", frames=100, seed=1)
        (source / "nowhere.mp4").symlink_to(source / "gone.mp4")
        (source / "round.mp4").symlink_to(source / "round.mp4")
        os.mkfifo(source / "pipe.mp4")
        (source / "folder.mp4").mkdir()
        make_video(source / "forbidden.mp4", frames=100, seed=2).chmod(0)
        make_video(source / "closed" / "inside.mp4", frames=100, seed=3)
        (source / "closed").chmod(0)
        printed = run_unprivileged(source, output)
        assert "nowhere.mp4: left out, No such file" in printed
        assert "round.mp4: left out, Too many levels of symbolic links" in printed
        assert "pipe.mp4: left out, it is not a regular file" in printed
        assert "closed: left out, Permission denied" in printed
        assert "forbidden.mp4" in printed and "Permission denied" in printed
        assert "Traceback" not in printed
        counted = summary(output)
        assert counted["num_input_videos"] == 2 and counted["num_processed_videos"] == 1
        (failure,) = (json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines())
        assert failure["error_type"] == "DiskError" and failure["retriable"]
        assert len(dataset_stems(output)) == 1

        # Permissions are mended: the same command does the rest.
        (source / "forbidden.mp4").chmod(0o644)
        (source / "closed").chmod(0o755)
        run_unprivileged(source, output)
        assert summary(output)["num_processed_videos"] == 3
        assert (output / "failures.jsonl").read_text() == ""
        assert len(dataset_stems(output)) == 3


def test_files_that_change_while_the_run_goes_on(tmp_path: Path) -> None:
    with public_folder() as place:
        source, output = place / "in", place / "out"
        source.mkdir()
        names = ("good", "disappears", "grows", "is replaced", "becomes a folder", "is locked")
        paths = {name: make_video(source / f"{name}.mp4", frames=100, seed=i) for i, name in enumerate(names)}
        content = {name: path.read_bytes() for name, path in paths.items()}

        def disturb() -> None:
            paths["disappears"].unlink()
            with paths["grows"].open("ab") as file:
                file.write(bytes(1000))
            make_video(paths["is replaced"], frames=120, seed=9)
            paths["becomes a folder"].unlink()
            paths["becomes a folder"].mkdir()
            paths["is locked"].chmod(0)

        printed = run_unprivileged(source, output, when_listed=disturb)
        assert "Traceback" not in printed
        counted = summary(output)
        states = {name: counted[f"{name}.mp4"]["state"] for name in names}
        assert states == {name: "processed" if name == "good" else "failed" for name in names}
        failures = [json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines()]
        assert all(failure["retriable"] for failure in failures)
        assert {Path(failure["uri"]).stem: failure["error_type"] for failure in failures} == {
            "disappears": "DiskError",
            "grows": "SourceChangedError",
            "is replaced": "SourceChangedError",
            "becomes a folder": "SourceChangedError",
            "is locked": "DiskError",
        }
        assert len(dataset_stems(output)) == 1
        assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok

        # They are there again, whole: the same command does them and only them.
        paths["becomes a folder"].rmdir()
        paths["is locked"].chmod(0o644)
        for name in names[1:]:
            paths[name].write_bytes(content[name])
        run_unprivileged(source, output)
        counted = summary(output)
        assert counted["num_processed_videos"] == len(names)
        assert counted["beam_curate"]["counts_of_this_run"]["clips cut"] == len(names) - 1
        assert (output / "failures.jsonl").read_text() == ""
        assert len(dataset_stems(output)) == len(names)


def test_a_folder_of_twenty_thousand_other_things(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        (folder / "deep" / "er").mkdir(parents=True)
        make_video(folder / "a.mp4", frames=48, seed=1)
        make_video(folder / "deep" / "er" / "b.mp4", frames=48, seed=2)
    for number in range(10_000):
        text_file(many / f"{number:05}.txt")
        (many / "deep" / f"{number:05}").mkdir()
    times_s: dict[Path, list[float]] = {few: [], many: []}
    for source in (few, many) * 2:
        start = time.monotonic()
        printed = run(source, tmp_path / "out", "--dry-run")
        times_s[source].append(time.monotonic() - start)
        assert "2 videos found" in printed
        assert "deep/er/b.mp4" in printed
    assert min(times_s[many]) - min(times_s[few]) < 2


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """Gives a folder that others may enter, unlike pytest's; it is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            yield Path(folder)
        finally:
            for path in Path(folder).rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)


def run_unprivileged(source: Path, output: Path, when_listed: Callable[[], None] | None = None) -> str:
    """Runs the program bound by file permissions, also where the tests run as root; returns what it printed.

    Args:
        source: Input folder.
        output: Output folder.
        when_listed: Called when the input was listed and before a video is read: Beam has yet to be imported.
    """
    with subprocess.Popen(
        command(source, output, *FLAGS, "--threads", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=_give_up_passing_by_permissions,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if when_listed is not None and re.match(r"\d+ videos found", line):
                when_listed()
        assert process.wait(timeout=300) == 0, "".join(lines)
    return "".join(lines)


def _give_up_passing_by_permissions() -> None:
    """Root without these two capabilities is refused like anyone else."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2  # linux/prctl.h, linux/capability.h
    for capability in (dac_override, dac_read_search):
        if libc.prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
