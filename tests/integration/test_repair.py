"""What was removed or damaged by hand is made again with --repair, from stored results where they are sound."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_curate.curate import curate
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from tests.support.media import make_video
from tests.support.program import DESCRIBED, FIXED_STRIDE, snapshot, summary

DATASET = "cosmos_predict2_video2world_dataset"


def split(source: Path, output: Path, *flags: str) -> int:
    folders = ("--input-video-path", str(source), "--output-clip-path", str(output))
    return curate(make_plan(parse([*DESCRIBED, *FIXED_STRIDE, *folders, *flags])))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an input and an output that is whole; paths stand in the records, so each test works on it."""
    folder = tmp_path_factory.mktemp("repair")
    (folder / "in" / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.mp4", "deep/b.mp4")):
        make_video(folder / "in" / name, frames=240, size=(96, 64), seed=seed)
    (folder / "in" / "broken.mp4").write_bytes(b"no video")
    shutil.copy(folder / "in" / "a.mp4", folder / "in" / "copy.mp4")
    assert split(folder / "in", folder / "out") == 0
    yield folder


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, str]:
    return snapshot(place / "out")


def first(output: Path, pattern: str) -> Path:
    return min(path for path in output.glob(pattern) if path.is_file())


def removed(pattern: str) -> Callable[[Path], None]:
    return lambda output: first(output, pattern).unlink()


def without(*names: str) -> Callable[[Path], None]:
    def remove(output: Path) -> None:
        for name in names:
            shutil.rmtree(output / name)

    return remove


def changed(pattern: str, change: Callable[[bytes], bytes], in_place: bool = True) -> Callable[[Path], None]:
    """Changes a file: all of its links, or only this one."""

    def damage(output: Path) -> None:
        path = first(output, pattern)
        data = change(path.read_bytes())
        if not in_place:
            path.unlink()
        path.write_bytes(data)

    return damage


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


# What is done to the output, and the stages that have to compute again since their stored results were damaged.
DAMAGE: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "nothing": (lambda output: None, set()),
    "a clip is gone": (removed("clips/*.mp4"), set()),
    "a clip of its own is cut off": (changed("clips/*.mp4", half, in_place=False), set()),
    "a clip of its own is changed": (changed("clips/*.mp4", flipped, in_place=False), set()),
    "a clip is cut off": (changed("clips/*.mp4", half), {"clips"}),
    "a clip is empty": (changed("clips/*.mp4", lambda data: b""), {"clips"}),
    "a clip is changed": (changed("clips/*.mp4", flipped), {"clips"}),
    "the record of a clip is gone": (removed("metas/v0/*.json"), set()),
    "the record of a clip is empty": (changed("metas/v0/*.json", lambda data: b""), set()),
    "a record is gone": (removed("processed_videos/**/*.json"), set()),
    "a record of a chunk is cut off": (changed("processed_clip_chunks/**/*.json", half), set()),
    "the record of an error is gone": (removed("video_errors/*.json"), set()),
    "the record of a copy is gone": (removed("skipped_videos/*.json"), set()),
    "a video of the dataset is gone": (removed(f"{DATASET}/videos/*"), set()),
    "a caption of the dataset is gone": (removed(f"{DATASET}/metas/*"), set()),
    "a caption of the dataset is another": (changed(f"{DATASET}/metas/*", lambda data: b"A dog."), set()),
    "an embedding of the dataset is gone": (removed(f"{DATASET}/t5_xxl/*"), set()),
    "an embedding is changed": (changed(f"{DATASET}/t5_xxl/*", flipped), {"text"}),
    "the dataset is gone": (without(DATASET), set()),
    "all that a user sees is gone": (
        without(
            DATASET, "clips", "metas", "processed_videos", "processed_clip_chunks", "video_errors", "skipped_videos"
        ),
        set(),
    ),
    "stored files are gone": (without(".work/files"), {"clips", "text"}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_was_damaged_is_made_again(place: Path, undisturbed: dict[str, str], what: str) -> None:
    damage, computed = DAMAGE[what]
    output = place / "out"
    damage(output)
    assert (snapshot(output) == undisturbed) is (what in ("nothing", "stored files are gone"))
    assert split(place / "in", output, "--repair") == 0
    assert snapshot(output) == undisturbed
    counts = summary(output)["beam_curate"]["counts_of_this_run"]
    assert {name.partition(":")[0] for name in counts if name.endswith(": begun")} == computed
    assert split(place / "in", output) == 0  # and all is done
    assert summary(output)["num_input_videos_selected"] == 0


MARKERS, RECORDS = (".work/done/*/*/*",), ("processed_*/**/*.json", "skipped_videos/*", "video_errors/*", "metas/v0/*")
RESULTS = (".work/shots/**/*.json", ".work/captions/**/*.json", ".work/files/**/*.mp4")


@pytest.mark.parametrize("lost", [MARKERS, RECORDS, (*MARKERS, *RECORDS, *RESULTS)], ids=["markers", "records", "all"])
def test_a_crash_that_emptied_files_costs_nothing(
    place: Path, undisturbed: dict[str, str], lost: tuple[str, ...]
) -> None:
    """A machine that stops may leave names of files without their content."""
    emptied = [path for pattern in lost for path in (place / "out").glob(pattern) if path.is_file()]
    assert len(emptied) >= 3
    for path in emptied:
        path.write_bytes(b"")
    assert split(place / "in", place / "out") == 0
    assert snapshot(place / "out") == undisturbed
