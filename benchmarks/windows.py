"""Making the windows of a 40 s clip in 720p: by copying packets, against encoding each window."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import in_fresh_folder, in_turn, report
from footage import make_footage

from beam_curate.captions.windows import WindowRules
from beam_curate.elements import ClipFile, Span, VideoInfo
from beam_curate.store.stage_files import StageFiles
from beam_curate.video import decoder_pool
from beam_curate.video.encode import Encoding
from beam_curate.video.stage import copy_files, cut_files
from beam_curate.video.timeline import Timeline
from tests.support.output import Output

SECONDS = 40
LIMITS = decoder_pool.Limits()
ENCODING = Encoding()


def timeline_of(path: Path) -> Timeline:
    """Reads the times of all frames, with which each side begins."""
    header, times = decoder_pool.stream("packet_times", str(path), limits=LIMITS)
    return Timeline(header, times)


def clip_of(source: Path, folder: Path) -> Path:
    """Cuts a whole video into one clip."""
    timeline = timeline_of(source)
    span = timeline.span("clip", 0, timeline.info.num_frames)
    ((_, media),) = cut_files(_files(folder), str(source), timeline.info, [span], ENCODING, LIMITS)
    assert isinstance(media, ClipFile), media
    return Output(folder).stored(media.file)


def windows_of(clip: Path) -> tuple[VideoInfo, list[Span]]:
    """Divides a clip as captions do by default."""
    timeline = timeline_of(clip)
    ranges = WindowRules().divide(timeline.info.num_frames)
    return timeline.info, [timeline.span(f"{first}_{last}", first, last + 1) for first, last in ranges]


def copying(clip: Path, folder: Path) -> None:
    """Copies the windows, as the program does."""
    info, spans = windows_of(clip)
    _check(spans, dict(copy_files(_files(folder), str(clip), info, spans, LIMITS)))


def encoding(clip: Path, folder: Path) -> None:
    """Encodes the windows, as the program does where one does not begin with a key frame."""
    info, spans = windows_of(clip)
    _check(spans, dict(cut_files(_files(folder), str(clip), info, spans, ENCODING, LIMITS)))


def _check(spans: Sequence[Span], made: dict[str, ClipFile | Exception]) -> None:
    for span in spans:
        media = made[span.clip_id]
        assert isinstance(media, ClipFile), media
        assert media.num_frames == span.num_frames


def _files(folder: Path) -> StageFiles:
    return StageFiles(Output(folder), "windows", "benchmark")


def main() -> None:
    """Prints one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = clip_of(make_footage(folder / "source.mp4", seconds=SECONDS), folder / "clips")
        copied, encoded = in_turn(
            functools.partial(in_fresh_folder, folder / "copied", functools.partial(copying, clip)),
            functools.partial(in_fresh_folder, folder / "encoded", functools.partial(encoding, clip)),
        )
        count = len(windows_of(clip)[1])
        report("windows", encoded / copied, ">=20", f"{count} windows: copied {copied:.2f} s, encoded {encoded:.2f} s")


if __name__ == "__main__":
    main()
