"""What a dry run foretells, and names that would act on the terminal."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest

from beam_curate.cli.main import main
from beam_curate.dataset.verify.faults import Fault, Report, print_report
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from beam_curate.progress import terminal
from beam_curate.report.dry_run import estimate
from beam_curate.video.decode import SourceHeader
from tests.support.program import DESCRIBED

HOSTILE = ["a\x1b[2Jb", "a\nb", "a\rb", "a\u202eb", "a\udce9b", "[red]b"]
KIB = 1024


def header(seconds: float) -> SourceHeader:
    rate = Fraction(24)
    return SourceHeader(320, 240, rate, 1 / rate, "h264", "yuv420p", None, "mp4", 0, round(seconds * 24), seconds)


@pytest.mark.parametrize(
    ("flags", "embeddings", "copies"),
    [
        # An hour in clips of 5 s is 720 clips of 120 frames, each one window; 512 tokens of 1024 values of 2 bytes.
        ("--fixed-stride-split-duration 5", 720 * 512 * 2 * KIB, 1),
        ("--fixed-stride-split-duration 3", 0, 1),  # 72 frames are too few for the trainer
        # 40 s are 960 frames, 4 windows, whose videos stand beside the clip.
        ("--fixed-stride-split-duration 40", 90 * 4 * 512 * 2 * KIB, 2),
        ("--fixed-stride-split-duration 5 --generate-cosmos-predict-dataset disable", 0, 1),
    ],
)
def test_the_estimate_counts_what_lies_on_the_disk(flags: str, embeddings: int, copies: int) -> None:
    line = [*DESCRIBED, "--input-video-path=in", "--output-clip-path=out", "--splitting-algorithm=fixed-stride"]
    videos = 3600 * 24 * 320 * 240 * 0.12 / 8
    _, size = estimate(header(3600), make_plan(parse([*line, *flags.split()])))
    assert size == pytest.approx(copies * videos + embeddings)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_on_a_dataset_is_a_line_a_fault_whatever_names_and_files_hold(name: str) -> None:
    printed = io.StringIO()
    faults = (Fault(Path("d") / name, "embedding", f"has {name} in it", "stem"),)
    print_report(Report(Path(name), 1, 1, 1.0, faults, ()), terminal.console(file=printed, width=100))
    text = printed.getvalue()
    assert f"d/{terminal.shown(name)}: has {terminal.shown(name)} in it\n" in text
    assert not {"\x1b", "\r", "\u202e", "\udce9"} & set(text)


def test_a_dry_run_without_input_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--dry-run"]) == 0
    assert "Nothing was written." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
