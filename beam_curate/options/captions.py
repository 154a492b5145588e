"""The group of flags for captions: typed, checked, with their units in the help."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from urllib.parse import urlsplit

from beam_curate.options.flags import DAY_S, MOST_FRAMES, Group, flag

MOST_TOKENS = 1_000_000
"""Tokens of a text that can be asked for: above the context of the models that are known."""


@dataclasses.dataclass(frozen=True)
class CaptionOptions(Group):
    """Captions."""

    generate_captions: bool = flag(
        True, "Cut clips only: no captions, and so no dataset. For a first look at the clips."
    )
    captioning_algorithm: str = flag(
        "describe",
        "Who writes the captions. cosmos_r1 and cosmos_r2 are NVIDIA's Cosmos-Reason, qwen is Qwen2.5-VL-7B, "
        "qwen3_vl_30b is Qwen3-VL-30B: they want a GPU. openai is whatever model --captioning-endpoint serves. "
        "describe measures brightness, colour and motion and says so in plain sentences: it needs no model.",
        choices=("describe", "qwen", "cosmos_r1", "cosmos_r2", "qwen3_vl_30b", "qwen3_vl_30b_fp8", "openai"),
        planned=("gemini", "nemotron", "qwen3_5_27b", "qwen3_vl_235b", "qwen3_vl_235b_fp8", "vllm_async"),
    )
    captioning_engine: str | None = flag(
        None,
        "What runs the model: transformers, in the worker itself; vllm, a vLLM server that the worker starts and stops "
        "(much faster on a GPU; install vLLM); endpoint, a server that is there already (--captioning-endpoint).",
        choices=("transformers", "vllm", "endpoint"),
        shown_default="transformers, for openai endpoint",
    )
    captioning_prompt_variant: str = flag(
        "default",
        "What the model is asked: default, a detailed description; av, driving as seen from a car; av-surveillance, "
        "traffic as seen by a fixed camera.",
        choices=("default", "av", "av-surveillance"),
    )
    captioning_prompt_text: str | None = flag(
        None, "What the model is asked, in your own words, instead of --captioning-prompt-variant.", metavar="TEXT"
    )
    captioning_window_size: int = flag(
        256,
        "A clip is captioned window by window, each of this length, and each window is one item of the "
        "dataset. A caption of a shorter window is closer to what happens in it.",
        unit="frames",
        minimum=4,
        maximum=MOST_FRAMES,
    )
    captioning_remainder_threshold: int = flag(
        128,
        "A rest at the end of a clip of at least this length becomes a window of its own; a shorter one is "
        "added to the window before it.",
        unit="frames",
        minimum=1,
        maximum=MOST_FRAMES,
    )
    captioning_sampling_fps: float | None = flag(
        None,
        "How densely the model looks at a window. More sees faster motion, and costs time and memory. The default is "
        "what the model's makers use.",
        unit="frames/s",
        shown_default="4 for cosmos_r1 and cosmos_r2, else 2",
        above=0,
        maximum=60,
    )
    captioning_max_output_tokens: int = flag(
        8192,
        "Longest answer, reasoning included; what is cut off there is marked truncated. Below 0: no limit.",
        unit="tokens",
        maximum=MOST_TOKENS,
    )
    captioning_batch_tokens: int = flag(
        32768,
        "Windows that the transformers engine looks at together, by the tokens of their prompts and pictures. Lower it "
        "where GPU memory is short; a batch that does not fit is halved in any case.",
        unit="tokens",
        minimum=1,
        maximum=100 * MOST_TOKENS,
    )
    qwen_stage2_caption: bool = flag(False, "Have the model refine each caption in a second pass over the same frames.")
    qwen_stage2_prompt_text: str | None = flag(
        None, "What the second pass is asked, in your own words; the first caption follows it.", metavar="TEXT"
    )
    qwen_use_fp8_weights: bool = flag(
        False, "Have vLLM turn the weights into 8-bit floating point while loading: half the memory."
    )
    captioning_endpoint: str | None = flag(
        None,
        "Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1. Its key, if it wants one, comes "
        "from the environment: OPENAI_API_KEY.",
        metavar="URL",
    )
    captioning_endpoint_model: str = flag(
        "auto", "The model to ask for; auto takes the one that the server has.", metavar="NAME"
    )
    captioning_endpoint_media: str = flag(
        "frames",
        "How a window is sent: frames, the sampled pictures as JPEG; mp4, as video, where the server takes it.",
        choices=("frames", "mp4"),
    )
    api_caption_batch_size: int = flag(
        8, "Most requests to a model server at a time.", unit="requests", minimum=1, maximum=1024
    )
    openai_caption_retries: int = flag(
        3,
        "How often a request is made again when the server is busy (429), stumbles (5xx) or does not answer.",
        minimum=0,
        maximum=100,
    )
    openai_retry_delay_seconds: float = flag(
        1.0,
        "Wait before the first such repetition; it doubles each time, and the server's Retry-After is heeded.",
        unit="s",
        minimum=0,
        maximum=3600,
    )
    openai_timeout_s: float = flag(
        600.0, "Longest wait for an answer of a model server.", unit="s", above=0, maximum=DAY_S
    )
    vllm_command: str = flag(
        "vllm serve",
        "How the vllm engine starts its server; the model's folder, --host and --port follow.",
        metavar="COMMAND",
    )
    vllm_start_timeout_s: float = flag(
        1800.0, "Longest wait for that server to load its model and be ready.", unit="s", above=0, maximum=DAY_S
    )
    vllm_sampling_temperature: float = flag(
        0.0,
        "0 takes the likeliest word each time, so that a caption is the same on every run; above 0 draws at random.",
        minimum=0,
        maximum=2,
    )
    vllm_sampling_top_p: float = flag(
        1.0, "Draw among the likeliest words of this total probability.", above=0, maximum=1
    )
    vllm_sampling_top_k: int = flag(0, "Draw among so many likeliest words; 0 for all.", minimum=0, maximum=MOST_TOKENS)
    vllm_sampling_repetition_penalty: float = flag(
        1.05, "Above 1, words of prompt and answer become less likely to come again.", above=0, maximum=2
    )
    vllm_sampling_presence_penalty: float = flag(
        0.0, "Above 0, words of the answer become less likely to come again.", minimum=-2, maximum=2
    )
    vllm_sampling_frequency_penalty: float = flag(0.0, "The same, by how often they came.", minimum=-2, maximum=2)
    vllm_sampling_min_p: float = flag(
        0.0, "Draw among words of at least this share of the likeliest one's probability.", minimum=0, maximum=1
    )
    vllm_sampling_min_tokens: int = flag(
        16, "Shortest answer: some models end at once otherwise.", unit="tokens", minimum=0, maximum=MOST_TOKENS
    )

    @property
    def engine(self) -> str:
        """The engine in use: ``measures`` for describe, else transformers, vllm or endpoint."""
        if self.captioning_algorithm == "describe":
            return "measures"
        return self.captioning_engine or ("endpoint" if self.captioning_algorithm == "openai" else "transformers")

    def contradictions(self) -> Iterator[str]:
        """Yields what cannot be meant together."""
        if self.captioning_remainder_threshold > self.captioning_window_size:
            yield (
                f"--captioning-remainder-threshold {self.captioning_remainder_threshold} is above "
                f"--captioning-window-size {self.captioning_window_size}: lower the first or raise the second"
            )
        if self.captioning_prompt_text is not None and not self.captioning_prompt_text.strip():
            yield "--captioning-prompt-text is empty: say what the model is asked, or leave it out"
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
                f"--captioning-engine {self.captioning_engine}, or name the model that it shall run"
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
