"""Fingerprints: a hash of everything a stage's results depend on besides the unit it works on.

Each stage's fingerprint holds the one before, so that another option redoes its own stage and what follows, and
nothing that came before. A stage's version is raised by hand when its code gives other results.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from beam_curate.dataset import stage as windows
from beam_curate.models.catalog import CAPTIONERS, T5_XXL, TRANSNETV2, by_name
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options
from beam_curate.plan import captions as captioner
from beam_curate.plan import engines
from beam_curate.store.layout import DATASET
from beam_curate.text_embeddings import stage as text
from beam_curate.video import stage as cutter

SHOTS_STAGE = "shots"
VERSIONS = {
    SHOTS_STAGE: 2,
    cutter.STAGE: 3,
    captioner.STAGE: 3,
    text.STAGE: 2,
    windows.STAGE: 3,
    DATASET.name: 1,
}


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """One fingerprint a stage, and that of the whole, under which videos are done."""

    shots: str
    clips: str
    captions: str
    text: str
    windows: str
    done: str


def fingerprints(options: Options) -> Fingerprints:
    """Works out the fingerprints of a run."""
    split = dataclasses.asdict(options.split)
    # Limits and the size of chunks do not change what a shot is; other limits may make more of a video, though.
    limits = {name: split.pop(name) for name in ("decode_timeout_s", "decode_memory_mb")}
    chunk = split.pop("clip_re_chunk_size")
    prefixes = ("fixed_stride_",) if options.split.splitting_algorithm == "fixed-stride" else ("transnetv2_", "fast_")
    own = {key: value for key, value in split.items() if key.startswith(prefixes)}
    shots = _chain(
        SHOTS_STAGE,
        "",
        algorithm=options.split.splitting_algorithm,
        model=TRANSNETV2.revision,
        limit_clips=options.input.limit_clips,
        **own,
    )
    errors = options.split.max_decode_errors
    clips = _chain(cutter.STAGE, shots, chunk=chunk, errors=errors, **dataclasses.asdict(options.transcode))
    captions = clips
    if options.caption.generate_captions:
        captions = _chain(captioner.STAGE, clips, **_of_captions(options.caption))
    text_, windows_, done = captions, captions, captions
    if options.dataset.generate_cosmos_predict_dataset == "predict2":
        minimum = options.dataset.predict2_min_frames
        text_ = _chain(text.STAGE, captions, **dataclasses.asdict(options.text), model=T5_XXL.revision, minimum=minimum)
        windows_ = _chain(windows.STAGE, text_, minimum=minimum)
        done = _chain(DATASET.name, windows_, validation_fraction=options.dataset.validation_fraction)
    done = _chain("done", done, keep_duplicates=options.input.keep_duplicates, **limits)
    return Fingerprints(shots, clips, captions, text_, windows_, done)


def _of_captions(options: CaptionOptions) -> dict[str, Any]:
    """Returns what captions depend on: not where a server is, nor how often and how long it is asked."""
    parts: dict[str, Any] = {
        "algorithm": options.captioning_algorithm,
        "window_size": options.captioning_window_size,
        "remainder_threshold": options.captioning_remainder_threshold,
    }
    if options.captioning_algorithm == "describe":
        return parts
    prompts = captioner.prompts_of(options)
    parts |= {
        "engine": options.engine,
        "system": prompts.system,
        "prompt": prompts.first_message,
        "stage2_prompt": prompts.second,
        "generation": dataclasses.asdict(engines.sampling_params(options)),
        "sampling": dataclasses.asdict(engines.frame_sampling(options)),
    }
    if options.engine == "endpoint":
        media = options.captioning_endpoint_media
        return parts | {"model": options.captioning_endpoint_model, "media": media}
    parts["model"] = by_name(CAPTIONERS[options.captioning_algorithm]).revision
    if options.engine == "vllm":
        return parts | {"fp8": options.qwen_use_fp8_weights, "media": options.captioning_endpoint_media}
    # How windows are batched changes the order of sums, and so the last bits.
    return parts | {"batch_tokens": options.captioning_batch_tokens}


def _chain(stage: str, before: str, **parts: Any) -> str:
    payload = {"stage": stage, "version": VERSIONS.get(stage, 1), "before": before, "options": parts}
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:16]
