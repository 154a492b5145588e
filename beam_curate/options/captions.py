"""Flags for captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

from beam_curate.options.flags import DAY_S, MOST_FRAMES, Group, flag

MOST_TOKENS = 1_000_000
"""Tokens of a text that can be asked for: above the context of every known model."""

Algorithm = Literal["describe", "qwen", "cosmos_r1", "cosmos_r2", "qwen3_vl_30b", "qwen3_vl_30b_fp8", "openai"]


@dataclasses.dataclass(frozen=True)
class CaptionOptions(Group):
    """Captions."""

    generate_captions: bool = flag(
        True, "Cut clips only: no captions, and so no dataset. For a first look at the clips."
    )
    captioning_algorithm: Algorithm = flag(
        "describe",
        "Who writes the captions. cosmos_r1 and cosmos_r2 are NVIDIA's Cosmos-Reason, qwen is Qwen2.5-VL-7B, "
        "qwen3_vl_30b is Qwen3-VL-30B: they need a GPU. openai is whatever model --captioning-endpoint serves. "
        "describe measures brightness, colour and motion and puts them into plain sentences: it needs no model.",
        planned=("gemini", "nemotron", "qwen3_5_27b", "qwen3_vl_235b", "qwen3_vl_235b_fp8", "vllm_async"),
    )
    captioning_engine: Literal["transformers", "vllm", "endpoint"] | None = flag(
        None,
        "What runs the model: transformers, in the worker itself; vllm, a vLLM server that the worker starts and stops "
        "(much faster on a GPU; install vLLM); endpoint, a server that is already running (--captioning-endpoint).",
        shown_default="endpoint for openai, else transformers",
    )
    captioning_prompt_variant: Literal["default", "av", "av-surveillance"] = flag(
        "default",
        "The prompt: default, a detailed description; av, driving as seen from a car; av-surveillance, "
        "traffic as seen by a fixed camera.",
    )
    captioning_prompt_text: str | None = flag(
        None, "A prompt of your own, instead of --captioning-prompt-variant.", metavar="TEXT"
    )
    captioning_window_size: int = flag(
        256,
        "A clip is captioned window by window, each of this length, and each window is one item of the "
        "dataset. A caption of a shorter window is closer to what happens in it.",
        unit="frames",
        ge=4,
        le=MOST_FRAMES,
    )
    captioning_remainder_threshold: int = flag(
        128,
        "What remains at the end of a clip becomes a window of its own when it has at least this length; else it is "
        "added to the window before it.",
        unit="frames",
        ge=1,
        le=MOST_FRAMES,
    )
    captioning_sampling_fps: float | None = flag(
        None,
        "How many frames of a window the model is shown. More frames show faster motion, and cost time and memory. "
        "The default is the model makers' own.",
        unit="frames/s",
        shown_default="4 for cosmos_r1 and cosmos_r2, else 2",
        gt=0,
        le=60,
    )
    captioning_max_output_tokens: int = flag(
        8192,
        "Longest answer, reasoning included; an answer cut off there is marked truncated. Below 0: no limit.",
        unit="tokens",
        le=MOST_TOKENS,
    )
    captioning_batch_tokens: int = flag(
        32768,
        "Size of a batch of windows of the transformers engine, in tokens of their prompts and frames. Lower it "
        "where GPU memory is short; a batch that does not fit is halved in any case.",
        unit="tokens",
        ge=1,
        le=100 * MOST_TOKENS,
    )
    qwen_stage2_caption: bool = flag(False, "Have the model refine each caption in a second pass over the same frames.")
    qwen_stage2_prompt_text: str | None = flag(
        None, "A prompt of your own for the second pass; the first caption is appended to it.", metavar="TEXT"
    )
    qwen_use_fp8_weights: bool = flag(
        False, "Have vLLM convert the weights to 8-bit floating point while loading: half the memory."
    )
    captioning_endpoint: str | None = flag(
        None,
        "Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1. Its key, if it needs one, is read "
        "from the environment variable OPENAI_API_KEY.",
        metavar="URL",
    )
    captioning_endpoint_model: str = flag(
        "auto", "The model to request; auto takes the one that the server has.", metavar="NAME"
    )
    captioning_endpoint_media: Literal["frames", "mp4"] = flag(
        "frames",
        "How a window is sent: frames, the sampled frames as JPEG; mp4, as video, where the server accepts it.",
    )
    api_caption_batch_size: int = flag(8, "Most concurrent requests to a model server.", unit="requests", ge=1, le=1024)
    openai_caption_retries: int = flag(
        3,
        "How often a request is retried when the server is busy (429), fails (5xx) or does not answer.",
        ge=0,
        le=100,
    )
    openai_retry_delay_seconds: float = flag(
        1.0,
        "Wait before the first retry; it doubles each time, and the server's Retry-After is respected.",
        unit="s",
        ge=0,
        le=3600,
    )
    openai_timeout_s: float = flag(600.0, "Longest wait for an answer from a model server.", unit="s", gt=0, le=DAY_S)
    vllm_command: str = flag(
        "vllm serve",
        "How the vllm engine starts its server; the model's folder, --host and --port are appended.",
        metavar="COMMAND",
    )
    vllm_start_timeout_s: float = flag(
        1800.0, "Longest wait for that server to load its model and be ready.", unit="s", gt=0, le=DAY_S
    )
    vllm_sampling_temperature: float = flag(
        0.0,
        "0 takes the most likely token each time, so that captions are the same on every run; above 0 samples.",
        ge=0,
        le=2,
    )
    vllm_sampling_top_p: float = flag(
        1.0, "Sample from the most likely tokens that together have this probability.", gt=0, le=1
    )
    vllm_sampling_top_k: int = flag(0, "Sample from the k most likely tokens; 0 means no limit.", ge=0, le=MOST_TOKENS)
    vllm_sampling_repetition_penalty: float = flag(
        1.05, "Above 1, tokens of prompt and answer become less likely to be repeated.", gt=0, le=2
    )
    vllm_sampling_presence_penalty: float = flag(
        0.0, "Above 0, tokens of the answer become less likely to be repeated.", ge=-2, le=2
    )
    vllm_sampling_frequency_penalty: float = flag(
        0.0, "The same, in proportion to how often they occurred.", ge=-2, le=2
    )
    vllm_sampling_min_p: float = flag(
        0.0, "Sample from tokens of at least this share of the most likely token's probability.", ge=0, le=1
    )
    vllm_sampling_min_tokens: int = flag(
        16, "Shortest answer: some models otherwise end at once.", unit="tokens", ge=0, le=MOST_TOKENS
    )

    @property
    def engine(self) -> str:
        """The engine in use: ``measures`` for describe, else transformers, vllm or endpoint.

        >>> CaptionOptions(captioning_algorithm="openai").engine
        'endpoint'
        """
        if self.captioning_algorithm == "describe":
            return "measures"
        return self.captioning_engine or ("endpoint" if self.captioning_algorithm == "openai" else "transformers")

    def contradictions(self) -> Iterator[str]:
        """Yields which values contradict each other.

        >>> list(CaptionOptions(captioning_max_output_tokens=0).contradictions())
        ['--captioning-max-output-tokens is 0: give a number above it, or a negative one for no limit']
        """
        if self.captioning_remainder_threshold > self.captioning_window_size:
            yield (
                f"--captioning-remainder-threshold {self.captioning_remainder_threshold} is above "
                f"--captioning-window-size {self.captioning_window_size}: lower the first or raise the second"
            )
        if self.captioning_prompt_text is not None and not self.captioning_prompt_text.strip():
            yield "--captioning-prompt-text is empty: give a prompt, or leave it out"
        if self.captioning_max_output_tokens == 0:
            yield "--captioning-max-output-tokens is 0: give a number above it, or a negative one for no limit"
        if 0 < self.captioning_max_output_tokens < self.vllm_sampling_min_tokens:
            yield (
                f"--vllm-sampling-min-tokens {self.vllm_sampling_min_tokens} is above --captioning-max-output-tokens "
                f"{self.captioning_max_output_tokens}: lower the first or raise the second"
            )
        if not self.generate_captions:
            return
        yield from self._engine_contradictions()

    def _engine_contradictions(self) -> Iterator[str]:
        if self.captioning_algorithm == "openai" and self.engine != "endpoint":
            yield (
                "--captioning-algorithm openai is a server's model, so its engine is endpoint: leave out "
                f"--captioning-engine {self.captioning_engine}, or name the model that it must run"
            )
        if self.engine == "endpoint" and self.captioning_endpoint is None:
            yield "the captions come from a model server: name it with --captioning-endpoint URL"
        if self.captioning_endpoint is not None:
            if self.engine != "endpoint":
                yield (
                    f"--captioning-endpoint is not used by --captioning-algorithm {self.captioning_algorithm} "
                    f"with the engine {self.engine}: add --captioning-engine endpoint, or leave it out"
                )
            url = urlsplit(self.captioning_endpoint)
            if url.scheme not in ("http", "https") or not url.hostname:
                yield f"--captioning-endpoint is {self.captioning_endpoint!r}: give a URL such as http://127.0.0.1:8000/v1"
            if url.username or url.password or url.query:
                yield (
                    "--captioning-endpoint holds a user, password or query, which would be written into records: "
                    "put the key into the environment variable OPENAI_API_KEY"
                )
        if self.qwen_use_fp8_weights and self.engine != "vllm":
            yield "--qwen-use-fp8-weights is done by vLLM: add --captioning-engine vllm, or leave it out"
