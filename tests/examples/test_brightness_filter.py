"""The filter of docs/adding-a-stage.md, run as the document says: it gets flags, reasons, counts and resumption."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from beam_curate.errors import UsageError
from tests.support.moving import write_pictures
from tests.support.plans import plan_of
from tests.support.program import FIXED_STRIDE, run, summary

EXAMPLES = Path(__file__).parents[2] / "examples"
PLUGIN = ("--filter-plugin", "brightness_filter:BrightnessFilter")


@pytest.fixture(autouse=True)
def with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES), prepend=":")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of wide bars over grey of 5, 30 and 80 %, which is what they have in the mean."""
    folder = tmp_path_factory.mktemp("footage")
    for percent in (5, 30, 80):

        def picture(number: int, percent: int = percent) -> NDArray[np.uint8]:
            drawn = np.full((180, 320, 3), round(2.55 * (percent - 4)), dtype=np.uint8)
            drawn[:, (np.arange(320) + number) // 20 % 2 == 0] = round(2.55 * (percent + 4))
            return drawn

        write_pictures(folder / f"{percent}.mp4", picture, 120, (320, 180))
    return folder


def metas(output: Path) -> dict[str, Any]:
    found = (json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json"))
    return {Path(meta["source_video"]).stem: meta for meta in found}


def test_the_walk_of_the_document(footage: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    printed = run(footage, output, *FIXED_STRIDE, *PLUGIN, "--brightness-minimum", "0.15")
    found = metas(output)
    assert [name for name, meta in sorted(found.items()) if meta["rejection"]] == ["5"]
    reason = found["5"]["rejection"]["reason"]
    assert reason.startswith("its mean brightness 0.0") and reason.endswith("is below --brightness-minimum 0.15")
    assert found["80"]["scores"]["brightness"]["mean"] == pytest.approx(0.8, abs=0.03)
    assert "1 rejected by brightness" in printed
    assert summary(output)["beam_curate"]["clips_filtered_by"] == {"brightness": 1}
    assert summary(output)["beam_curate"]["options"]["brightness_minimum"] == 0.15

    printed = run(footage, output, *FIXED_STRIDE, *PLUGIN, "--brightness-minimum", "0.5")
    counts = summary(output)["beam_curate"]["counts_of_this_run"]
    assert counts["brightness: cached"] == 3 and "clips cut" not in counts
    assert "2 rejected by brightness" in printed
    assert "0 rejected" not in run(footage, output, *FIXED_STRIDE, *PLUGIN, "--brightness-filter", "score-only")
    assert not any(meta["rejection"] for meta in metas(output).values())
    assert all(meta["scores"] for meta in metas(output).values())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((*PLUGIN, "--brightness-minimum", "2"), "--brightness-minimum is 2: it must be at least 0 and at most 1"),
        (("--filter-plugin", "no_such_module:Filter"), "cannot be loaded (ModuleNotFoundError"),
        (("--filter-plugin", "brightness_filter:Nothing"), "cannot be loaded (AttributeError"),
        (("--filter-plugin", "brightness_filter:Path"), "a filter is a frozen dataclass derived from"),
        (("--filter-plugin", "sharpness"), "no such filter is installed"),
        (("--brightness-minimum", "0.1"), "--brightness-minimum"),  # nobody named the filter
    ],
)
def test_mistakes(flags: tuple[str, ...], message: str, footage: Path, tmp_path: Path) -> None:
    assert message in run(footage, tmp_path / "out", *flags, expect=2)


def test_a_filter_needs_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    import brightness_filter

    monkeypatch.setattr(brightness_filter.BrightnessFilter, "name", "clips")
    with pytest.raises(UsageError, match="a stage has the name clips already"):
        plan_of(*PLUGIN)
    with pytest.raises(UsageError, match="the flag --brightness-every is there already"):
        monkeypatch.setattr(brightness_filter.BrightnessFilter, "name", "brightness")
        plan_of("--filter-plugin", f"{PLUGIN[1]},{PLUGIN[1]}")


def test_a_config_file_names_it(footage: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("filter_plugin: brightness_filter:BrightnessFilter\nbrightness_minimum: 0.5\n")
    run(footage, tmp_path / "out", *FIXED_STRIDE, "--config", str(config))
    assert summary(tmp_path / "out")["beam_curate"]["clips_filtered_by"] == {"brightness": 2}


def test_the_help_teaches_its_flags(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from beam_curate.options.parse import parse

    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    with pytest.raises(SystemExit):
        parse([*PLUGIN, "--help"])
    printed = capsys.readouterr().out
    assert (
        "--brightness-minimum X" in printed and "--brightness-filter" in printed and "--brightness-every N" in printed
    )
