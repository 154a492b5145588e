"""The groups of flags for reading sources and making clips: typed, checked, with their units in the help."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from beam_curate.options.flags import DAY_S, MOST_FRAMES, Group, flag

DEMO_OUTPUT = "beam_curate_demo"
"""Where the output goes when neither input nor output is named."""

SHORTEST_S = 0.1
"""Shortest clip, and shortest wait for a source, that can be asked for: below it a video never ends."""

_EXTENSIONS = ".mp4,.mov,.mkv,.webm,.avi,.m4v,.ts,.mts,.m2ts,.mpg,.mpeg,.mxf,.flv,.wmv,.3gp"


def parse_extensions(text: str) -> tuple[str, ...]:
    """Returns file name extensions, in lower case with a dot, from a comma list; raises ValueError."""
    parts = [part.strip().lower().removeprefix(".") for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch("[a-z0-9]+", part) for part in parts):
        raise ValueError("give extensions separated by commas, such as .mp4,.mov")
    return tuple(dict.fromkeys(f".{part}" for part in parts))


@dataclasses.dataclass(frozen=True)
class InputOptions(Group):
    """Input and output."""

    input_video_path: str | None = flag(
        None,
        "Your footage: a folder, searched with all its subfolders, or a quoted pattern such as "
        "'day1/*/front.mp4'. Without any input a short sample video is made and curated.",
        is_path=True,
        shown_default="sample video",
    )
    input_video_list_json_path: str | None = flag(
        None,
        "A JSON file with a list of video paths, to curate a hand-picked set. Together with "
        "--input-video-path, every listed path must lie below that folder.",
        is_path=True,
        metavar="FILE",
    )
    output_clip_path: str = flag(
        "",
        "The folder for clips, metadata, dataset and report. Name the same folder again to continue: "
        "finished videos are not done twice. Required with an input.",
        is_path=True,
        metavar="FOLDER",
        shown_default=f"{DEMO_OUTPUT} when there is no input",
    )
    input_extensions: tuple[str, ...] = flag(
        parse_extensions(_EXTENSIONS),
        "Which files in a folder count as videos, as a comma list; upper or lower case, with or without the "
        "dot. Other files are left alone.",
        convert=parse_extensions,
        metavar="LIST",
        shown_default=_EXTENSIONS.replace(",", " "),
    )
    limit: int = flag(
        0,
        "How many videos to take that are not finished yet; 0 takes all. Try new settings on a few first.",
        unit="videos",
        minimum=0,
        maximum=1_000_000_000,
    )
    limit_clips: int = flag(
        0,
        "Clips to cut from each video at most, from its beginning; 0 cuts all.",
        unit="clips",
        minimum=0,
        maximum=1_000_000,
    )
    keep_duplicates: bool = flag(
        False,
        "Also curate a file whose content equals that of an earlier one. Normally such copies are skipped, "
        "because footage that occurs twice weighs double in training.",
    )

    @property
    def is_demo(self) -> bool:
        """Whether the sample video is the input."""
        return self.input_video_path is None and self.input_video_list_json_path is None

    def contradictions(self) -> Iterator[str]:
        """Yields what cannot be meant together."""
        if not self.is_demo and not self.output_clip_path:
            yield "--output-clip-path is missing: name the folder for clips and dataset"


@dataclasses.dataclass(frozen=True)
class SplitOptions(Group):
    """Splitting into clips."""

    splitting_algorithm: str = flag(
        "transnetv2",
        "transnetv2 is a neural network that finds where one shot ends and the next begins, so that a clip "
        "holds no cut; fixed-stride cuts every few seconds, which suits footage of one continuous camera.",
        choices=("transnetv2", "fixed-stride"),
    )
    fixed_stride_split_duration: float = flag(
        10.0, "Length of a clip with fixed-stride.", unit="seconds", minimum=SHORTEST_S, maximum=DAY_S
    )
    fixed_stride_min_clip_length_s: float = flag(
        2.0, "A last piece shorter than this is dropped, with fixed-stride.", unit="seconds", minimum=0, maximum=DAY_S
    )
    transnetv2_threshold: float = flag(
        0.4,
        "How sure the network must be that a frame is a cut, from 0 to 1. Raise it when fast motion or "
        "flashes are taken for cuts, lower it when cuts or dissolves are missed.",
        unit="probability",
        minimum=0,
        maximum=1,
    )
    transnetv2_min_length_s: float = flag(
        2.0, "Shots that are shorter than this are dropped.", unit="seconds", minimum=0, maximum=DAY_S
    )
    transnetv2_min_length_frames: int = flag(
        48,
        "Shots with fewer frames than this are dropped too; the larger of both minima counts. Give 120 for "
        "a Cosmos-Predict2 dataset, whose trainer needs 94 frames.",
        unit="frames",
        minimum=0,
        maximum=MOST_FRAMES,
    )
    transnetv2_max_length_s: float = flag(
        60.0,
        "Longest clip; see --transnetv2-max-length-mode for longer shots.",
        unit="seconds",
        minimum=SHORTEST_S,
        maximum=DAY_S,
    )
    transnetv2_max_length_mode: str = flag(
        "stride",
        "A shot above the maximum: stride cuts it into several clips, truncate keeps its beginning.",
        choices=("truncate", "stride"),
    )
    transnetv2_crop_s: float = flag(
        0.5,
        "Cut off at both ends of a shot, where dissolves leave traces of the neighbour; 0 keeps all.",
        unit="seconds",
        minimum=0,
        maximum=DAY_S,
    )
    fast_shots: bool = flag(
        False,
        "Find shots about 1.3 times as fast, with transnetv2: it looks at 300 frames at a time and not at 100, "
        "and never twice. Probabilities move by up to 0.06, so that a faint cut may be found or missed; in three "
        "test videos all 72 shots stayed as they were.",
    )
    clip_re_chunk_size: int = flag(
        32,
        "How much of a video is held, computed and redone together, counted in clips of 8 seconds. Lower it "
        "when memory runs out or to spread an hour-long video over workers.",
        unit="clips of 8 s",
        minimum=1,
        maximum=10_000,
    )
    decode_timeout_s: float = flag(
        300.0,
        "A video fails when reading it makes no progress for this long. Raise it for slow network disks: "
        "what failed of it is then tried again.",
        unit="seconds",
        minimum=SHORTEST_S,
        maximum=DAY_S,
    )
    decode_memory_mb: int = flag(
        4096,
        "A video fails, alone, when reading it needs more memory than this. Raise it for 8K sources: "
        "what failed of it is then tried again.",
        unit="MiB",
        minimum=256,
        maximum=1 << 20,
    )
    max_decode_errors: int = flag(
        0,
        "A clip is left out when more of its frames are lost or damaged in the source than this. 0 keeps "
        "every smeared picture out of the dataset.",
        unit="frames",
        minimum=0,
        maximum=MOST_FRAMES,
    )

    def contradictions(self) -> Iterator[str]:
        """Yields what cannot be meant together."""
        if self.transnetv2_max_length_s < self.transnetv2_min_length_s:
            yield (
                f"--transnetv2-max-length-s {self.transnetv2_max_length_s:g} is below "
                f"--transnetv2-min-length-s {self.transnetv2_min_length_s:g}, so no clip is left: "
                "raise the first or lower the second"
            )


@dataclasses.dataclass(frozen=True)
class TranscodeOptions(Group):
    """Encoding of clips (H.264 in mp4)."""

    transcode_encoder: str = flag(
        "libx264",
        "libx264 gives the best picture for its size on any processor; libopenh264 is for builds without "
        "it; h264_nvenc encodes on an NVIDIA GPU that has an encoder (A100 and H100 have none).",
        choices=("libx264", "libopenh264", "h264_nvenc"),
    )
    transcode_encoder_threads: int = flag(
        1,
        "Threads for each clip. 1 keeps all cores busy; with more, files differ from run to run.",
        unit="threads",
        minimum=1,
        maximum=64,
    )
    transcode_crf: int = flag(
        18,
        "Constant quality: 0 is lossless, 18 looks like the source. Each step of 6 about halves the size.",
        unit="quality",
        minimum=0,
        maximum=51,
    )
    transcode_preset: str = flag(
        "veryfast",
        "How much time libx264 spends on each clip; slower presets make smaller files of the same quality.",
        choices=(
            *("ultrafast", "superfast", "veryfast", "faster", "fast"),
            *("medium", "slow", "slower", "veryslow", "placebo"),
        ),
    )
    transcode_use_input_video_bit_rate: bool = flag(
        False, "Encode at the bit rate of the source instead of constant quality."
    )
    transcode_bit_rate_kbps: int | None = flag(
        None,
        "Encode at this bit rate instead of constant quality, for a dataset of foreseeable size.",
        unit="kbit/s",
        minimum=1,
        maximum=1_000_000,
        shown_default="constant quality",
    )
    transcode_max_output_frames: int | None = flag(
        None,
        "A clip with more frames than this gets a lower frame rate and lasts as long.",
        unit="frames",
        minimum=1,
        maximum=MOST_FRAMES,
        shown_default="keep all",
    )
    interlaced: str = flag(
        "deinterlace",
        "What becomes of interlaced footage: deinterlace makes one whole picture of each frame, refuse leaves "
        "such clips out.",
        choices=("deinterlace", "refuse"),
    )
    hdr: str = flag(
        "tonemap",
        "What becomes of HDR footage (HDR10, HLG): tonemap makes ordinary BT.709 pictures, keep stores its values "
        "in 8 bits with HDR marks, which most readers show too grey.",
        choices=("tonemap", "keep"),
    )

    def contradictions(self) -> Iterator[str]:
        """Yields what cannot be meant together."""
        if self.transcode_use_input_video_bit_rate and self.transcode_bit_rate_kbps is not None:
            yield "--transcode-use-input-video-bit-rate contradicts --transcode-bit-rate-kbps: leave one out"
