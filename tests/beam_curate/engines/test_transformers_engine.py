"""The engine that runs models in the worker, on models of the real classes with tiny weights."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from beam_curate.engines import sampling, transformers_engine
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.transformers_engine import TransformersEngine, load_folder
from beam_curate.errors import ModelContextError, ModelFilesError, ModelMemoryError, ModelOutputError
from beam_curate.models.catalog import by_name
from beam_curate.weights.fetch import WeightsSource
from tests.support.one_thread import one_thread
from tests.support.tiny_models import PLAIN, REASONED, make_qwen2_5_vl, make_qwen3_vl

PATCH = {"qwen2.5": 28, "qwen3": 32}
MAKERS: dict[str, Callable[..., Path]] = {"qwen2.5": make_qwen2_5_vl, "qwen3": make_qwen3_vl}
ODD = 'Say "what" {happens} in {0} %s \\n\n\n— line two 🚗 <b>'


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they save in models as small as these."""
    with one_thread():
        yield


@pytest.fixture(scope="module", params=MAKERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def random_engine(family: str, tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    folder = MAKERS[family](tmp_path_factory.mktemp("random"), seed=1)
    return load_folder(folder, "cpu", "float32")


@pytest.fixture(scope="module")
def saying_engine(family: str, tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    return load_folder(MAKERS[family](tmp_path_factory.mktemp("says"), says=REASONED), "cpu")


def make_request(family: str, prompt: str = "What happens?", frames: int = 4, seed: int = 0, high: int = 2) -> Request:
    random = np.random.default_rng(seed)
    shape = (frames, high * PATCH[family], 3 * PATCH[family], 3)
    return Request(prompt, random.integers(0, 256, shape, dtype=np.uint8), 2.0, 0, 95, seed)


def several(family: str) -> list[Request]:
    return [
        make_request(family, "Hi.", 4, 1),
        make_request(family, "What happens in this rather longer question?", 8, 2, high=4),
        make_request(family, ODD, 6, 3),
    ]


def answered(engine: TransformersEngine, requests: list[Request], params: SamplingParams) -> list[Completion]:
    completions = engine.generate(requests, params)
    assert all(isinstance(completion, Completion) for completion in completions), completions
    return completions  # type: ignore[return-value]


def test_an_answer_is_the_same_alone_and_in_a_batch(random_engine: TransformersEngine, family: str) -> None:
    requests = several(family)
    params = SamplingParams(24, repetition_penalty=1.05, min_tokens=16)
    together = answered(random_engine, requests, params)
    assert together == [answered(random_engine, [one], params)[0] for one in requests]
    assert len({completion.text for completion in together}) == 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_of_logits_that_are_no_numbers_fails_alone(
    family: str, tmp_path: Path, value: float, temperature: float
) -> None:
    engine = load_folder(MAKERS[family](tmp_path, seed=1), "cpu", "float32")
    (poison,) = set(engine._processor.tokenizer("~")["input_ids"])
    layer = engine._model.get_input_embeddings()

    def poisoned(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if inputs[0].shape[1] == 1:  # it may write the token itself
            return output
        return torch.where((inputs[0] == poison)[..., None], torch.full_like(output, value), output)

    layer.register_forward_hook(poisoned)
    requests = [make_request(family, "Hi."), make_request(family, "Hi ~."), make_request(family, "Ho.")]
    good, failed, other = engine.generate(requests, SamplingParams(24, temperature=temperature, min_tokens=16))
    assert isinstance(good, Completion) and isinstance(other, Completion)
    assert isinstance(failed, ModelOutputError) and failed.reason == "not_finite"
    assert not failed.retriable


def test_an_answer_depends_on_the_pictures_and_their_order(random_engine: TransformersEngine, family: str) -> None:
    one = make_request(family, frames=4, seed=1)
    backwards = Request(one.prompt, one.frames[::-1].copy(), 2.0, 0, 95)
    completions = answered(random_engine, [one, make_request(family, frames=4, seed=2), backwards], SamplingParams(16))
    assert len({completion.text for completion in completions}) == 3


def test_tokens_are_counted_without_padding_and_end(saying_engine: TransformersEngine, family: str) -> None:
    tokenizer = saying_engine._processor.tokenizer
    requests = several(family)
    completions = answered(saying_engine, requests, SamplingParams(200, min_tokens=16))
    assert [completion.text for completion in completions] == [REASONED] * 3
    assert {completion.finish for completion in completions} == {"stop"}
    # The model's text is cut into tokens in a way of its own, which is not the tokenizer's.
    assert len({completion.output_tokens for completion in completions}) == 1
    for asked, completion in zip(requests, completions, strict=True):
        number, height, width, _ = asked.frames.shape
        pairs = number // 2
        visual = pairs * (height // PATCH[family]) * (width // PATCH[family])
        if family == "qwen3":  # before each pair of frames its time, the mean of both; around it a start and an end
            times = "".join(f"<{(2 * pair + 0.5) / 2.0:.1f} seconds>" for pair in range(pairs))
            around = tokenizer(times)["input_ids"], 2 * pairs
        else:
            around = [], 2
        text = tokenizer(f"user\n{asked.prompt}")["input_ids"]
        # <|im_start|>user … <|im_end|>\n<|im_start|>assistant\n
        frame = 1 + 1 + 1 + 1 + len(tokenizer("assistant\n")["input_ids"])
        assert completion.prompt_tokens == frame + len(text) + visual + len(around[0]) + around[1]


@pytest.mark.parametrize(("limit", "words"), [(1, 1), (16, 16)])
def test_an_answer_is_cut_at_its_limit(saying_engine: TransformersEngine, family: str, limit: int, words: int) -> None:
    (completion,) = answered(saying_engine, [make_request(family)], SamplingParams(limit))
    assert (completion.output_tokens, completion.finish) == (words, "length")
    assert completion.text and REASONED.startswith(completion.text)


def test_an_answer_that_ends_with_its_last_token_is_whole(saying_engine: TransformersEngine, family: str) -> None:
    whole = answered(saying_engine, [make_request(family)], SamplingParams(200))[0].output_tokens
    assert answered(saying_engine, [make_request(family)], SamplingParams(whole + 1))[0].finish == "stop"
    assert answered(saying_engine, [make_request(family)], SamplingParams(whole))[0].finish == "length"


def test_without_a_limit_the_context_is_the_limit(family: str, tmp_path: Path) -> None:
    engine = load_folder(MAKERS[family](tmp_path, seed=1, context=150), "cpu", "float32")
    short = answered(engine, [make_request(family)], SamplingParams(None, min_tokens=1000))[0]
    assert short.prompt_tokens + short.output_tokens == 150
    assert short.finish == "length"


def test_what_the_context_does_not_hold_fails_alone(family: str, tmp_path: Path) -> None:
    engine = load_folder(MAKERS[family](tmp_path, context=150), "cpu", "float32")
    completions = engine.generate(
        [make_request(family), make_request(family, frames=40), make_request(family)], SamplingParams(4)
    )
    assert isinstance(completions[0], Completion) and completions[0] == completions[2]
    assert isinstance(completions[1], ModelContextError)
    assert "--captioning-sampling-fps" in str(completions[1]) and not completions[1].retriable


def test_what_a_user_writes_is_text_even_where_it_looks_like_a_token(
    saying_engine: TransformersEngine, family: str
) -> None:
    for prompt in ("<|im_end|>", "Describe <|video_pad|> and <|vision_start|>.", "<|endoftext|>"):
        (completion,) = answered(saying_engine, [make_request(family, prompt)], SamplingParams(200))
        assert completion.text == REASONED


@pytest.mark.parametrize("prompt", [ODD, "\n", " {", "日本 'x' \"y\"\t", "{{ raise }} {% if %}"])
def test_a_prompt_reaches_the_model_as_it_is(saying_engine: TransformersEngine, family: str, prompt: str) -> None:
    inputs = saying_engine._inputs(make_request(family, prompt))
    read = saying_engine._processor.tokenizer.decode(inputs["input_ids"][0])
    assert read.endswith(f"{prompt}<|im_end|>\n<|im_start|>assistant\n")


def test_a_system_message_comes_first_and_the_video_before_the_prompt(
    saying_engine: TransformersEngine, family: str
) -> None:
    asked = dataclasses.replace(make_request(family, ODD), system="You are a helpful assistant.\n<|im_end|>")
    inputs = saying_engine._inputs(asked)
    read = saying_engine._processor.tokenizer.decode(inputs["input_ids"][0])
    assert read.startswith(
        "<|im_start|>system\nYou are a helpful assistant.\n<|im_end|><|im_end|>\n<|im_start|>user\n<"
    )
    assert read.endswith(f"<|vision_end|>{ODD}<|im_end|>\n<|im_start|>assistant\n")
    (end,) = saying_engine._processor.tokenizer.convert_tokens_to_ids(["<|im_end|>"])
    assert inputs["input_ids"][0].tolist().count(end) == 2  # what looks like one in the text is none
    (completion,) = answered(saying_engine, [asked], SamplingParams(200))
    assert completion.text == REASONED


def test_frames_are_neither_sampled_nor_resized_again(saying_engine: TransformersEngine, family: str) -> None:
    asked = make_request(family, frames=10, high=1)  # far below the pixels that the processor would enlarge it to
    inputs = saying_engine._inputs(asked)
    assert inputs["video_grid_thw"].tolist() == [[5, 2, 6]]
    if family == "qwen3":
        read = saying_engine._processor.tokenizer.decode(inputs["input_ids"][0])
        assert read.count("<|vision_start|>") == read.count("<|vision_end|>") == 5
        assert read.startswith("<|im_start|>user\n<0.2 seconds><|vision_start|><|video_pad|>")
        assert "<4.2 seconds>" in read
    else:
        assert inputs["second_per_grid_ts"].tolist() == [1.0]


def test_sampling_is_repeatable_and_the_seed_counts(random_engine: TransformersEngine, family: str) -> None:
    params = SamplingParams(16, temperature=1.0, top_p=0.9, top_k=50, min_p=0.01)
    asked = make_request(family, seed=1)
    assert answered(random_engine, [asked], SamplingParams(4, temperature=1.0))  # top_k 0 is all tokens
    torch.manual_seed(5)
    first = answered(random_engine, [asked], params)
    torch.manual_seed(6)
    assert answered(random_engine, [asked], params) == first
    other = Request(asked.prompt, asked.frames, asked.frame_rate, 0, 95, seed=2)
    assert answered(random_engine, [other], params) != first


def test_what_the_model_itself_recommends_does_not_count(random_engine: TransformersEngine, family: str) -> None:
    """Its generation_config.json asks for sampling and a repetition penalty; the options ask for neither."""
    plain = answered(random_engine, [make_request(family)], SamplingParams(40))
    assert plain == answered(random_engine, [make_request(family)], SamplingParams(40))
    assert plain != answered(random_engine, [make_request(family)], SamplingParams(40, repetition_penalty=1.9))


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_penalties_keep_words_from_coming_again(random_engine: TransformersEngine, family: str, penalty: str) -> None:
    tokens = {}
    for value in (-2.0, 0.0, 2.0):
        params = SamplingParams(60, **{penalty: value})
        prompt = random_engine._read(make_request(family))
        assert not isinstance(prompt, Exception)
        arguments = sampling.arguments(params, 60, prompt.length)
        written = random_engine._model.generate(**prompt.inputs, **arguments)[0, prompt.length :]
        tokens[value] = len(set(written.tolist()))
    assert tokens[-2.0] < tokens[2.0]
    assert tokens[-2.0] == 1  # what was said once is said for ever


class Small:
    """Stands before a model whose device holds no more than one prompt."""

    def __init__(self, model: object, most: int) -> None:
        self.model, self.most, self.sizes = model, most, []

    def generate(self, **arguments: object) -> object:
        self.sizes.append(len(arguments["input_ids"]))  # type: ignore[arg-type]
        if self.sizes[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model.generate(**arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize("most", [1, 2])
def test_a_batch_that_does_not_fit_is_halved(
    random_engine: TransformersEngine, family: str, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    requests = several(family)
    expected = answered(random_engine, requests, SamplingParams(8))
    small = Small(random_engine._model, most)
    monkeypatch.setattr(random_engine, "_model", small)
    monkeypatch.setattr(random_engine, "_fitting", transformers_engine.OomBackoff())
    assert answered(random_engine, requests, SamplingParams(8)) == expected
    assert small.sizes[0] == 3


def test_a_prompt_that_never_fits_is_told(
    random_engine: TransformersEngine, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_engine, "_model", Small(random_engine._model, 0))
    monkeypatch.setattr(random_engine, "_fitting", transformers_engine.OomBackoff())
    completions = random_engine.generate(several(family), SamplingParams(8))
    assert all(isinstance(completion, ModelMemoryError) and completion.retriable for completion in completions)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    make_qwen2_5_vl(by_name("qwen2.5_vl").folder(str(folder)), says=PLAIN)
    return folder


def test_a_reference_weighs_nothing_and_loads_what_the_workspace_has(workspace: Path) -> None:
    reference = transformers_engine.reference(by_name("qwen2.5_vl"), str(workspace))
    assert len(pickle.dumps(reference)) < 2000
    engine = pickle.loads(pickle.dumps(reference)).load("cpu")
    assert answered(engine, [make_request("qwen2.5")], SamplingParams(200))[0].text == PLAIN


def test_a_worker_without_the_model_takes_it_from_the_weights_path(workspace: Path, tmp_path: Path) -> None:
    reference = transformers_engine.reference(
        by_name("qwen2.5_vl"), str(tmp_path), WeightsSource(f"{workspace}/models")
    )
    assert answered(reference.load("cpu"), [make_request("qwen2.5")], SamplingParams(200))[0].text == PLAIN
    assert (by_name("qwen2.5_vl").folder(str(tmp_path)) / "config.json").is_file()


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def drop_tensor(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    del tensors[next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))]
    save_file(tensors, path, {"format": "pt"})


def narrow(path: Path) -> None:
    facts = json.loads(path.read_text())
    facts["text_config"]["intermediate_size"] //= 2
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("model.safetensors", Path.unlink),
        ("model.safetensors", shorten),
        ("model.safetensors", drop_tensor),
        ("config.json", Path.unlink),
        ("config.json", narrow),
        ("tokenizer.json", Path.unlink),
        ("tokenizer.json", lambda path: path.write_text("{")),
        ("preprocessor_config.json", Path.unlink),
        ("chat_template.json", Path.unlink),
    ],
)
def test_a_damaged_model_is_told_with_the_mend(
    workspace: Path, tmp_path: Path, name: str, harm: Callable[[Path], object]
) -> None:
    model = by_name("qwen2.5_vl")
    shutil.copytree(model.folder(str(workspace)), model.folder(str(tmp_path)))
    harm(model.folder(str(tmp_path)) / name)
    with pytest.raises(ModelFilesError) as caught:
        transformers_engine.reference(model, str(tmp_path)).load("cpu")
    message = str(caught.value)
    assert model.model_id in message and str(model.folder(str(tmp_path))) in message
    assert f"beam-curate models download --models qwen2.5_vl --workspace {tmp_path}" in message
    assert len(message) < 1000 and "\n" not in message
