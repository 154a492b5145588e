"""What users get wrong with object stores, and what object stores get wrong: told in one line, or survived."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from beam_curate.buckets.base import ObjectFacts
from beam_curate.buckets.open import open_bucket
from beam_curate.cli.main import main
from beam_curate.processes.server import free_ports
from beam_curate.store import layout
from beam_curate.store.open import open_store
from tests.support.media import make_video
from tests.support.object_servers import REGION, Minio
from tests.support.program import FIXED_STRIDE, command, start, wait_for
from tests.support.stores import PROFILE, new_place, upload
from tests.support.unconditional_store import unconditional

BY_PROFILE = ("--input-s3-profile-name", PROFILE)
FLAGS = (*FIXED_STRIDE, *BY_PROFILE, "--output-s3-profile-name", PROFILE)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one video, of one clip."""
    folder = tmp_path_factory.mktemp("one")
    make_video(folder / "a.mp4", frames=100, size=(128, 72))
    return folder


def at(source: object, output: object) -> tuple[str, ...]:
    """The flags for places and profiles."""
    return (f"--input-video-path={source}", f"--output-clip-path={output}", *FLAGS)


def curated(source: object, output: object, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs the program, with the cheapest stages, to its end."""
    return subprocess.run(
        [*command(Path("in"), Path("out")), f"--input-video-path={source}", f"--output-clip-path={output}", *flags],
        capture_output=True,
        text=True,
        timeout=200,
    )


def refused(source: object, output: object, *flags: str, lines: int = 1) -> str:
    """Runs the program, which must end with exit status 2 and one line, or more; returns them."""
    done = curated(source, output, *FLAGS, *flags)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("beam-curate: "), done.stderr
    assert done.stderr.count("\n") == lines, done.stderr
    return done.stderr


def profile(name: str, **settings: str) -> str:
    """Adds a profile to the credentials file of the test; returns its name."""
    path = os.environ["AWS_SHARED_CREDENTIALS_FILE"]
    profiles = configparser.RawConfigParser()
    profiles.read(path)
    profiles[name] = settings
    with open(path, "w") as file:
        profiles.write(file)
    return name


def keys_of(server: Minio, **others: str) -> dict[str, str]:
    """What a profile of the server's user holds."""
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    return {**keys, "endpoint_url": server.endpoint, "region": REGION} | others


def restricted(server: Minio, *actions: str) -> dict[str, str]:
    """What the profile of a user holds who may do a few things alone."""
    import boto3

    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    sts: Any = boto3.client("sts", endpoint_url=server.endpoint, region_name=REGION, **keys)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "arn:aws:s3:::*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = {"RoleArn": "arn:aws:iam:::role/any", "RoleSessionName": "tests"}
    given: Mapping[str, str] = sts.assume_role(**role, Policy=policy)["Credentials"]
    return keys_of(
        server,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a place in a bucket of S3, which the profile of `FLAGS` can reach."""
    return new_place("s3", tmp_path, request)


@pytest.fixture
def google(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a place in a bucket of Google Cloud Storage."""
    return new_place("gs", tmp_path, request)


# Mistakes are told before the first video.


def test_no_such_bucket(place: str, google: str, video: Path, tmp_path: Path) -> None:
    for url in ("s3://no-such-bucket/in", "gs://no-such-bucket/in"):
        said = refused(url, tmp_path / "out")
        assert f"--input-video-path {url}: {url[:19]}: there is no such bucket" in said
        said = refused(video, url)
        assert f"--output-clip-path: {url[:19]}: there is no such bucket" in said


@pytest.mark.parametrize("url", ["s3://", "s3:///in", "gs://", "https://host/in", "file:///in", "s4://bucket/in"])
def test_what_is_no_place(url: str, video: Path, tmp_path: Path) -> None:
    assert "--input-video-path" in refused(url, tmp_path / "out")
    assert "--output-clip-path" in refused(video, url)


@pytest.mark.parametrize("url", ["s3://Not_A Bucket/in", "gs://Not_A Bucket/in", "gs://a/in", "gs://../in"])
def test_what_cannot_be_a_bucket(url: str, place: str, google: str, video: Path, tmp_path: Path) -> None:
    assert f"--input-video-path {url}: " in refused(url, tmp_path / "out")
    assert "--output-clip-path" in refused(video, url)


def test_a_profile_that_is_not_there(place: str, video: Path, tmp_path: Path) -> None:
    for source, output, flag in ((place, tmp_path, "--input"), (video, place, "--output")):
        said = refused(source, output, f"{flag}-s3-profile-name", "nobody")
        assert "nobody" in said and f"{flag}-s3-profile-name" in said


def test_keys_of_another_store(place: str, video: Path, tmp_path: Path, minio_server: Minio) -> None:
    profile("stranger", **keys_of(minio_server, aws_access_key_id="0123456789abcdef"))
    profile("wrong", **keys_of(minio_server, aws_secret_access_key="not-the-secret-of-anybody"))
    for name in ("stranger", "wrong"):
        for source, output, flag in ((place, tmp_path, "--input"), (video, place, "--output")):
            said = refused(source, output, f"{flag}-s3-profile-name", name)
            assert f"the keys of the profile {name} are refused" in said
            assert "not-the-secret" not in said


def test_what_a_user_may_not_do(place: str, video: Path, tmp_path: Path, minio_server: Minio) -> None:
    upload(video, place)
    profile("nolist", **restricted(minio_server, "s3:GetObject"))
    said = refused(place, tmp_path / "out", "--input-s3-profile-name", "nolist")
    assert "access denied to the profile nolist: it needs s3:ListBucket" in said
    profile("reader", **restricted(minio_server, "s3:GetObject", "s3:ListBucket"))
    said = refused(video, f"{place}2", "--output-s3-profile-name", "reader")
    assert "--output-clip-path cannot be written: " in said
    assert "access denied to the profile reader" in said and "s3:PutObject" in said


def test_no_keys(place: str, video: Path, tmp_path: Path, minio_server: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    profile("keyless", endpoint_url=minio_server.endpoint, region=REGION)
    for source, output, flag in ((place, tmp_path, "--input"), (video, place, "--output")):
        said = refused(source, output, f"{flag}-s3-profile-name", "keyless")
        assert "credentials for the profile keyless; add keys to" in said
    half = {"endpoint_url": minio_server.endpoint, "aws_access_key_id": minio_server.access_key}
    said = refused(place, tmp_path, "--input-s3-profile-name", profile("half", **half))
    assert "the profile half" in said and "aws_secret_access_key" in said


def test_no_keys_for_google(
    place: str, video: Path, tmp_path: Path, google: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source, output in ((google, tmp_path / "out"), (video, google)):
        said = refused(source, output)
        assert "no credentials for Google Cloud" in said and "GOOGLE_APPLICATION_CREDENTIALS" in said


def test_another_region_is_found_out(place: str, video: Path, tmp_path: Path, minio_server: Minio) -> None:
    upload(video, place)
    profile("abroad", **keys_of(minio_server, region="eu-west-1"))
    done = curated(place, f"{place}2", *FLAGS, "--dry-run", "--input-s3-profile-name", "abroad")
    assert done.returncode == 0, done.stderr
    assert "1 videos found" in done.stdout


@pytest.mark.soak
def test_a_store_that_does_not_answer(place: str, video: Path, tmp_path: Path, minio_server: Minio) -> None:
    (port,) = free_ports(1)
    profile("down", **keys_of(minio_server, endpoint_url=f"http://127.0.0.1:{port}"))
    profile("nowhere", **keys_of(minio_server, endpoint_url="http://no-such-host.invalid:9000"))
    for name in ("down", "nowhere"):
        for source, output, flag in ((place, tmp_path, "--input"), (video, place, "--output")):
            said = refused(source, output, f"{flag}-s3-profile-name", name)
            assert f"is the store up, and the endpoint_url of the profile {name} right?" in said


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "me:secret@localhost", "ftp://localhost:9000", "http://"])
def test_an_address_that_is_none(endpoint: str, place: str, video: Path, tmp_path: Path, minio_server: Minio) -> None:
    profile("odd", **keys_of(minio_server, endpoint_url=endpoint))
    for source, output, flag in ((place, tmp_path, "--input"), (video, place, "--output")):
        said = refused(source, output, f"{flag}-s3-profile-name", "odd")
        assert "the endpoint_url of the profile odd is no address" in said
        assert "secret" not in said


def test_a_file_of_keys_that_cannot_be_read(
    place: str, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("aws_access_key_id before any section\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    said = refused(place, tmp_path / "out")
    assert str(tmp_path / "keys") in said or PROFILE in said
    assert "before any section" not in said


def test_nothing_to_curate(place: str, google: str, video: Path, tmp_path: Path) -> None:
    for url in (place, google):
        assert f"no videos in {url}" in refused(url, tmp_path / "out")
        assert f"no videos in {url}" in refused(f"{url}/*.mp4", tmp_path / "out")
        upload(video, f"{url}/deeper")
        assert "--input-extensions" in refused(url, tmp_path / "out", "--input-extensions", "mov")


def test_output_and_input_overlap(place: str, google: str, video: Path) -> None:
    for url in (place, google):
        upload(video, url)
        assert f"--output-clip-path {url}/made lies inside the input folder {url}" in refused(url, f"{url}/made")
        assert "lies inside the input folder" in refused(url.removesuffix("/out"), f"{url}/made")
        upload(video, f"{url}/in")
        assert f"--output-clip-path {url} contains the input folder {url}/in" in refused(f"{url}/in", url)
        assert "is the input folder" in refused(url, f"{url}/")


def test_an_output_with_too_long_a_prefix(place: str, video: Path) -> None:
    said = refused(video, f"{place}/{'映' * 66}")  # with out/, 202 bytes
    assert "the prefix has 202 bytes" in said and "name one of at most 200" in said


# Names of all kinds, each with records of its own.

NAMES = (
    "with space.mp4",
    " leading and trailing /a.mp4",
    "hash#percent%20.mp4",
    "what?.mp4",
    "a+b&c=d.mp4",
    "ünïcødé 映画.mp4",
    "e\u0301.mp4",
    "\u00e9.mp4",
    "\N{CLAPPER BOARD}.mp4",
    "[brackets]*.mp4",
    "a*b[c]?/d.mp4",
    'quote\'s "double".mp4',
    "back\\slash.mp4",
    "new\nline.mp4",
    "UPPER.MP4",
    "upper.mp4",
    "a:b/-dash.mp4",
    "%2E/a.mp4",
    "x.mp4/x.mp4",
    "d" * 200 + "/" + "e" * 200 + "/" + "映" * 60 + ".mp4",
)
ONLY_GOOGLE = (
    "//two slashes.mp4",
    "a//b.mp4",
    "a/%/b.mp4",
    "a/%25/b.mp4",
    "../up.mp4",
    "%2E%2E/up.mp4",
    "%252E%252E/up.mp4",
    "a/../b.mp4",
    "b.mp4",
    "a/./b.mp4",
    "a/b.mp4",
    "f" * 250 + "/" + "g" * 700 + ".mp4",
    "f" * 250 + "/" + "g" * 699 + "h.mp4",
)


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_names_of_every_kind(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = new_place(kind, tmp_path, request)
    names = list(NAMES if kind == "s3" else NAMES + ONLY_GOOGLE)
    bucket, _ = open_bucket(place, PROFILE)
    if kind == "gs":
        names.append("h" * (1024 - len("in/.mp4")) + ".mp4")
    for number, name in enumerate(names):
        path = make_video(tmp_path / "a.mp4", frames=100, size=(128, 72), seed=number)
        bucket.put(f"in/{name}", path)
    source = place.replace("/out", "/in")
    done = curated(source, place, *FLAGS)
    assert done.returncode == 0, done.stdout
    output = open_store(place, PROFILE)
    assert json.loads(output.read(layout.SUMMARY))["num_processed_videos"] == len(names)
    records = output.list_files(layout.PROCESSED_VIDEOS, recursive=True)
    assert sorted(json.loads(output.read(one))["video"] for one in records) == sorted(
        f"{source}/{name}" for name in names
    )
    assert len(output.list_files(layout.DATASET / "videos")) == len(names)
    for name in set(names) & {*NAMES[:-1]} - {"%2E/a.mp4"}:
        assert json.loads(output.read(layout.PROCESSED_VIDEOS / f"{name}.json"))["video"] == f"{source}/{name}"
    again = curated(source, place, *FLAGS)
    assert again.returncode == 0, again.stdout
    assert f"{len(names)} videos found, {len(names)} done before, 0 to do" in again.stdout
    assert main(["verify", f"{place}/{layout.DATASET}", "--allow-random-embeddings", *BY_PROFILE]) == 0


def test_a_key_with_characters_of_patterns_stands_for_itself(google: str, tmp_path: Path) -> None:
    bucket, _ = open_bucket(google)
    for number, key in enumerate(["in/a*[b]/a.mp4", "in/a*[b]/c?.mp4", "in/ab/a.mp4"]):
        bucket.put(key, make_video(tmp_path / "a.mp4", frames=100, size=(128, 72), seed=number))
    source = google.replace("/out", "/in")
    for path, found in (("a*[b]", 2), ("a*[b]/c?.mp4", 1), ("a*/*.mp4", 3), ("a?/*", 1), ("**/a.mp4", 2)):
        done = curated(f"{source}/{path}", google, *FLAGS, "--dry-run")
        assert f"{found} videos found" in done.stdout, done.stderr


# Lists and files of flags.


def put_list(place: str, *urls: str) -> str:
    bucket, prefix = open_bucket(place, PROFILE)
    bucket.put(f"{prefix}/list.json", json.dumps(urls).encode())
    return f"--input-video-list-json-path={place}/list.json"


def curated_list(output: object, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs the program on a list alone."""
    line = [one for one in command(Path("in"), Path("out")) if one not in ("--input-video-path", "in")]
    return subprocess.run(
        [*line, f"--output-clip-path={output}", *FLAGS, *flags], capture_output=True, text=True, timeout=200
    )


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_list_with_one_that_is_missing(
    kind: str, video: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = new_place(kind, tmp_path, request)
    source = place.replace("/out", "/in")
    upload(video, f"{source}/day 1#?")
    named = put_list(source, f"{source}/day 1#?/a.mp4", f"{source}/day 1#?/gone.mp4", f"{source}/list.json")
    done = curated_list(place, named, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1 videos found" in done.stdout
    printed = " ".join(done.stdout.split())
    assert f"{source}/day 1#?/gone.mp4: left out, there is no such object" in printed
    assert f"{source}/list.json: left out, its extension is not in --input-extensions" in printed


def test_a_list_that_leads_elsewhere(place: str, google: str, video: Path, tmp_path: Path) -> None:
    source = place.replace("/out", "/in")
    for url in (source, source.replace("/in", "/other"), google):
        upload(video, url)
    for url in (f"{place}2/a.mp4", f"{google}/a.mp4", "/data/a.mp4", "a.mp4"):
        said = refused(source, place, put_list(source, f"{source}/a.mp4", url))
        assert f"--input-video-list-json-path {source}/list.json: {url} does not lie below {source}/" in said
        if url != f"{place}2/a.mp4":
            done = curated_list(place, put_list(source, f"{source}/a.mp4", url))
            assert done.returncode == 2
            assert "make a list for each" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    said = refused(tmp_path, place, put_list(source, f"{source}/a.mp4"))
    assert f"{source}/a.mp4 does not lie below {tmp_path}/" in said
    # Dots mean nothing in a key.
    said = refused(google, place, put_list(google, f"{google}/../out/a.mp4"), lines=2)
    assert f"no videos in {google}" in said
    assert f"{google}/../out/a.mp4: left out, there is no such object" in said


def test_a_list_that_cannot_be_read(place: str, tmp_path: Path) -> None:
    bucket, _ = open_bucket(place, PROFILE)
    bucket.put("broken.json", b"[")
    bucket.put("text.json", b"\xff\xfe")
    bucket.put("number.json", b"7")
    where = place.removesuffix("/out")
    for name, words in (
        ("none.json", "there is no such object"),
        ("broken.json", "not valid JSON"),
        ("text.json", "not valid JSON"),
        ("number.json", "not an array of paths"),
    ):
        said = refused(f"{where}/in", place, f"--input-video-list-json-path={where}/{name}")
        assert f"--input-video-list-json-path {where}/{name}: {words}" in said
    said = refused(f"{where}/in", place, "--input-video-list-json-path=s3://no-such-bucket/a.json")
    assert "there is no such bucket" in said


def test_flags_from_a_file_in_a_bucket(place: str, google: str, video: Path) -> None:
    source = place.replace("/out", "/in")
    upload(video, source)
    for url in (place, google):
        bucket, _ = open_bucket(url, PROFILE)
        bucket.put("flags #1.yaml", b"{limit: 1, dry-run: true}")
        bucket.put("wrong.yaml", b"{limits: 1}")
        where = url.removesuffix("/out")
        done = curated(source, place, *FLAGS, f"--config={where}/flags #1.yaml")
        assert done.returncode == 0, done.stderr
        assert "Nothing was written." in done.stdout
        assert f"{where}/wrong.yaml: unknown key limits" in refused(source, place, f"--config={where}/wrong.yaml")
        said = refused(source, place, f"--config={where}/none.yaml")
        assert f"--config {where}/none.yaml cannot be read: there is no such object" in said
    assert "there is no such bucket" in refused(source, place, "--config=s3://no-such-bucket/a.yaml")


# What a dry run says, and a limit.


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_dry_run_fetches_a_few_videos_and_writes_nothing(
    kind: str, video: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = new_place(kind, tmp_path, request)
    source, cache = place.replace("/out", "/in"), tmp_path / "cache"
    names = [f"{number:02}.mp4" for number in range(40)]
    (tmp_path / "videos").mkdir()
    for name in names:
        (tmp_path / "videos" / name).hardlink_to(video / "a.mp4")
    upload(tmp_path / "videos", source)
    flags = (*FLAGS, "--dry-run", "--keep-duplicates", "--cache-path", str(cache))
    here, there = curated(tmp_path / "videos", tmp_path / "out", *flags), curated(source, place, *flags)
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert [name for name in names if name in there.stdout] == names[:20]
    assert "Only the first 20 of 40 videos were fetched and looked at" in there.stdout
    assert len(list((cache / "files").iterdir())) == 20
    # All are alike, so that what is told by looking at all of them is right.
    estimate = re.compile("Roughly .* GB of output")
    assert estimate.findall(there.stdout) == estimate.findall(here.stdout) != []
    bucket, _ = open_bucket(place, PROFILE)
    assert [one.key for one in bucket.list("") if isinstance(one, ObjectFacts)] == [f"in/{name}" for name in names]


def test_a_dry_run_of_a_few_videos_looks_at_all(place: str, video: Path) -> None:
    source = place.replace("/out", "/in")
    upload(video, source)
    done = curated(source, place, *FLAGS, "--dry-run")
    assert "a.mp4" in done.stdout
    assert "looked at" not in done.stdout


def test_a_limit_takes_the_next_one_each_time(place: str, tmp_path: Path) -> None:
    source = place.replace("/out", "/in")
    (tmp_path / "videos").mkdir()
    for number, name in enumerate("abc"):
        make_video(tmp_path / "videos" / f"{name}.mp4", frames=100, size=(128, 72), seed=number)
    upload(tmp_path / "videos", source)
    output = open_store(place, PROFILE)
    for number in (1, 2):
        done = curated(source, place, *FLAGS, "--limit", "1")
        assert done.returncode == 0, done.stdout
        assert f"{number} videos found, {number - 1} done before, 1 to do" in done.stdout  # the others are not listed
        names = [key.name for key in output.list_files(layout.PROCESSED_VIDEOS)]
        assert names == [f"{name}.mp4.json" for name in "abc"[:number]]


# Places of one kind and of another; stores that cannot do everything.


@pytest.mark.soak
@pytest.mark.parametrize(("source_kind", "output_kind"), [("s3", "local"), ("local", "s3"), ("gs", "s3"), ("s3", "gs")])
def test_from_one_kind_of_place_to_another(
    source_kind: str, output_kind: str, video: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = new_place(source_kind, tmp_path, request).replace("/out", "/in")
    output = new_place(output_kind, tmp_path, request)
    upload(video, source)
    done = curated(source, output, *FLAGS)
    assert done.returncode == 0, done.stdout
    assert f"output: {output}" in done.stdout
    assert "warning: this object store" not in done.stdout
    store = open_store(output, PROFILE)
    record = json.loads(store.read(layout.processed_video("a.mp4")))
    assert record["video"] == f"{source}/a.mp4"
    assert len(store.list_files(layout.DATASET / "videos")) == 1
    again = curated(source, output, *FLAGS)
    assert "Nothing to do" in again.stdout


@pytest.mark.parametrize("how", ["refuses", "overlooks"])
def test_a_store_without_conditions_is_warned_of(
    how: Literal["refuses", "overlooks"], place: str, video: Path, minio_server: Minio
) -> None:
    with unconditional(minio_server, how) as endpoint:
        profile("simple", **keys_of(minio_server, endpoint_url=endpoint))
        done = curated(video, place, *FLAGS, "--output-s3-profile-name", "simple")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the last one to write a record wins" in " ".join(done.stdout.split())
        assert "Nothing to do" in curated(video, place, *FLAGS, "--output-s3-profile-name", "simple").stdout
    output = open_store(place, PROFILE)
    assert len(output.list_files(layout.DATASET / "videos")) == 1
    assert output.list_files(layout.TMP, recursive=True) == []


@pytest.mark.soak
def test_clips_of_an_earlier_output_are_left_out_with_a_note(place: str, google: str, video: Path) -> None:
    for url in (place, google):
        upload(video, url.replace("/out", "/in"))
        assert curated(url.replace("/out", "/in"), f"{url}/made", *FLAGS).returncode == 0
        said = refused(url, f"{url}2", lines=3)
        assert f"no videos in {url}" in said
        for folder in ("clips", "cosmos_predict2_video2world_dataset"):
            assert f"{url}/made/{folder}/: left out, beam-curate made the 1 videos in it" in said
        upload(video, f"{url}/mine")
        done = curated(url, f"{url}2", *FLAGS, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "1 videos found" in done.stdout
        assert "left out, beam-curate made the 1 videos in it" in " ".join(done.stdout.split())


# Interruptions, and sources that change.


@pytest.mark.soak
def test_ctrl_c_and_again(place: str, tmp_path: Path) -> None:
    source = place.replace("/out", "/in")
    (tmp_path / "videos").mkdir()
    for number, name in enumerate("abcd"):
        make_video(tmp_path / "videos" / f"{name}.mp4", frames=480, seed=number)
    upload(tmp_path / "videos", source)
    output = open_store(place, PROFILE)
    process = start(command(Path("in"), Path("out"), *at(source, place)))
    wait_for(lambda: output.list_files(layout.WORK / "clips", recursive=True), process)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert "Run the same command again to resume." in printed
    done = curated(source, place, *FLAGS)
    assert done.returncode == 0, done.stdout
    assert "another run is writing" not in done.stdout
    assert json.loads(output.read(layout.SUMMARY))["num_processed_videos"] == 4
    assert len(output.list_files(layout.DATASET / "videos")) == len(output.list_files(layout.CLIPS)) == 4 * 4
    assert output.list_files(layout.LEASES) == output.list_files(layout.TMP, recursive=True) == []


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_video_that_is_replaced_after_it_was_listed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = new_place(kind, tmp_path, request)
    source = place.replace("/out", "/in")
    (tmp_path / "videos").mkdir()
    for number, name in enumerate("ab"):
        make_video(tmp_path / "videos" / f"{name}.mp4", frames=100, size=(128, 72), seed=number)
    upload(tmp_path / "videos", source)
    make_video(tmp_path / "videos" / "b.mp4", frames=110, size=(128, 72), seed=7)
    bucket, _ = open_bucket(place, PROFILE)
    process = start(command(Path("in"), Path("out"), *at(source, place)), {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    assert any("2 to do" in line for line in process.stdout)  # and none of them is read yet
    bucket.put("in/b.mp4", tmp_path / "videos" / "b.mp4")
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    output = open_store(place, PROFILE)
    (failure,) = [json.loads(line) for line in output.read(layout.FAILURES).splitlines()]
    assert (failure["error_type"], failure["retriable"]) == ("SourceChangedError", True)
    assert failure["uri"] == f"{source}/b.mp4"
    done = curated(source, place, *FLAGS)
    assert done.returncode == 0, done.stdout
    assert json.loads(output.read(layout.SUMMARY))["num_processed_videos"] == 2
    assert output.read(layout.FAILURES) == b""
    assert len(output.list_files(layout.DATASET / "videos")) == 2
