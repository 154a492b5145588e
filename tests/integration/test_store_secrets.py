"""No key of an object store is in the graph of a job, in what it stores, or in what it prints."""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import apache_beam as beam
import pytest

from beam_curate.buckets import s3_client
from beam_curate.buckets.base import BucketError
from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.options.parse import parse
from beam_curate.pipeline import build
from beam_curate.plan.plan import Plan, make_plan
from tests.support.media import make_video
from tests.support.needed import need
from tests.support.object_servers import REGION, Minio, minio
from tests.support.program import DESCRIBED, FIXED_STRIDE, children_of, command, start
from tests.support.secrets import found_in
from tests.support.stores import PROFILE, new_place, upload
from tools import engines

FLAGS = (*FIXED_STRIDE, "--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE, "--verbose")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=240, seed=1)
    make_video(folder / "b.mp4", frames=120, seed=2)
    (folder / "no video.mp4").write_text("no video")
    return folder


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix in a bucket, whose keys are in a profile."""
    monkeypatch.setattr(s3_client, "_clients", {})  # they keep the keys that they were made with
    return new_place("s3", tmp_path, request)


def change_profile(**values: str) -> None:
    """Changes the profile of the tests."""
    path = Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    profiles = configparser.RawConfigParser()
    profiles.read(path)
    profiles[PROFILE].update(values)
    with path.open("w") as file:
        profiles.write(file)


# The graph.


def payload_of(pipeline: beam.Pipeline) -> bytes:
    """Returns all that is sent to the workers of a job."""
    data: bytes = pipeline.to_runner_api().SerializeToString()
    return data


def graph_of(plan: Plan) -> bytes:
    pipeline = beam.Pipeline()
    run = PurePosixPath(".work/runs/run")
    build(pipeline, plan, run, run / "selection", deal_out_chunks=True, barriers=["text"])
    return payload_of(pipeline)


class _Keeper(beam.DoFn):
    """Keeps a secret, as a client among the fields of a store would."""

    def __init__(self, secret: object) -> None:
        self._secret = secret

    def process(self, element: object) -> Iterator[object]:
        yield element


def _closed_over(secret: str) -> beam.PTransform:
    return beam.Map(lambda element: (element, secret))


@pytest.mark.parametrize(
    "plant",
    [
        lambda secret: beam.ParDo(_Keeper(secret)),
        lambda secret: beam.ParDo(_Keeper({"headers": [("Authorization", secret.encode())]})),
        lambda secret: beam.ParDo(_Keeper(beam.internal.pickler.dumps([secret]))),
        _closed_over,
        lambda secret: beam.FlatMap(lambda _, among: among, among=[secret]),
        lambda secret: "a step " + secret >> beam.Map(str),
    ],
)
def test_a_secret_in_a_graph_is_found(plant: Callable[[str], beam.PTransform]) -> None:
    secret = secrets.token_hex(16)
    for planted in (secret, "another"):
        pipeline = beam.Pipeline()
        _ = pipeline | beam.Create(["element"]) | plant(planted)
        assert found_in(payload_of(pipeline), [secret]) == {secret} & {planted}


def test_the_graph_holds_no_secret(place: str, minio_server: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {name: secrets.token_hex(16) for name in ("aws_session_token", "environment", "user", "password")}
    change_profile(aws_session_token=held["aws_session_token"])
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, held["environment"])
    monkeypatch.setenv("HTTPS_PROXY", f"http://{held['user']}:{held['password']}@127.0.0.1:1")
    places = ("--input-video-path", place.replace("/out", "/in"), "--output-clip-path", place)
    plan = make_plan(parse([*DESCRIBED, *places, *FLAGS]))
    video = Video(place.replace("/out", "/in/a.mp4"), "a.mp4", 1, "e")
    for used in (lambda: plan.output.exists("x"), lambda: plan.sources.reader.reading(video).__enter__()):
        with pytest.raises(BucketError):  # the store refuses the token; the keys have been read all the same
            used()
    graph = graph_of(plan)
    bucket = place.removeprefix("s3://").partition("/")[0]
    assert found_in(graph, [bucket, PROFILE]) == {bucket, PROFILE}  # so it reaches the fields of the store
    assert not found_in(graph, [minio_server.access_key, minio_server.secret_key, *held.values()])


# Runs.


@dataclasses.dataclass
class Ended:
    """A run that ended: its exit status, what it printed, and the environments of its processes that read videos."""

    status: int
    printed: str
    environments: dict[int, bytes]


def nothing() -> None:
    pass


def curate(place: str, cache: Path, *flags: str, during: Callable[[], object] = nothing) -> Ended:
    """Curates what is beside the output; something can be done as soon as the first video is read."""
    flags = (*(flags or FLAGS), "--cache-path", str(cache))
    process = start(command(place.replace("/out", "/in"), place, *flags))  # type: ignore[arg-type]
    environments: dict[int, bytes] = {}

    def watch() -> None:
        while process.poll() is None:
            for pid in children_of(process.pid):
                with contextlib.suppress(OSError):
                    environments[pid] = Path(f"/proc/{pid}/environ").read_bytes()
            if environments and not done:
                done.append(during())
            time.sleep(0.05)

    done: list[object] = []
    watching = threading.Thread(target=watch)
    watching.start()
    printed = process.communicate(timeout=500)[0]
    watching.join()
    return Ended(process.returncode, printed, environments)


def places_with(held: Iterable[str], ended: Ended, server: Minio, place: str, cache: Path) -> list[str]:
    """Where secrets are: in what was printed, in the bucket, in the cache, in processes that read videos."""
    looked_at = {"printed": ended.printed.encode()}
    looked_at |= {f"process {pid}": environment for pid, environment in ended.environments.items()}
    looked_at |= {str(path): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    bucket, s3 = place.removeprefix("s3://").partition("/")[0], server.client()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            found = s3.get_object(Bucket=bucket, Key=entry["Key"])
            looked_at[entry["Key"]] = repr((entry["Key"], found["Metadata"])).encode() + found["Body"].read()
    assert len(looked_at) > 3
    return [name for name, data in looked_at.items() if found_in(data, held)]


def test_a_run_with_a_profile_leaves_no_secret(place: str, videos: Path, minio_server: Minio, tmp_path: Path) -> None:
    upload(videos, place.replace("/out", "/in"))
    ended = curate(place, tmp_path / "cache")
    assert ended.status == 0, ended.printed
    assert ended.environments
    held = [minio_server.access_key, minio_server.secret_key]
    assert places_with(held, ended, minio_server, place, tmp_path / "cache") == []
    assert places_with(["no video.mp4"], ended, minio_server, place, tmp_path / "cache")  # it would be found


def test_a_run_with_keys_in_the_environment_leaves_no_secret(
    place: str, videos: Path, minio_server: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(videos, place.replace("/out", "/in"))
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(f"[{PROFILE}]\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", minio_server.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", minio_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", minio_server.secret_key)
    ended = curate(place, tmp_path / "cache", *FIXED_STRIDE, "--verbose")  # with the default profile
    assert ended.status == 0, ended.printed
    assert ended.environments
    held = [minio_server.access_key, minio_server.secret_key]
    assert places_with(held, ended, minio_server, place, tmp_path / "cache") == []


def test_a_run_with_a_wrong_secret_repeats_none(place: str, videos: Path, minio_server: Minio, tmp_path: Path) -> None:
    upload(videos, place.replace("/out", "/in"))
    wrong, token = secrets.token_hex(16), secrets.token_hex(16)
    for changed in ({"aws_secret_access_key": wrong}, {"aws_session_token": token}):
        change_profile(**changed)
        ended = curate(place, tmp_path / "cache")
        assert ended.status == 2, ended.printed
        assert PROFILE in ended.printed
        held = [minio_server.access_key, minio_server.secret_key, wrong, token]
        assert places_with(held, ended, minio_server, place, tmp_path / "cache") == []


def test_a_password_in_the_address_of_a_store_is_refused_and_not_repeated(
    place: str, minio_server: Minio, tmp_path: Path
) -> None:
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    change_profile(endpoint_url=minio_server.endpoint.replace("//", f"//{user}:{password}@"))
    ended = curate(place, tmp_path / "cache")
    assert ended.status == 2, ended.printed
    assert f"endpoint_url of the profile {PROFILE} holds a user or password" in ended.printed
    assert not found_in(ended.printed.encode(), [user, password])


@pytest.mark.parametrize("flag", ["--input-video-path", "--output-clip-path", "--config"])
def test_keys_in_a_url_are_refused_and_not_repeated(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    for key, secret in (("AKIAEXAMPLE", "sEcReT"), ("AKIAEXAMPLE", "with/sEcReT"), ("sEcReT", "")):
        with pytest.raises(UsageError, match="a URL holds no keys") as caught:
            parse(["--input-video-path=in", "--output-clip-path=out", flag, f"s3://{key}:{secret}@bucket/out"])
        assert not found_in(str(caught.value).encode(), ["sEcReT", "AKIAEXAMPLE"])


@pytest.mark.soak
def test_a_run_whose_server_stops_prints_and_leaves_no_secret(place: str, videos: Path, tmp_path: Path) -> None:
    need(engines.MINIO)
    with minio(tmp_path / "objects") as server:
        bucket = server.make_bucket(place.removeprefix("s3://").partition("/")[0])
        server.profile_file(Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]), PROFILE)
        upload(videos, place.replace("/out", "/in"))
        cache, held = tmp_path / "cache", [server.access_key, server.secret_key]
        broken = curate(place, cache, during=server.stop)
        assert broken.status == 1, broken.printed
        assert bucket in broken.printed
        unreachable = curate(place, cache)
        assert unreachable.status == 2, unreachable.printed
        server.start()
        for ended in (broken, unreachable):
            assert places_with(held, ended, server, place, cache) == []
