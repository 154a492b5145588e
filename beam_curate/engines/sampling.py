"""From sampling parameters to the arguments of transformers' ``generate``, and its logits processors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from beam_curate.engines.base import SamplingParams


def arguments(
    params: SamplingParams, most: int, prompt_length: int, watch: FiniteWatch | None = None
) -> dict[str, Any]:
    """Returns the arguments of ``generate``.

    >>> arguments(SamplingParams(max_output_tokens=None), most=100, prompt_length=12)
    {'max_new_tokens': 100, 'min_new_tokens': 0, 'repetition_penalty': 1.0, 'do_sample': False, 'logits_processor': []}

    Args:
        params: Sampling parameters.
        most: Maximum number of new tokens.
        prompt_length: Tokens of the prompts, padding included.
        watch: Last of the logits processors.
    """
    if params.against_repetition:
        params = params.penalized
    given: dict[str, Any] = {
        "max_new_tokens": most,
        "min_new_tokens": min(params.min_tokens, most),
        "repetition_penalty": params.repetition_penalty,
        "do_sample": params.temperature > 0,
        "logits_processor": [watch] if watch else [],
    }
    if params.temperature > 0:
        given |= {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "min_p": params.min_p or None,
        }
    if params.presence_penalty or params.frequency_penalty:
        penalty = CountPenalty(params.presence_penalty, params.frequency_penalty, prompt_length)
        given["logits_processor"].insert(0, penalty)
    return given


def forget_recommended(model: Any, ends: list[int], pad: int) -> None:
    """Drops the model's own generation_config.json, which would add to the sampling parameters."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=pad)


class FiniteWatch:
    """Ends and reports completions whose logits are NaN or leave no token to choose.

    A logits processor for ``generate``: called with ids [batch, length] and logits [batch, vocabulary]. A
    logit of minus infinity is fine: it forbids a token.

    Args:
        end: The end-of-text token.
    """

    def __init__(self, end: int) -> None:
        self._end = end
        self._failed: Any = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Returns the logits; a failed completion is left with the end-of-text token only."""
        bad = scores.isnan().any(dim=1) | ~scores.isfinite().any(dim=1) | scores.isposinf().any(dim=1)
        self._failed = bad if self._failed is None else self._failed | bad
        ending = scores.new_full((scores.shape[1],), float("-inf"))
        ending[self._end] = 0.0
        return scores.where(~bad[:, None], ending)

    def failed(self, number: int) -> list[bool]:
        """Returns for each row of the batch whether it failed."""
        return [False] * number if self._failed is None else list(self._failed.tolist())


class CountPenalty:
    """Makes tokens of the completion less likely to be repeated, like vLLM's presence and frequency penalties.

    A logits processor for ``generate``: called with ids [batch, length] and logits [batch, vocabulary].

    Args:
        presence: Subtracted from the logit of each token that has occurred.
        frequency: Subtracted for each occurrence.
        prompt_length: Tokens before the completion, padding included.
    """

    def __init__(self, presence: float, frequency: float, prompt_length: int) -> None:
        self._presence = presence
        self._frequency = frequency
        self._start = prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Returns the logits minus the penalties."""
        completion = input_ids[:, self._start :]
        counts = scores.new_zeros(scores.shape).scatter_add_(1, completion, scores.new_ones(completion.shape))
        return scores - self._frequency * counts - self._presence * (counts > 0)


@contextlib.contextmanager
def seeded(seed: int, device: str, wanted: bool) -> Iterator[None]:
    """Seeds torch's random numbers inside the block, if wanted."""
    import torch

    if not wanted:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
