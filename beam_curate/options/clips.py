"""Flags for splitting videos into clips and encoding them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from beam_curate.options.flags import DAY_S, MOST_FRAMES, Group, flag

SHORTEST_S = 0.1
"""Shortest clip, and shortest decode timeout, that can be asked for."""

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]


@dataclasses.dataclass(frozen=True)
class SplitOptions(Group):
    """Splitting into clips."""

    splitting_algorithm: Literal["transnetv2", "fixed-stride"] = flag(
        "transnetv2",
        "transnetv2 is a neural network that finds where one shot ends and the next begins, so that a clip "
        "contains no cut; fixed-stride cuts every few seconds, which suits footage of one continuous camera.",
    )
    fixed_stride_split_duration: float = flag(
        10.0, "Length of a clip with fixed-stride.", unit="seconds", ge=SHORTEST_S, le=DAY_S
    )
    fixed_stride_min_clip_length_s: float = flag(
        2.0, "A last piece shorter than this is dropped, with fixed-stride.", unit="seconds", ge=0, le=DAY_S
    )
    transnetv2_threshold: float = flag(
        0.4,
        "How sure the network must be that a frame is a cut. Raise it when fast motion or "
        "flashes are taken for cuts, lower it when cuts or dissolves are missed.",
        unit="probability",
        ge=0,
        le=1,
    )
    transnetv2_min_length_s: float = flag(
        2.0, "Shots that are shorter than this are dropped.", unit="seconds", ge=0, le=DAY_S
    )
    transnetv2_min_length_frames: int = flag(
        48,
        "Shots with fewer frames than this are dropped too; the larger of both minima counts. Give 120 for "
        "a Cosmos-Predict2 dataset, whose trainer needs 94 frames.",
        unit="frames",
        ge=0,
        le=MOST_FRAMES,
    )
    transnetv2_max_length_s: float = flag(
        60.0,
        "Longest clip; --transnetv2-max-length-mode says what happens to longer shots.",
        unit="seconds",
        ge=SHORTEST_S,
        le=DAY_S,
    )
    transnetv2_max_length_mode: Literal["truncate", "stride"] = flag(
        "stride",
        "What to do with a shot above the maximum: stride cuts it into several clips, truncate keeps its beginning.",
    )
    transnetv2_crop_s: float = flag(
        0.5,
        "How much to cut off at both ends of a shot, where dissolves leave traces of its neighbours; 0 keeps all.",
        unit="seconds",
        ge=0,
        le=DAY_S,
    )
    fast_shots: bool = flag(
        False,
        "Detect shots about 1.3 times as fast, with transnetv2: it processes 300 frames at a time instead of 100, "
        "and no frame twice. Probabilities change by up to 0.06, so that a faint cut may be found or missed; in three "
        "test videos all 72 shots stayed the same.",
    )
    clip_re_chunk_size: int = flag(
        32,
        "How much of a video is loaded, computed and redone together, counted in clips of 8 seconds. Lower it "
        "when memory runs out or to spread an hour-long video over workers.",
        unit="clips of 8 s",
        ge=1,
        le=10_000,
    )
    decode_timeout_s: float = flag(
        300.0,
        "A video fails when reading it makes no progress for this long. Raise it for slow network disks: "
        "what failed of it is then retried.",
        unit="seconds",
        ge=SHORTEST_S,
        le=DAY_S,
    )
    decode_memory_mb: int = flag(
        4096,
        "A video fails, without affecting others, when reading it needs more memory than this. Raise it for 8K "
        "sources: what failed of it is then retried.",
        unit="MiB",
        ge=256,
        le=1 << 20,
    )
    max_decode_errors: int = flag(
        0,
        "A clip is left out when more of its frames than this are lost or damaged in the source. 0 keeps "
        "every smeared frame out of the dataset.",
        unit="frames",
        ge=0,
        le=MOST_FRAMES,
    )

    def contradictions(self) -> Iterator[str]:
        """Yields which values contradict each other.

        >>> [sentence.split()[0] for sentence in SplitOptions(transnetv2_max_length_s=1).contradictions()]
        ['--transnetv2-max-length-s']
        """
        if self.transnetv2_max_length_s < self.transnetv2_min_length_s:
            yield (
                f"--transnetv2-max-length-s {self.transnetv2_max_length_s:g} is below "
                f"--transnetv2-min-length-s {self.transnetv2_min_length_s:g}, so no clip is left: "
                "raise the first or lower the second"
            )


@dataclasses.dataclass(frozen=True)
class TranscodeOptions(Group):
    """Encoding of clips (H.264 in mp4)."""

    transcode_encoder: Literal["libx264", "libopenh264", "h264_nvenc"] = flag(
        "libx264",
        "libx264 gives the best quality for its size on any CPU; libopenh264 is for builds without "
        "it; h264_nvenc encodes on an NVIDIA GPU that has an encoder (A100 and H100 have none).",
    )
    transcode_encoder_threads: int = flag(
        1,
        "Encoder threads per clip. 1 keeps all cores busy; with more, files differ from run to run.",
        unit="threads",
        ge=1,
        le=64,
    )
    transcode_crf: int = flag(
        18,
        "Constant quality: 0 is lossless, 18 looks like the source. Each step of 6 about halves the size.",
        unit="quality",
        ge=0,
        le=51,
    )
    transcode_preset: Preset = flag(
        "veryfast",
        "How much time libx264 spends on each clip; slower presets make smaller files of the same quality.",
    )
    transcode_use_input_video_bit_rate: bool = flag(
        False, "Encode at the bit rate of the source instead of constant quality."
    )
    transcode_bit_rate_kbps: int | None = flag(
        None,
        "Encode at this bit rate instead of constant quality, for a dataset of predictable size.",
        unit="kbit/s",
        ge=1,
        le=1_000_000,
        shown_default="constant quality",
    )
    transcode_max_output_frames: int | None = flag(
        None,
        "A clip with more frames than this gets a lower frame rate and the same duration.",
        unit="frames",
        ge=1,
        le=MOST_FRAMES,
        shown_default="keep all",
    )
    interlaced: Literal["deinterlace", "refuse"] = flag(
        "deinterlace",
        "What to do with interlaced footage: deinterlace makes one progressive frame of each interlaced "
        "one, refuse leaves such clips out.",
    )
    hdr: Literal["tonemap", "keep"] = flag(
        "tonemap",
        "What to do with HDR footage (HDR10, HLG): tonemap makes ordinary BT.709 frames, keep stores its values "
        "in 8 bits with HDR metadata, which most players show too grey.",
    )

    def contradictions(self) -> Iterator[str]:
        """Yields which values contradict each other.

        >>> options = TranscodeOptions(transcode_use_input_video_bit_rate=True, transcode_bit_rate_kbps=900)
        >>> list(options.contradictions())
        ['--transcode-use-input-video-bit-rate contradicts --transcode-bit-rate-kbps: leave one out']
        """
        if self.transcode_use_input_video_bit_rate and self.transcode_bit_rate_kbps is not None:
            yield "--transcode-use-input-video-bit-rate contradicts --transcode-bit-rate-kbps: leave one out"
