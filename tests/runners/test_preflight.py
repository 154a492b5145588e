"""What can be known before the first video is said before the first video: problem, flag, mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beam_curate.errors import UsageError
from beam_curate.models.catalog import T5_XXL
from beam_curate.plan.plan import Plan
from beam_curate.report.dry_run import in_memory
from beam_curate.video.encode import Encoding
from runners import preflight
from tests.support.facts import make_video_element
from tests.support.output import Output
from tests.support.plans import plan_of

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
    preflight.check_output(Output(tmp_path / "a" / "b"))
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
        preflight.check_output(Output(Path(os.path.join(tmp_path, output))))


DATASET = ("--generate-cosmos-predict-dataset", "predict2")


def plan(workspace: Path, *flags: str) -> Plan:
    return plan_of(*DATASET, "--workspace", str(workspace), *flags)


def fill(folder: Path) -> None:
    """Puts a text encoder there."""
    folder.mkdir(parents=True)
    for name in T5_XXL.required:
        (folder / name).write_text("{}")
    save_file({"shared.weight": torch.ones(3)}, folder / "encoder.safetensors")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    for flags, words in (
        ((), ("--text-encoder t5_11b needs google-t5/t5-11b: the folder", "--models t5_xxl")),
        (("--captioning-algorithm", "cosmos_r1"), ("cosmos_r1 needs nvidia/Cosmos-Reason1-7B", "cosmos_reason1")),
    ):
        with pytest.raises(UsageError) as caught:
            preflight.check_models(plan(tmp_path, *flags))
        for word in (*words, "beam-curate models download", str(tmp_path)):
            assert word in str(caught.value)


def test_a_model_that_is_not_whole(tmp_path: Path) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    fill(folder)
    preflight.check_models(plan(tmp_path))
    os.truncate(folder / "encoder.safetensors", 60)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"tokenizer\.json is missing; encoder\.safetensors is corrupt"):
        preflight.check_models(plan(tmp_path))


def test_models_that_are_not_used_need_not_be_there(tmp_path: Path) -> None:
    preflight.check_models(plan(tmp_path, "--text-encoder", "t5_random"))
    preflight.check_models(plan(tmp_path, "--generate-cosmos-predict-dataset", "disable"))


def test_a_model_that_workers_fetch_need_not_be_there(tmp_path: Path) -> None:
    fill(tmp_path / "store" / T5_XXL.model_id)
    place = tmp_path / "workspace"
    preflight.check_models(plan(place, "--model-weights-path", str(tmp_path / "store")))
    preflight.check_models(plan(place, "--model-weights-path", "gs://box/weights"))
    preflight.check_models(plan(place, "--model-weights-path", "/of/workers", "--runner", "FlinkRunner"))
    with pytest.raises(UsageError, match=r"t5-11b, which is neither in .* nor in --model-weights-path"):
        preflight.check_models(plan(place, "--model-weights-path", str(tmp_path / "elsewhere")))
    with pytest.raises(UsageError, match=r"--model-weights-path is 'ftp://box': give s3://BUCKET/PREFIX, gs://BUCKET"):
        plan(place, "--model-weights-path", "ftp://box")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_a_warning(tmp_path: Path) -> None:
    fill(T5_XXL.folder(str(tmp_path)))
    (warning,) = preflight.check_models(plan(tmp_path))
    assert "t5_11b runs google-t5/t5-11b without a GPU" in warning
    assert preflight.check_models(plan(tmp_path, "--text-encoder", "t5_random")) == []
    assert preflight.check_models(plan(tmp_path, "--runner", "FlinkRunner")) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_is_large_enough_or_the_flag_is_named(tmp_path: Path) -> None:
    fill(T5_XXL.folder(str(tmp_path)))
    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    if min(sizes) > T5_XXL.memory_gb() * 1e9:
        assert preflight.check_models(plan(tmp_path)) == []
        return
    with pytest.raises(UsageError, match="--text-encoder t5_11b needs about 20 GB of GPU memory"):
        preflight.check_models(plan(tmp_path))


R1 = ("--captioning-algorithm", "cosmos_r1", "--generate-cosmos-predict-dataset", "predict2")
IN_FLOAT32 = (*R1, "--captioning-engine", "transformers", "--text-encoder", "t5_11b")
IN_VLLM = (*R1, "--captioning-engine", "vllm", "--text-encoder", "t5_11b", "--text-encoder-dtype", "bfloat16")


@pytest.mark.parametrize(
    ("flags", "gpu_gb", "apart"),
    [
        # 16.6 GB of weights in bfloat16 and 2 GB of activations; an encoder of 4.8 billion parameters in float32.
        (IN_FLOAT32, 24.0, {"text"}),
        (IN_FLOAT32, 48.0, set()),
        (IN_VLLM, 24.0, {"text"}),
        (IN_VLLM, 40.0, set()),
        ((*IN_VLLM[:-4], "--text-encoder", "t5_random"), 24.0, set()),
        (("--runner=FlinkRunner", *IN_FLOAT32), None, {"text"}),  # nothing is known of its GPUs
        (("--runner=FlinkRunner", "--gpu-memory-gb", "80", *IN_FLOAT32), None, set()),
    ],
)
def test_models_that_do_not_fit_together_are_used_one_after_the_other(
    flags: tuple[str, ...], gpu_gb: float | None, apart: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_smallest_gpu_gb", lambda: gpu_gb)
    plan = plan_of(*flags)
    found = preflight.barriers(plan)
    assert found == apart
    said = in_memory(plan, found)
    assert ("t5_random" in flags) == (said == "")
    assert ("one after the other" in said) == bool(apart) and ("together:" in said) == bool(said)


def test_an_encoder_that_works(tmp_path: Path) -> None:
    preflight.check_encoder(Encoding(), Output(tmp_path))


def test_encoder_settings_are_tried_as_given(tmp_path: Path) -> None:
    preflight.check_encoder(Encoding(bit_rate_kbps=500, preset="slow"), Output(tmp_path))
    with pytest.raises(UsageError, match="--transcode-encoder libx264 does not work here"):
        preflight.check_encoder(Encoding(preset="no such preset"), Output(tmp_path))


def test_an_encoder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--transcode-encoder h265_none does not work here .*take --"):
        preflight.check_encoder(Encoding(encoder="h265_none"), Output(tmp_path))


def test_an_encoder_without_its_hardware(tmp_path: Path) -> None:
    # FFmpeg knows this one, and no machine has the device that it asks for here.
    with pytest.raises(UsageError, match="--transcode-encoder h264_vaapi does not work here"):
        preflight.check_encoder(Encoding(encoder="h264_vaapi"), Output(tmp_path))


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    layout = Output(tmp_path)
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


def test_too_few_processes_for_a_run_are_told_before_the_first_video() -> None:
    """With `ulimit -u 36` a run waited for its threads forever and ignored signals."""
    script = (
        "import os, resource, sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "from beam_curate.plan.settings import RunnerSettings\n"
        "from runners import preflight\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root has no such limit
        "resource.setrlimit(resource.RLIMIT_NPROC, (36, 36))\n"
        "preflight.check_threads(RunnerSettings(threads=2))"
    )
    paths = ":".join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", script, paths], capture_output=True, text=True, timeout=60)
    assert "UsageError: --threads 2 needs about 192 threads and processes" in done.stderr
    assert "raise the limit (ulimit -u, or pids.max of the container), or lower --threads" in done.stderr
