"""From options to the model that captions, and what runs it."""

from __future__ import annotations

from beam_curate.captions.frames import SamplingRules
from beam_curate.engines import endpoint, transformers_engine, vllm
from beam_curate.engines.base import Generation
from beam_curate.models.catalog import CAPTIONERS, by_name
from beam_curate.models.slot import ModelRef
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options

# Frames/s, pixels a side of a visual token and most visual tokens in the Qwen2.5-VL family; of a server's model
# nothing is known.
_USUAL = 2.0, 28, 24576
# Of all pictures of a window: half of the context of the servers that are started here, which also holds the answer.
_PICTURE_TOKENS = 16384


def engine_reference(options: Options) -> ModelRef:
    """Returns a reference to what ``--captioning-engine`` names; what it loads is an `Engine`."""
    caption = options.caption
    if caption.engine == "endpoint":
        return endpoint.reference(caption)
    if caption.engine == "vllm":
        return vllm.reference(caption, options.run.workspace, options.run.model_weights_path)
    model = by_name(CAPTIONERS[caption.captioning_algorithm])
    return transformers_engine.reference(model, options.run.workspace, options.run.model_weights_path)


def generation(options: CaptionOptions) -> Generation:
    """Returns how captions are generated."""
    limit = options.captioning_max_output_tokens
    return Generation(
        max_output_tokens=limit if limit > 0 else None,
        temperature=options.vllm_sampling_temperature,
        top_p=options.vllm_sampling_top_p,
        top_k=options.vllm_sampling_top_k,
        repetition_penalty=options.vllm_sampling_repetition_penalty,
        presence_penalty=options.vllm_sampling_presence_penalty,
        frequency_penalty=options.vllm_sampling_frequency_penalty,
        min_p=options.vllm_sampling_min_p,
        min_tokens=options.vllm_sampling_min_tokens,
    )


def sampling_rules(options: CaptionOptions) -> SamplingRules:
    """Returns how the model looks at a window: as the options say, else as its makers do."""
    name = CAPTIONERS.get(options.captioning_algorithm)
    fps, patch, visual_tokens = _USUAL
    if name is not None:
        model = by_name(name)
        fps, patch, visual_tokens = model.sampling_fps, model.patch, model.visual_tokens
    fps = options.captioning_sampling_fps or fps
    if options.engine in ("endpoint", "vllm") and options.captioning_endpoint_media == "frames":
        return SamplingRules(fps, patch, min(visual_tokens, _PICTURE_TOKENS), frames_per_token=1)
    return SamplingRules(fps, patch, visual_tokens)
