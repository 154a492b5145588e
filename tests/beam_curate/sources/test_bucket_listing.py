"""Finding videos in buckets: the same as in folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_curate.buckets.open import open_bucket
from beam_curate.errors import UsageError
from beam_curate.sources.listing import Listing, list_videos
from beam_curate.sources.selection import enough
from beam_curate.store import layout
from beam_curate.store.open import open_store
from beam_curate.store.recorded import Recorded
from tests.support.stores import PROFILE, new_place

EXTENSIONS = frozenset({".mp4", ".mov"})
KEYS = (
    "a.mp4",
    "day 1/front.mp4",
    "day 1/rear.MOV",
    "day#2/deep/front.mp4",
    "day#2/notes.txt",
    "empty.mp4",
    ".hidden/front.mp4",
    "day#2/._front.mp4",
    "day[3]/what?.mp4",
)
ALL = ["a.mp4", "day 1/front.mp4", "day 1/rear.MOV", "day#2/deep/front.mp4", "day[3]/what?.mp4"]


@pytest.fixture(params=["s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = new_place(request.param, tmp_path, request)
    put(place, *KEYS)
    return place


def put(place: str, *keys: str) -> None:
    bucket, prefix = open_bucket(place, PROFILE)
    for key in keys:
        bucket.put(f"{prefix}/{key}", b"" if key.startswith("empty") else key.encode())


def listed(path: str | None, list_path: str | None = None, **how: object) -> Listing:
    return list_videos(path, list_path, EXTENSIONS, profile=PROFILE, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("below", "root", "expected"),
    [
        ("", "", ALL),
        ("/", "", ALL),
        ("/day 1", "/day 1", ["front.mp4", "rear.MOV"]),
        ("/day#2/", "/day#2", ["deep/front.mp4"]),
        ("/day 1/rear.MOV", "/day 1", ["rear.MOV"]),
        ("/day[3]", "/day[3]", ["what?.mp4"]),  # no pattern, since it is there
        ("/day[3]/what?.mp4", "/day[3]", ["what?.mp4"]),
        ("/*/front.mp4", "", ["day 1/front.mp4"]),
        ("/**/front.mp4", "", ["day 1/front.mp4", "day#2/deep/front.mp4"]),
        ("/day ?/*.mp4", "", ["day 1/front.mp4"]),
        ("/day#2/**/*.mp4", "/day#2", ["deep/front.mp4"]),
    ],
)
def test_a_prefix_an_object_or_a_pattern(place: str, below: str, root: str, expected: list[str]) -> None:
    found = listed(place + below)
    assert [video.relative_path for video in found.videos] == expected
    assert found.root == place + root
    for video in found.videos:
        assert video.uri == f"{found.root}/{video.relative_path}"
        assert video.size_bytes == len(video.uri.removeprefix(f"{place}/").encode())


def test_etags_tell_contents_apart(place: str) -> None:
    put(f"{place}/more", "1.mp4")
    bucket, prefix = open_bucket(place, PROFILE)
    bucket.put(f"{prefix}/more/2.mp4", b"1.mp4")
    bucket.put(f"{prefix}/more/3.mp4", b"3.mp4")
    one, same, other = listed(f"{place}/more").videos
    assert one.etag == same.etag != other.etag


def test_what_this_program_made_is_left_out_with_a_note(place: str) -> None:
    store = open_store(f"{place}/former", PROFILE)
    store.write(layout.FINGERPRINTS, b"[]")
    for key in ("clips/c.mp4", f"{layout.DATASET}/videos/c_0_95.mp4", "mine.mp4"):
        store.write(key, b"x")
    found = listed(place)
    assert [video.relative_path for video in found.videos] == sorted([*ALL, "former/mine.mp4"])
    assert [note.partition(": ")[0] for note in found.notes] == [
        f"{place}/former/clips/",
        f"{place}/former/{layout.DATASET}/",
    ]


def test_a_list_may_be_in_a_bucket_itself(place: str) -> None:
    bucket, prefix = open_bucket(place, PROFILE)
    urls = [
        f"{place}/day 1/front.mp4",
        f"{place}/a.mp4",
        f"{place}/a.mp4",
        f"{place}/gone.mp4",
        f"{place}/day#2/notes.txt",
    ]
    bucket.put(f"{prefix}/list.json", ("[" + ",".join(f'"{url}"' for url in urls) + "]").encode())
    for root in (None, place):
        found = listed(root, f"{place}/list.json")
        assert [video.relative_path for video in found.videos] == ["a.mp4", "day 1/front.mp4"]
        assert len(found.notes) == 2 and "no such object" in found.notes[1]
    with pytest.raises(UsageError, match="does not lie below"):
        listed(f"{place}/day 1", f"{place}/list.json")


def test_a_limit_ends_the_listing_when_there_is_enough_to_do(place: str) -> None:
    put(f"{place}/many", *(f"{number:02}.mp4" for number in range(30)))
    output = open_store(f"{place}/out", PROFILE)
    first = listed(f"{place}/many").videos[0]
    output.write(layout.done("A", first), b"{}")
    found = listed(f"{place}/many", enough=enough(Recorded(output), "A", 3))
    assert [video.relative_path for video in found.videos] == ["00.mp4", "01.mp4", "02.mp4", "03.mp4"]
    assert "--limit" in found.notes[0]
    assert listed(f"{place}/many", enough=enough(Recorded(output), "A", 30)).notes == ()


@pytest.mark.parametrize("below", ["-nowhere", "/a.mp4/x", "/*/nothing.mp4"])
def test_nothing_is_found_where_nothing_is(place: str, below: str) -> None:
    assert listed(place + below).videos == ()
