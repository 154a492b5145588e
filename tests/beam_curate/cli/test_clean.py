"""`beam-curate clean` of an output in a bucket, or of a folder: what goes, what stays, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beam_curate.cli.main import main
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.open import open_store
from tests.support.object_servers import Minio
from tests.support.stores import KINDS, PROFILE, new_place, upload

KEPT, FORMER = "0123456789abcdef", "f" * 16
BY_PROFILE = ("--output-s3-profile-name", PROFILE)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output with results of the last run's options and of former ones, 7 bytes each."""
    place = new_place(request.param, tmp_path, request)
    fill(open_store(place, PROFILE))
    return place


def fill(output: Store) -> None:
    output.write(layout.FINGERPRINTS, json.dumps([KEPT]).encode())
    output.write(layout.clip("a"), b"a clip")
    for name in (KEPT, FORMER):
        output.write(layout.results("clips", name) / "ab" / "r.json", b"results")
        output.write(layout.stage_files("clips", name) / "f.mp4", b"a file.")
    output.write(layout.TMP / "1-a" / "half.mp4", b"half")


def test_results_of_former_options_are_removed_and_the_rest_stays(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clean", place, *BY_PROFILE]) == 0
    assert capsys.readouterr().out == "2 files removed; 0.0 MB freed\n"
    output = open_store(place, PROFILE)
    assert not output.list_files(layout.results("clips", FORMER), recursive=True)
    assert not output.list_files(layout.stage_files("clips", FORMER), recursive=True)
    assert not output.list_files(layout.TMP, recursive=True)
    assert output.exists(layout.stage_files("clips", KEPT) / "f.mp4")
    assert output.exists(layout.results("clips", KEPT) / "ab" / "r.json")
    assert output.exists(layout.clip("a"))


def test_nothing_is_removed_while_a_run_is_at_work(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = open_store(place, PROFILE)
    with output.run_lock():
        assert main(["clean", place, *BY_PROFILE]) == 2
    assert f"a run is working on {place}; wait until it ends" in capsys.readouterr().err
    assert output.exists(layout.stage_files("clips", FORMER) / "f.mp4")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_an_output_is_left_alone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    place = new_place(kind, tmp_path, request)
    (tmp_path / "mine" / "clips").mkdir(parents=True)
    (tmp_path / "mine" / "clips" / "a.mp4").write_bytes(b"mine")
    upload(tmp_path / "mine", place)
    assert main(["clean", place, *BY_PROFILE]) == 2
    assert f"{place} is not an output folder of beam-curate" in capsys.readouterr().err
    assert open_store(place, PROFILE).read("clips/a.mp4") == b"mine"


def test_unfinished_uploads_below_the_output_are_aborted_and_counted(
    minio_server: Minio, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    place = new_place("s3", tmp_path, request)
    fill(open_store(place, PROFILE))
    s3, bucket = minio_server.client(), place.split("/")[2]
    for key in ("out/clips/a.mp4", "out/.work/files/clips/f.mp4", "other/b.mp4", "out2/b.mp4"):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes(5 << 20))
    assert main(["clean", place, *BY_PROFILE]) == 0
    assert capsys.readouterr().out == "2 files removed; 0.0 MB freed; 2 leftovers of killed runs removed\n"
    left = [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    assert sorted(left) == ["other/b.mp4", "out2/b.mp4"]


@pytest.mark.parametrize(
    ("place", "flags", "words"),
    [
        ("s3://no-such-bucket/out", BY_PROFILE, ["s3://no-such-bucket: ", "there is no such bucket", PROFILE]),
        ("{}", ("--output-s3-profile-name", "nobody"), ["(nobody) could not be found", "--output-s3-profile-name"]),
        ("{}/deeper", BY_PROFILE, ["/out/deeper is not an output folder of beam-curate"]),
        ("https://host/out", (), ["OUTPUT is 'https://host/out': give s3://BUCKET/PREFIX"]),
        ("s3://", (), ["OUTPUT is 's3://': give s3://BUCKET/PREFIX"]),
        (" ", (), ["OUTPUT is empty"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    place: str,
    flags: tuple[str, ...],
    words: list[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = new_place("s3", tmp_path, request)
    fill(open_store(there, PROFILE))
    assert main(["clean", place.replace("{}", there), *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in words:
        assert word in said


def test_no_such_bucket_of_google(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    new_place("gs", tmp_path, request)
    assert main(["clean", "gs://no-such-bucket/out"]) == 2
    assert "gs://no-such-bucket: there is no such bucket" in capsys.readouterr().err
