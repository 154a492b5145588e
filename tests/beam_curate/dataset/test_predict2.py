"""Dataset items: the loader lists videos/, so a video is never there without its text and embedding."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from beam_curate.dataset import predict2
from beam_curate.dataset.predict2 import Item
from beam_curate.elements import Caption, ClipChunk
from beam_curate.records.recorder import publish_chunk, record_video
from tests.support.facts import items, make_chunk, make_clip, make_context, make_video_element, make_window
from tests.support.output import Output

PART = "cosmos_predict2_video2world_dataset"


@pytest.fixture
def layout(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def item(
    layout: Output, text: str = "A ball.", media: str = "pictures", name: str = "x", fraction: float = 0.0
) -> Item:
    (made,) = predict2.items_of(make_chunk([make_clip(layout, name, media, text)]), fraction)
    return made


class Changes:
    """Records which files of the dataset are added and removed, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        replace, unlink = Path.replace, Path.unlink

        def replaced(path: Path, target: Path) -> Path:
            self.note("+", target)
            return replace(path, target)

        def unlinked(path: Path, missing_ok: bool = False) -> None:
            if path.exists():
                self.note("-", path)
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "unlink", unlinked)

    def note(self, sign: str, path: Path) -> None:
        if PART in path.parts:
            self.seen.append(f"{sign}{path.parent.name}")

    def of(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


def test_the_video_is_published_last_and_withdrawn_first(layout: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    one, changed = item(layout), item(layout, "A cube.")
    changes = Changes(monkeypatch)
    come, go = ["+metas", "+t5_xxl", "+videos"], ["-videos", "-t5_xxl", "-metas"]
    assert predict2.publish(layout, one)
    assert changes.of() == come
    assert not predict2.publish(layout, one)
    assert changes.of() == []
    assert predict2.publish(layout, changed)
    assert changes.of() == go + come
    predict2.withdraw(layout, changed.name)
    assert changes.of() == go
    predict2.withdraw(layout, changed.name)
    assert changes.of() == []


@pytest.mark.parametrize("part", ["metas", "t5_xxl", "videos"])
@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_an_item_with_a_missing_or_changed_file_is_published_again(layout: Output, part: str, harm: str) -> None:
    one = item(layout)
    predict2.publish(layout, one)
    (path,) = (layout.dataset / part).iterdir()
    before = path.read_bytes()
    path.unlink()
    if harm == "changed":
        path.write_bytes(before[::-1])
    assert predict2.publish(layout, one)
    assert path.read_bytes() == before
    assert not predict2.publish(layout, one)


def test_the_text_is_the_caption_that_was_encoded(layout: Output) -> None:
    predict2.publish(layout, item(layout, "  Ein Hündchen.\nEs läuft. \n"))
    assert (layout.dataset / "metas" / "x_0_95.txt").read_bytes() == "Ein Hündchen.\nEs läuft.".encode()


def test_only_complete_windows_become_items(layout: Output) -> None:
    def named(chunk: ClipChunk) -> list[str]:
        return [made.name for made in predict2.items_of(chunk, 0.0)]

    window = make_window(layout, "w", 0, 95)
    cases = [
        (window, True),
        (dataclasses.replace(window, caption=None), False),
        (dataclasses.replace(window, embedding=None), False),
        (dataclasses.replace(window, left_out="no usable caption"), False),
    ]
    for one, expected in cases:
        assert named(make_chunk([make_clip(layout, "x", windows=(one,))])) == ["x_0_95"] * expected
    assert named(make_chunk([make_clip(layout, "x", None)])) == []
    assert named(make_chunk(())) == []


def test_each_of_several_windows_has_its_own_video(layout: Output) -> None:
    windows = (
        make_window(layout, "x1", 0, 95, video="first"),
        dataclasses.replace(make_window(layout, "x2", 96, 99), embedding=None, left_out="too short"),
        make_window(layout, "x3", 100, 199, text="Then a cube.", video="last"),
    )
    made = list(predict2.items_of(make_chunk([make_clip(layout, "x", windows=windows)]), 0.0))
    assert [one.stem for one in made] == ["x_0_95", "x_100_199"]
    assert [layout.stored(one.video).read_text() for one in made] == ["first", "last"]
    uncut = tuple(dataclasses.replace(window, video=None) for window in windows)
    assert not list(predict2.items_of(make_chunk([make_clip(layout, "x", windows=uncut)]), 0.0))


def test_a_video_stays_in_its_part() -> None:
    videos = [make_video_element(f"day {number}/front.mp4") for number in range(2000)]
    parts = [predict2.part_of(video, 0.2) for video in videos]
    assert set(parts) == {"train", "val"}
    assert 330 < parts.count("val") < 470
    assert [predict2.part_of(dataclasses.replace(video, uri="/elsewhere", etag="2"), 0.2) for video in videos] == parts
    larger = [predict2.part_of(video, 0.4) for video in videos]
    assert all(new == "val" for old, new in zip(parts, larger, strict=True) if old == "val")
    assert {predict2.part_of(video, 0.0) for video in videos} == {""}


def test_the_part_of_a_video_never_changes() -> None:
    # Another rule would mix training and validation data of existing datasets.
    names = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert [predict2.part_of(make_video_element(name), 0.3) for name in names] == ["train", "train", "val", "train"]


@pytest.mark.parametrize(("fraction", "roots"), [(0.0, [""]), (0.3, ["train", "val"])])
def test_random_embeddings_are_marked(layout: Output, fraction: float, roots: list[str]) -> None:
    assert not predict2.still_random(layout)
    predict2.mark_random(layout, fraction)
    found = sorted(path.parent for path in layout.dataset.rglob("NOT_FOR_TRAINING.txt"))
    assert found == sorted(layout.dataset / root for root in roots)
    assert "Do not train" in (found[0] / "NOT_FOR_TRAINING.txt").read_text()
    assert not predict2.still_random(layout)  # no random embedding was published
    assert not list(layout.dataset.rglob("NOT_FOR_TRAINING.txt"))


def test_the_marker_stays_until_the_last_random_video_is_replaced(tmp_path: Path) -> None:
    random, real = make_context(tmp_path, "R", "t5_random"), make_context(tmp_path, "T", "t5_11b")
    layout = random.output
    videos = [make_video_element("a.mp4"), make_video_element("deep/b.mp4")]
    predict2.mark_random(layout, 0.0)
    for video in videos:
        record_video(random, video, [publish_chunk(random, make_chunk([make_clip(layout, video.video_id)], video))], [])
    for video, left in zip(videos, (True, False), strict=True):
        assert predict2.still_random(layout)
        chunk = make_chunk([make_clip(layout, video.video_id, text="Really.")], video)
        record_video(real, video, [publish_chunk(real, chunk)], [])
        assert predict2.still_random(layout) is left
        assert (layout.dataset / "NOT_FOR_TRAINING.txt").exists() is left


def test_the_marker_stays_for_random_items_that_no_record_names_yet(tmp_path: Path) -> None:
    random, real = make_context(tmp_path, "R", "t5_random"), make_context(tmp_path, "T", "t5_11b")
    layout = random.output
    predict2.mark_random(layout, 0.0)
    for name in "ab":  # published, then the run was stopped
        publish_chunk(random, make_chunk([make_clip(layout, name)], make_video_element(f"{name}.mp4")))
    for name, left in (("a", True), ("b", False)):
        video = make_video_element(f"{name}.mp4")
        record_video(real, video, [publish_chunk(real, make_chunk([make_clip(layout, name)], video))], [])
        assert predict2.still_random(layout) is left
    assert items(layout) == {"a_0_95", "b_0_95"}


def test_an_empty_caption_gives_no_item(layout: Output) -> None:
    assert not Caption("describe", " \n", "success").usable
