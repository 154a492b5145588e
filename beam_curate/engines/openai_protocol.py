"""The OpenAI chat completions protocol: the messages and fields of a request, the list of models, the API key."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_curate.engines.base import Request, SamplingParams
from beam_curate.engines.completion import beginning
from beam_curate.errors import ModelServerError, SetupError

KEY = "OPENAI_API_KEY"
"""The environment variable with a server's API key; it is read by the process that sends requests."""

# JPEG artefacts are invisible from about 90 on; 95 would take half as much space again.
_JPEG_QUALITY = 90
# x264's scale; visually lossless, as clips are encoded.
_CRF = "18"
_CODEC_FLAG_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no encoder version in the stream

EXTRAS = ("top_k", "min_p", "repetition_penalty", "min_tokens")
"""Fields that vLLM and others support beyond OpenAI's."""


def messages(request: Request, media: str) -> list[dict[str, Any]]:
    """Returns the messages of a request: a system message, if any, and a user message with media before the text.

    >>> from pathlib import Path
    >>> request = Request("What happens?", np.zeros((2, 56, 56, 3), np.uint8), 2.0, 0, 23)
    >>> [part["type"] for part in messages(request, "frames")[0]["content"]]
    ['image_url', 'image_url', 'text']

    Args:
        request: Prompt and frames.
        media: ``frames`` for a JPEG per sampled frame, with their timestamps at the beginning of the text; ``mp4`` for
            a video with a constant frame rate that shows each frame at its time.
    """
    if media == "mp4":
        parts = [_part("video_url", "video/mp4", _mp4(_at_even_steps(request), 1 / request.step_s))]
        text = request.prompt
    else:
        parts = [_part("image_url", "image/jpeg", picture) for picture in _jpegs(request.frames)]
        text = f"{_times(request)}\n\n{request.prompt}"
    asked = {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
    return [asked] if request.system is None else [{"role": "system", "content": request.system}, asked]


def parameters(params: SamplingParams, seed: int, *, strict: bool) -> dict[str, Any]:
    """Returns the sampling fields of a request; neutral values are omitted, except the temperature.

    >>> parameters(SamplingParams(100, top_k=40), seed=0, strict=False)
    {'top_k': 40, 'temperature': 0.0, 'max_tokens': 100}

    Args:
        params: Sampling parameters.
        seed: Seed of random sampling.
        strict: Whether the server accepts OpenAI's own fields only: none of `EXTRAS`, and ``max_completion_tokens``
            instead of ``max_tokens``.
    """
    neutral = SamplingParams(max_output_tokens=None)
    if params.against_repetition:
        params = _against_repetition(params, strict=strict)
    names = ["top_p", "presence_penalty", "frequency_penalty", *([] if strict else EXTRAS)]
    fields = {name: getattr(params, name) for name in names if getattr(params, name) != getattr(neutral, name)}
    fields["temperature"] = params.temperature
    if params.temperature > 0:
        fields["seed"] = seed
    if params.max_output_tokens is not None:
        fields["max_completion_tokens" if strict else "max_tokens"] = params.max_output_tokens
    return fields


def _against_repetition(params: SamplingParams, *, strict: bool) -> SamplingParams:
    if strict:
        return dataclasses.replace(params, frequency_penalty=max(0.5, params.frequency_penalty))
    return params.penalized


def read_models(body: str) -> list[str]:
    """Returns the names in the body of a list of models.

    >>> read_models('{"object": "list", "data": [{"id": "Qwen/Qwen2.5-VL-7B-Instruct"}]}')
    ['Qwen/Qwen2.5-VL-7B-Instruct']

    Raises:
        ModelServerError: It is not such a list.
    """
    try:
        return [str(model["id"]) for model in json.loads(body)["data"] or []]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelServerError(f"its response is not a list of models: {beginning(body)}") from error


def api_key() -> str | None:
    """Returns the API key in the environment, or None.

    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, {"OPENAI_API_KEY": " example "}):
    ...     api_key()
    'example'

    Raises:
        SetupError: It has characters that are not allowed in a header.
    """
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SetupError(
            f"the environment variable {KEY} is not a valid API key: it holds a space, line break or the like"
        )
    return key or None


def only_model(names: Sequence[str], url: str) -> str:
    """Returns the only model that a server lists.

    >>> only_model(["tiny"], "http://127.0.0.1:8000/v1")
    'tiny'

    Raises:
        SetupError: It lists none or several.
    """
    if len(names) == 1:
        return names[0]
    listed = f"several models, {', '.join(names)}" if names else "no models"
    raise SetupError(f"the model server {url} lists {listed}: choose one with --captioning-endpoint-model")


def _part(kind: str, media_type: str, content: bytes) -> dict[str, Any]:
    return {"type": kind, kind: {"url": f"data:{media_type};base64,{base64.b64encode(content).decode()}"}}


def _times(request: Request) -> str:
    """Returns a sentence with the timestamps of the frames."""
    rate = f", {1 / request.step_s:.3g} per second" if request.is_even else ""
    times = ", ".join(f"{second:.2f}" for second in request.seconds)
    return f"The pictures are frames of a video{rate}, seen at these times in seconds: {times}."


def _at_even_steps(request: Request) -> NDArray[np.uint8]:
    """Returns as many frames on an even grid: those of a variable rate are repeated or dropped by their timestamps."""
    if request.is_even:
        return request.frames
    seconds = np.asarray(request.seconds)
    even = np.linspace(seconds[0], seconds[-1], len(seconds))
    return request.frames[np.abs(even[:, None] - seconds).argmin(axis=1)]


def _jpegs(frames: NDArray[np.uint8]) -> Iterator[bytes]:
    from PIL import Image

    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=_JPEG_QUALITY)
        yield file.getvalue()


def _mp4(frames: NDArray[np.uint8], frame_rate: float) -> bytes:
    import av

    rate = Fraction(frame_rate).limit_denominator(1000)
    file = io.BytesIO()
    options = {"preset": "veryfast", "crf": _CRF, "threads": "1"}
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.flags |= _CODEC_FLAG_BITEXACT
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
