"""`beam-curate models`, as its user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beam_curate.cli.main import main as command
from beam_curate.cli.models import DEFAULT
from beam_curate.models.catalog import MODELS, T5_XXL, by_name
from beam_curate.weights.check import FileFacts, write_marker

QWEN = by_name("qwen2.5_vl")
HEAVY = ("torch", "transformers", "apache_beam", "openai")


def fill(workspace: Path) -> Path:
    folder = QWEN.folder(str(workspace))
    folder.mkdir(parents=True)
    for name in QWEN.required:
        (folder / name).write_text("{}")
    save_file({"weight": torch.ones(3)}, folder / "model.safetensors")
    return folder


def main(arguments: list[str]) -> int:
    return command(["models", *arguments])


def test_list_shows_every_model_and_which_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    T5_XXL.folder(str(tmp_path)).mkdir(parents=True)
    assert main(["list", "--workspace", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for model in MODELS:
        (line,) = [line for line in lines if line.split()[:1] == [model.name]]
        for part in (model.model_id, model.revision[:12], model.licence, f"{model.memory_gb():.1f}"):
            assert part in line
        there = {"qwen2.5_vl": "yes", "t5_xxl": "corrupt"}.get(model.name, "no")
        assert line.split()[-1] == there
    assert str(tmp_path) in lines[-1]


def test_check_says_what_is_wrong_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path)
    arguments = ["check", "--workspace", str(tmp_path)]
    assert main([*arguments, "--models", "qwen2.5_vl"]) == main(arguments) == 0
    assert capsys.readouterr().out == "qwen2.5_vl: intact\n" * 2
    (folder / "config.json").unlink()
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "qwen2.5_vl: config.json is missing" in printed
    assert f"beam-curate models download --models qwen2.5_vl --workspace {tmp_path}" in printed


def test_check_reads_the_files_where_that_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path)
    path = folder / "model.safetensors"
    write_marker(folder, QWEN, {path.name: FileFacts(path.stat().st_size, "0" * 64)})
    arguments = ["check", "--workspace", str(tmp_path)]
    assert main(arguments) == 0
    assert main([*arguments, "--hash"]) == 1
    assert "its SHA-256 differs from the hub's" in capsys.readouterr().out


def test_check_takes_the_flags_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    arguments = ["check", "--workspace", str(tmp_path), "--for"]
    assert main([*arguments, "--captioning-algorithm qwen"]) == 0
    assert main([*arguments, "--captioning-algorithm qwen --generate-cosmos-predict-dataset predict2"]) == 1
    assert f"t5_xxl: the folder {T5_XXL.folder(str(tmp_path))} is missing" in capsys.readouterr().out
    assert main(["check", "--for", f"--captioning-algorithm qwen --workspace '{tmp_path}'"]) == 0
    assert main([*arguments, "--splitting-algorithm transnetv2"]) == 0
    assert "needs no models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--models", "qwen9"], "--models: there is no qwen9; choose among transnetv2"),
        (["download", "--models", ","], "--models is empty"),
        (["download", "--for", "--captioning-algorithm quen"], "--captioning-algorithm is 'quen'"),
        (["download", "--for", "--captioning-algorithm 'qwen"], "--for is"),
        (["check", "--workspace", "/nowhere"], "there are no models in /nowhere"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_help_says_what_is_downloaded_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["download", "--help"])
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(model.name in printed for model in DEFAULT)
    assert not {"t5_xxl", "qwen3_vl_30b"} & {model.name for model in DEFAULT}
    assert "downloaded only when they are named" in printed


@pytest.mark.parametrize("arguments", [["list"], ["check"], ["download", "--help"]])
def test_nothing_heavy_is_imported(tmp_path: Path, arguments: list[str]) -> None:
    script = (
        "import sys\nfrom beam_curate.cli.main import main\n"
        "try: main(['models', *sys.argv[1:]])\nexcept SystemExit: pass\n"
        f"print('heavy:', sorted(set(sys.modules) & set({HEAVY})))"
    )
    flags = [] if "--help" in arguments else ["--workspace", str(tmp_path)]
    fill(tmp_path)
    done = subprocess.run([sys.executable, "-c", script, *arguments, *flags], capture_output=True, text=True)
    assert done.stdout.endswith("heavy: []\n"), done.stderr
