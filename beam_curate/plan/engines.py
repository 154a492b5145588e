"""From options to the captioning model and the engine that runs it."""

from __future__ import annotations

from beam_curate.captions.frames import FrameSampling
from beam_curate.engines import endpoint, transformers_engine, vllm
from beam_curate.engines.base import SamplingParams
from beam_curate.engines.endpoint import Endpoint, RequestPolicy
from beam_curate.engines.vllm import VllmServer
from beam_curate.models.catalog import CAPTIONERS, Model, by_name
from beam_curate.models.slot import ModelRef
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options
from beam_curate.plan.places import weights_of
from beam_curate.plan.requirements import required_text_encoder

# Frames/s, pixels a side of a visual token and most visual tokens in the Qwen2.5-VL family; nothing is known of an
# endpoint's model.
_USUAL = 2.0, 28, 24576
# For all images of a window: half of the context of the servers that are started here, which also holds the completion.
_IMAGE_TOKENS = 16384


def engine_reference(options: Options) -> ModelRef:
    """Returns a reference to the engine that ``--captioning-engine`` names; what it loads is an `Engine`.

    >>> engine_reference(Options(caption=CaptionOptions(captioning_algorithm="qwen"))).name
    'qwen2.5_vl'
    """
    caption, run = options.caption, options.run
    if caption.engine == "endpoint":
        return endpoint.reference(endpoint_of(caption), request_policy(caption))
    model = captioning_model(caption)
    assert model is not None
    if caption.engine == "vllm":
        server, policy = vllm_server(options), request_policy(caption)
        return vllm.reference(model, server, policy, run.workspace, weights_of(options))
    return transformers_engine.reference(model, run.workspace, weights_of(options))


def model_server(options: Options) -> Endpoint | VllmServer | None:
    """Returns the server that captions come from; None where the worker itself runs the model, or without one.

    >>> model_server(Options()) is None  # measured captions need none
    True
    """
    caption = options.caption
    if not caption.generate_captions:
        return None
    if caption.engine == "endpoint":
        return endpoint_of(caption)
    return vllm_server(options) if caption.engine == "vllm" else None


def captioning_model(options: CaptionOptions) -> Model | None:
    """Returns the model that ``--captioning-algorithm`` names; None for one that only an endpoint knows.

    >>> captioning_model(CaptionOptions(captioning_algorithm="cosmos_r1")).model_id
    'nvidia/Cosmos-Reason1-7B'
    """
    name = CAPTIONERS.get(options.captioning_algorithm)
    return by_name(name) if name else None


def endpoint_of(options: CaptionOptions) -> Endpoint:
    """Returns the endpoint and its model.

    >>> endpoint_of(CaptionOptions(captioning_endpoint="http://127.0.0.1:8000/v1")).url
    'http://127.0.0.1:8000/v1'
    """
    assert options.captioning_endpoint is not None
    model = None if options.captioning_endpoint_model == "auto" else options.captioning_endpoint_model
    return Endpoint(options.captioning_endpoint, model, options.captioning_endpoint_media)


def request_policy(options: CaptionOptions) -> RequestPolicy:
    """Returns how requests are sent to a server.

    >>> request_policy(CaptionOptions(openai_caption_retries=5)).retries
    5
    """
    return RequestPolicy(
        concurrency=options.api_caption_batch_size,
        retries=options.openai_caption_retries,
        delay_s=options.openai_retry_delay_seconds,
        timeout_s=options.openai_timeout_s,
    )


def vllm_server(options: Options) -> VllmServer:
    """Returns how a vLLM server is started.

    >>> vllm_server(Options(caption=CaptionOptions(qwen_use_fp8_weights=True))).fp8
    True
    """
    caption, encoder = options.caption, required_text_encoder(options)
    return VllmServer(
        command=caption.vllm_command,
        media=caption.captioning_endpoint_media,
        fp8=caption.qwen_use_fp8_weights,
        start_timeout_s=caption.vllm_start_timeout_s,
        others_gb=encoder.gpu_gb if encoder else 0.0,
    )


def sampling_params(options: CaptionOptions) -> SamplingParams:
    """Returns how captions are generated.

    >>> sampling_params(CaptionOptions(vllm_sampling_temperature=0.7)).temperature
    0.7
    """
    limit = options.captioning_max_output_tokens
    return SamplingParams(
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


def frame_sampling(options: CaptionOptions) -> FrameSampling:
    """Returns how the model looks at a window: as the options say, else as its makers do.

    >>> frame_sampling(CaptionOptions(captioning_algorithm="cosmos_r1")).fps
    4.0
    """
    model = captioning_model(options)
    fps, patch, visual_tokens = (model.sampling_fps, model.patch, model.visual_tokens) if model else _USUAL
    fps = options.captioning_sampling_fps or fps
    if options.engine in ("endpoint", "vllm") and options.captioning_endpoint_media == "frames":
        return FrameSampling(fps, patch, min(visual_tokens, _IMAGE_TOKENS), frames_per_token=1)
    return FrameSampling(fps, patch, visual_tokens)
