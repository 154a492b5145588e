"""A list of videos may come from somebody else: it names videos, and nothing but videos is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.open import open_bucket
from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.sources.listing import list_videos
from beam_curate.sources.reading import SourceReader
from tests.support.stores import PROFILE, new_place

EXTENSIONS = frozenset({".mp4"})


@pytest.fixture
def bucket_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A bucket with one video in the input, and one beside it."""
    url = new_place("s3", tmp_path, request).removesuffix("/out")
    bucket, _ = open_bucket(url, PROFILE)
    bucket.put("in/a.mp4", b"a")
    bucket.put("secret.mp4", b"secret")
    return url


def listed(tmp_path: Path, *urls: str, root: str | None = None) -> tuple[Video, ...]:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(urls))
    return list_videos(root, str(path), EXTENSIONS, profile=PROFILE).videos


@pytest.mark.parametrize(
    "other",
    [
        "file:///etc/passwd",
        "file:///etc/passwd.mp4",
        "//host/share/a.mp4",
        "/etc/passwd",
        "../a.mp4",
        "https://h/a.mp4",
    ],
)
def test_places_of_another_kind_are_refused(bucket_url: str, tmp_path: Path, other: str) -> None:
    for root in (None, f"{bucket_url}/in"):
        with pytest.raises(UsageError, match="--input-video-list-json-path"):
            listed(tmp_path, f"{bucket_url}/in/a.mp4", other, root=root)


def test_what_is_beside_the_input_folder_is_refused(bucket_url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not lie below"):
        listed(tmp_path, f"{bucket_url}/secret.mp4", root=f"{bucket_url}/in")


@pytest.mark.parametrize("key", ["in/../secret.mp4", "in/../../x.mp4", "in/./a.mp4"])
def test_a_key_with_dots_is_no_other_object(bucket_url: str, tmp_path: Path, key: str) -> None:
    """S3 takes the segments of a key as they are; a store that does not know such keys refuses them."""
    try:
        videos = listed(tmp_path, f"{bucket_url}/{key}", root=f"{bucket_url}/in")
    except UsageError:
        return
    assert videos == ()


@pytest.mark.parametrize("key", ["in/../secret.mp4", "in/../../../x.mp4", "in//etc/x.mp4", "in/a/../../x.mp4"])
def test_an_object_whose_name_has_dots_stays_in_the_cache_and_in_the_output(
    request: pytest.FixtureRequest, tmp_path: Path, key: str
) -> None:
    url = new_place("gs", tmp_path, request).removesuffix("/out")  # this server has objects of any name
    open_bucket(url)[0].put(key, b"content")
    (found,) = listed(tmp_path, f"{url}/{key}", root=f"{url}/in")
    assert found.uri == f"{url}/{key}"
    assert not {"", ".", ".."} & set(found.relative_path.split("/"))  # records are named by it
    cache = tmp_path / "deep" / "cache"
    with SourceReader(FileCache(str(cache))).reading(found) as path:
        assert Path(path).read_bytes() == b"content"
        assert Path(path).resolve().is_relative_to(cache)
    assert all(made.is_relative_to(cache) for made in tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("path", ["//host/share/a.mp4", "../../../../../../etc/passwd", "/etc/passwd"])
def test_local_paths_of_a_list_stay_below_the_input_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="does not lie below"):
        listed(tmp_path, path, root=str(tmp_path))


@pytest.mark.parametrize("path", ["/etc/passwd", "//etc/passwd", "/dev/zero"])
def test_what_is_no_video_is_left_out(tmp_path: Path, path: str) -> None:
    assert listed(tmp_path, path) == ()
