"""From options to the stages of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from beam_curate.dataset.stage import WindowCutter
from beam_curate.elements import Video, VideoShots
from beam_curate.errors import UsageError
from beam_curate.filters import aesthetic
from beam_curate.filters.aesthetic import SCORE_ONLY, AestheticFilter
from beam_curate.filters.base import ClipFilter
from beam_curate.filters.motion import MotionFilter
from beam_curate.options.parse import Options
from beam_curate.plan.captions import captioner
from beam_curate.plan.places import sources_of, weights_of
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import SceneRules
from beam_curate.shots.stage import FixedStrideDetector, TransNetV2Detector
from beam_curate.stage import Stage
from beam_curate.text_embeddings import t5
from beam_curate.text_embeddings.stage import CaptionEncoder
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from beam_curate.video.stage import ClipCutter


def stages_of(options: Options) -> list[Stage[Any, Any]]:
    """Returns the stages of a run in order. A new stage on chunks is one more entry here.

    >>> [stage.name for stage in stages_of(Options())]
    ['shots', 'clips', 'captions']
    """
    split, filters = options.split, list(_filters(options))
    may_reject = any(one.rejects for one in filters)
    sources = sources_of(options)
    stages: list[Stage[Any, Any]] = [
        _detector(options),
        ClipCutter(encoding_of(options), split.clip_re_chunk_size, limits_of(options), sources, may_reject),
        *filters,
        *_after_clips(options),
    ]
    names = [stage.name for stage in stages]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--filter-plugin: a stage has the name {twice} already: rename the filter")
    return stages


def _filters(options: Options) -> Iterator[ClipFilter]:
    """Yields the filters, cheap ones first: what one rejects, later ones do not score."""
    chosen = options.filter
    if chosen.motion_filter != "disable":
        yield MotionFilter(
            rejects=chosen.motion_filter == "enable",
            global_mean_threshold=chosen.motion_global_mean_threshold,
            per_patch_min_256_threshold=chosen.motion_per_patch_min_256_threshold,
            target_fps=chosen.motion_decode_target_fps,
            duration_ratio=chosen.motion_decode_target_duration_ratio,
        )
    if chosen.aesthetic_threshold is not None:
        yield AestheticFilter(
            rejects=chosen.aesthetic_threshold > SCORE_ONLY,
            model=aesthetic.reference(options.run.workspace, weights_of(options)),
            threshold=chosen.aesthetic_threshold,
            reduction=chosen.aesthetic_reduction,
        )
    for plugin in options.plugins:
        found = plugin.filter()
        if not isinstance(found, ClipFilter | None):
            raise UsageError(f"the filter {plugin.kind.name} does not derive from beam_curate.filters.base.ClipFilter")
        if found is not None:
            yield found


def _after_clips(options: Options) -> Iterator[Stage[Any, Any]]:
    if options.caption.generate_captions:
        yield captioner(options)
    if options.dataset.generate_cosmos_predict_dataset == "predict2":
        text, run, min_frames = options.text, options.run, options.dataset.predict2_min_frames
        encoder = t5.reference(text.text_encoder, run.workspace, text.text_encoder_dtype, weights_of(options))
        yield CaptionEncoder(encoder, min_frames)
        yield WindowCutter(encoding_of(options), min_frames, limits_of(options))


def limits_of(options: Options) -> Limits:
    """Returns the limits of the processes that read sources.

    >>> limits_of(Options()).timeout_s
    300.0
    """
    return Limits(options.split.decode_timeout_s, options.split.decode_memory_mb)


def encoding_of(options: Options) -> Encoding:
    """Returns how clips are encoded.

    >>> encoding_of(Options()).encoder
    'libx264'
    """
    transcode = options.transcode
    return Encoding(
        encoder=transcode.transcode_encoder,
        crf=transcode.transcode_crf,
        preset=transcode.transcode_preset,
        threads=transcode.transcode_encoder_threads,
        bit_rate_kbps=transcode.transcode_bit_rate_kbps,
        use_input_bit_rate=transcode.transcode_use_input_video_bit_rate,
        max_output_frames=transcode.transcode_max_output_frames,
        max_decode_errors=options.split.max_decode_errors,
        interlaced=transcode.interlaced,
        hdr=transcode.hdr,
    )


def _detector(options: Options) -> Stage[Video, VideoShots]:
    split, limit_clips = options.split, options.input.limit_clips
    limits, sources = limits_of(options), sources_of(options)
    if split.splitting_algorithm == "fixed-stride":
        return FixedStrideDetector(
            split.fixed_stride_split_duration, split.fixed_stride_min_clip_length_s, limit_clips, limits, sources
        )
    rules = SceneRules(
        threshold=split.transnetv2_threshold,
        min_length_s=split.transnetv2_min_length_s,
        min_length_frames=split.transnetv2_min_length_frames,
        max_length_s=split.transnetv2_max_length_s,
        max_length_mode=split.transnetv2_max_length_mode,
        crop_s=split.transnetv2_crop_s,
    )
    network = transnetv2.reference(options.run.workspace)
    return TransNetV2Detector(network, rules, limit_clips, limits, split.fast_shots, sources)
