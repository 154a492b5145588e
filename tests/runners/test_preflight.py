"""What can be known before the first video is said before the first video: problem, flag, mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from facts import make_video_element

from beam_curate.errors import UsageError
from beam_curate.layout import Layout
from beam_curate.models.catalog import T5_XXL
from beam_curate.options import Options, TranscodeOptions, parse
from runners import preflight

APART = [
    ("in", "out"),
    ("in", "in2"),
    ("in/deep", "in2/deep"),
    ("in", "link_out"),
]
TOGETHER = [
    ("in", "in", "is the input folder"),
    ("in", "in/", "is the input folder"),
    ("in", "in/../in", "is the input folder"),
    ("in", "link_in", "is the input folder"),
    ("in", "in/out", "lies inside the input folder"),
    ("in", "link_in/not yet/there", "lies inside the input folder"),
    ("in/deep", "in", "contains the input folder"),
    ("in", "/", "contains the input folder"),
    ("/", "out", "lies inside the input folder"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("in/deep", "in2/deep", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link_in").symlink_to(tmp_path / "in")
    (tmp_path / "link_out").symlink_to(tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize(("source", "output"), APART)
def test_input_and_output_apart(place: Path, source: str, output: str) -> None:
    preflight.check_folders(str(place / source), str(place / output))


@pytest.mark.parametrize(("source", "output", "message"), TOGETHER)
def test_input_and_output_in_each_other(place: Path, source: str, output: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"--output-clip-path .*{message}.*; name ") as caught:
        preflight.check_folders(os.path.join(place, source), os.path.join(place, output))
    assert "\n" not in str(caught.value)


def test_the_output_is_made_and_left_empty(tmp_path: Path) -> None:
    preflight.check_output(str(tmp_path / "a" / "b"))
    assert not list((tmp_path / "a" / "b").iterdir())


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("file", "File exists"),
        ("file/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("/proc/none", "No such"),
    ],
)
def test_an_output_that_cannot_be_written(tmp_path: Path, output: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=rf"--output-clip-path .* cannot be written \({reason}.*name another folder"):
        preflight.check_output(os.path.join(tmp_path, output))


DATASET = ["--input-video-path", "in", "--output-clip-path", "out", "--generate-cosmos-predict-dataset", "predict2"]


def options(workspace: Path, *flags: str) -> Options:
    return parse([*DATASET, "--workspace", str(workspace), *flags]).options


WEIGHTS = ["pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json", "model.safetensors.index.json"]
MODELS = [
    ([], "config.json, tokenizer.json is missing"),
    (["config.json"], "tokenizer.json is missing"),
    (["config.json", "tokenizer.json"], "its weights, pytorch_model.bin or model.safetensors, are missing"),
]


@pytest.mark.parametrize(("names", "message"), MODELS)
def test_a_text_encoder_that_is_not_there(tmp_path: Path, names: list[str], message: str) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}")
    with pytest.raises(UsageError, match=message) as caught:
        preflight.check_models(options(tmp_path))
    for part in (
        "--text-encoder t5_11b needs google-t5/t5-11b",
        str(folder),
        "hf download google-t5/t5-11b --revision",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_text_encoder_that_is_there(tmp_path: Path, weights: str) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", weights):
        (folder / name).write_text("{}")
    preflight.check_models(options(tmp_path))


def test_models_that_are_not_used_need_not_be_there(tmp_path: Path) -> None:
    preflight.check_models(options(tmp_path, "--text-encoder", "t5_random"))
    preflight.check_models(options(tmp_path, "--generate-cosmos-predict-dataset", "disable"))


def test_an_encoder_that_works() -> None:
    preflight.check_encoder(Options(transcode=TranscodeOptions()))


def test_encoder_settings_are_tried_as_given() -> None:
    preflight.check_encoder(Options(transcode=TranscodeOptions(transcode_bit_rate_kbps=500, transcode_preset="slow")))
    with pytest.raises(UsageError, match="--transcode-encoder libx264 does not work here"):
        preflight.check_encoder(Options(transcode=TranscodeOptions(transcode_preset="no such preset")))


def test_an_encoder_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"--transcode-encoder h265_none does not work here .*take --"):
        preflight.check_encoder(Options(transcode=TranscodeOptions(transcode_encoder="h265_none")))


def test_an_encoder_without_its_hardware() -> None:
    # FFmpeg knows this one, and no machine has the device that it asks for here.
    with pytest.raises(UsageError, match="--transcode-encoder h264_vaapi does not work here"):
        preflight.check_encoder(Options(transcode=TranscodeOptions(transcode_encoder="h264_vaapi")))


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert preflight.check_disk(layout, [make_video_element(size_bytes=1000)]) is None
    assert preflight.check_disk(layout, []) is None
    warning = preflight.check_disk(layout, [make_video_element(size_bytes=10**16)] * 2)
    assert warning
    assert "may need 30,000,000,000 MB and" in warning
    assert "--limit" in warning


def test_the_packages_belong_together(tmp_path: Path) -> None:
    preflight.check_packages()
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "__init__.py").write_text("")
    script = "from runners.preflight import check_packages; check_packages()"
    path = os.pathsep.join([str(tmp_path), str(Path(preflight.__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "another package shadows one of beam-curate's" in done.stderr
    assert f"transforms in {tmp_path}" in done.stderr
    assert "run from another folder" in done.stderr
