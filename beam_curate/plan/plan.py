"""From options to what each stage does: workers, stores and fingerprints of one run."""

from __future__ import annotations

import dataclasses
from typing import Any

from beam_curate.dataset.stage import STAGE as WINDOWS_STAGE
from beam_curate.dataset.stage import WindowCutter
from beam_curate.elements import ClipChunk, Video, VideoShots
from beam_curate.options.parse import Options
from beam_curate.plan.captions import STAGE as CAPTIONS_STAGE
from beam_curate.plan.captions import captioner
from beam_curate.plan.fingerprints import SHOTS_STAGE, Fingerprints, fingerprints
from beam_curate.records.records import RecordContext
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import SceneRules
from beam_curate.shots.stage import FixedStrideDetector, TransNetV2Detector
from beam_curate.stage import Worker
from beam_curate.store.base import Store
from beam_curate.store.results import ResultStore
from beam_curate.text_embeddings import t5
from beam_curate.text_embeddings.stage import STAGE as TEXT_STAGE
from beam_curate.text_embeddings.stage import CaptionEncoder
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from beam_curate.video.stage import STAGE as CLIPS_STAGE
from beam_curate.video.stage import ClipCutter


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run does; `beam_curate.pipeline` puts it into a graph.

    Attributes:
        options: As given.
        output: Where all is written.
        fingerprints: Of the stages.
        detector: Finds spans.
        cutter: Cuts clips.
        captioner: Captions windows; None with ``--no-generate-captions``.
        encoder: Encodes captions; None without a dataset.
        windows: Makes the windows' videos; None without a dataset.
        context: What all records hold.
    """

    options: Options
    output: Store
    fingerprints: Fingerprints
    detector: Worker[Video, VideoShots]
    cutter: Worker[ClipChunk, ClipChunk]
    captioner: Worker[ClipChunk, ClipChunk] | None
    encoder: Worker[ClipChunk, ClipChunk] | None
    windows: Worker[ClipChunk, ClipChunk] | None
    context: RecordContext

    @property
    def limits(self) -> str:
        """Limits of the processes that read sources, in words."""
        split = self.options.split
        return f"--decode-timeout-s {split.decode_timeout_s:g} --decode-memory-mb {split.decode_memory_mb}"

    @property
    def stages(self) -> list[str]:
        """Names of the remembered stages, in order."""
        workers = {
            SHOTS_STAGE: self.detector,
            CLIPS_STAGE: self.cutter,
            CAPTIONS_STAGE: self.captioner,
            TEXT_STAGE: self.encoder,
            WINDOWS_STAGE: self.windows,
        }
        return [stage for stage, worker in workers.items() if worker is not None]

    def store(self, stage: str, result_type: type[Any] = ClipChunk) -> ResultStore[Any]:
        """Returns the store of a stage's results."""
        fingerprint = {
            SHOTS_STAGE: self.fingerprints.shots,
            CLIPS_STAGE: self.fingerprints.clips,
            CAPTIONS_STAGE: self.fingerprints.captions,
            TEXT_STAGE: self.fingerprints.text,
            WINDOWS_STAGE: self.fingerprints.windows,
        }[stage]
        run = self.options.run
        return ResultStore(self.output, stage, fingerprint, result_type, run.retry_failed, self.limits, run.repair)


def make_plan(options: Options, output: Store) -> Plan:
    """Works out what a run does."""
    prints = fingerprints(options)
    limits = Limits(options.split.decode_timeout_s, options.split.decode_memory_mb)
    encoding = encoding_of(options)
    with_dataset = options.dataset.generate_cosmos_predict_dataset == "predict2"
    minimum = options.dataset.predict2_min_frames
    text, run = options.text, options.run
    model = t5.reference(text.text_encoder, run.workspace, text.text_encoder_dtype, run.model_weights_path)
    return Plan(
        options=options,
        output=output,
        fingerprints=prints,
        detector=_detector(options, limits),
        cutter=ClipCutter(output, prints.clips, encoding, limits),
        captioner=captioner(options, output) if options.caption.generate_captions else None,
        encoder=CaptionEncoder(output, prints.text, model, minimum) if with_dataset else None,
        windows=WindowCutter(output, prints.windows, encoding, limits, minimum) if with_dataset else None,
        context=RecordContext(
            output,
            prints.done,
            options.text.text_encoder if with_dataset else None,
            options.dataset.validation_fraction,
        ),
    )


def encoding_of(options: Options) -> Encoding:
    """Returns how clips are encoded."""
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


def _detector(options: Options, limits: Limits) -> Worker[Video, VideoShots]:
    split, limit = options.split, options.input.limit_clips
    if split.splitting_algorithm == "fixed-stride":
        return FixedStrideDetector(
            split.fixed_stride_split_duration, split.fixed_stride_min_clip_length_s, limit, limits
        )
    rules = SceneRules(
        threshold=split.transnetv2_threshold,
        min_length_s=split.transnetv2_min_length_s,
        min_length_frames=split.transnetv2_min_length_frames,
        max_length_s=split.transnetv2_max_length_s,
        max_length_mode=split.transnetv2_max_length_mode,
        crop_s=split.transnetv2_crop_s,
    )
    return TransNetV2Detector(transnetv2.reference(options.run.workspace), rules, limit, limits, split.fast_shots)
