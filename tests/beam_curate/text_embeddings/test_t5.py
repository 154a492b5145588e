"""The text encoder, with real but tiny networks of the real width."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from beam_curate.dataset.embedding_file import dump_embedding, load_embedding
from beam_curate.errors import ModelFilesError, ModelOutputError
from beam_curate.models.catalog import ENCODER_COPY
from beam_curate.models.slot import SLOTS
from beam_curate.text_embeddings import t5
from beam_curate.text_embeddings.t5 import Tokens
from beam_curate.weights.fetch import WeightsSource

TEXTS = [
    "A ball rolls.",
    "Two dogs run across a yard, and a third one watches them from the door.",
    "",
    "A red ball rolls down the hill while the camera follows it slowly to the left.",
    "Ein Hündchen läuft über den Hof: 日本.",
]
TOLERANCE = 2e-3


def save_tokenizer(folder: Path) -> None:
    """Trains a tokenizer of T5's kind: pieces of a unigram model, with an end of sequence token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    fast.save_pretrained(folder)


def save_model(folder: Path, width: int = 1024, nan: bool = False) -> None:
    torch.manual_seed(3)
    config = T5Config(vocab_size=400, d_model=width, d_kv=16, d_ff=64, num_layers=2, num_heads=4)
    model = T5EncoderModel(config)
    if nan:
        model.shared.weight.data[:] = float("nan")
    model.save_pretrained(folder)


def make_workspace(folder: Path, **how: object) -> str:
    place = folder / "models" / "google-t5" / "t5-11b"
    place.mkdir(parents=True)
    save_tokenizer(place)
    save_model(place, **how)  # type: ignore[arg-type]
    return str(folder)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def encoder(workspace: str) -> t5.T5Encoder:
    return t5.reference("t5_11b", workspace).load("cpu")


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    yield
    SLOTS.clear()


def test_a_reference_weighs_nothing(workspace: str) -> None:
    for name in ("t5_11b", "t5_random"):
        assert len(pickle.dumps(t5.reference(name, workspace))) < 1000


def test_texts_end_with_the_end_of_sequence(encoder: t5.T5Encoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    assert all(one.ids[-1] == 1 and one.ids.count(1) == 1 for one in tokens)
    assert tokens[2] == Tokens((1,), False)
    assert not any(one.truncated for one in tokens)
    assert encoder.tokenize([f" \n{text}  " for text in TEXTS]) == tokens


@pytest.mark.parametrize(("count", "truncated"), [(511, False), (513, True), (6001, True)])
def test_a_long_text_is_cut_to_512_tokens_the_last_of_them_the_end(
    encoder: t5.T5Encoder, workspace: str, count: int, truncated: bool
) -> None:
    text = " ".join(["A"] * (count // 2))  # each is two tokens, a space and a letter
    assert t5.token_counter("t5_11b", workspace)(text) == count
    (tokens,) = encoder.tokenize([text])
    assert len(tokens.ids) == min(512, count)
    assert tokens.ids[-1] == 1
    assert tokens.truncated is truncated


def test_an_embedding_is_the_states_of_the_real_tokens(encoder: t5.T5Encoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    arrays = encoder.encode(tokens)
    for one, array in zip(tokens, arrays, strict=True):
        assert array.shape == (len(one.ids), 1024)
        assert array.dtype == np.float16
        assert (load_embedding(dump_embedding(array)) == array).all()


def test_a_batch_gives_what_each_text_gives_alone(encoder: t5.T5Encoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    for one, array in zip(tokens, encoder.encode(tokens), strict=True):
        np.testing.assert_allclose(array, encoder.encode([one])[0], atol=TOLERANCE)


def reference_states(workspace: str, texts: Sequence[str]) -> list[np.ndarray]:
    """What the trainer's own script computes: all texts padded to 512 tokens, and cut to their length after."""
    from transformers import AutoTokenizer

    folder = Path(workspace) / "models" / "google-t5" / "t5-11b"
    model = T5EncoderModel.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)(
        list(texts), return_tensors="pt", truncation=True, padding="max_length", max_length=512
    )
    with torch.no_grad():
        states = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    lengths = batch.attention_mask.sum(1).tolist()
    return [row[:length].numpy() for row, length in zip(states, lengths, strict=True)]


def test_the_states_are_those_of_padding_to_512_tokens(encoder: t5.T5Encoder, workspace: str) -> None:
    texts = [*TEXTS, " ".join(["A ball"] * 400)]
    arrays = encoder.encode(encoder.tokenize(texts))
    for array, expected in zip(arrays, reference_states(workspace, texts), strict=True):
        assert array.shape == expected.shape
        np.testing.assert_allclose(array, expected, atol=TOLERANCE)


def test_the_same_batch_gives_the_same_bytes(encoder: t5.T5Encoder) -> None:
    tokens = encoder.tokenize(TEXTS)
    first, second = encoder.encode(tokens), encoder.encode(tokens)
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "NaN"), (1e30, "infinite")])
def test_states_that_must_not_be_trained_on_are_an_error(workspace: str, value: float, kind: str) -> None:
    encoder = t5.reference("t5_11b", workspace).load("cpu")
    encoder._model.encoder.final_layer_norm.weight.data[:] = value
    for error in encoder.encode(encoder.tokenize(TEXTS)):
        assert isinstance(error, ModelOutputError), kind
        assert "NaN or infinite" in str(error)
        assert not error.retriable


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, width=512)
    with pytest.raises(ModelFilesError, match="width 512, and 1024 is needed"):
        t5.reference("t5_11b", workspace).load("cpu")


def test_the_random_encoder_is_the_same_each_time_and_leaves_other_chance_alone(workspace: str) -> None:
    reference = t5.reference("t5_random", workspace)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    embeddings = []
    for _ in range(2):
        with reference.use() as encoder:
            tokens = encoder.tokenize(TEXTS)
            embeddings.append([dump_embedding(array) for array in encoder.encode(tokens)])
        SLOTS.clear()
    assert (torch.rand(3) == expected).all()
    assert embeddings[0] == embeddings[1]
    assert len(set(embeddings[0])) == len(TEXTS)
    counter = t5.token_counter("t5_random", workspace)
    assert [counter(text) for text in TEXTS] == [len(one.ids) for one in tokens]


def test_the_random_encoder_cuts_too(workspace: str) -> None:
    with t5.reference("t5_random", workspace).use() as encoder:
        for length, truncated in ((510, False), (511, False), (512, True), (600, True)):
            (tokens,) = encoder.tokenize(["a" * length])  # a token a byte
            expected = (min(512, length + 1), truncated, 1)
            assert (len(tokens.ids), tokens.truncated, tokens.ids[-1]) == expected
        assert encoder.encode([tokens])[0].shape == (512, 1024)


def save_encoder_weights(folder: Path) -> None:
    """Leaves only what `beam-curate models download` leaves of T5-11B: the encoder's part, without a tied copy."""
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in state.items() if "embed_tokens" not in name}, folder / ENCODER_COPY)
    (folder / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def encoder_only(tmp_path_factory: pytest.TempPathFactory) -> str:
    workspace = make_workspace(tmp_path_factory.mktemp("encoder_only"))
    save_encoder_weights(Path(workspace) / "models" / "google-t5" / "t5-11b")
    return workspace


def test_the_encoder_only_copy_gives_the_same_states(encoder: t5.T5Encoder, encoder_only: str) -> None:
    copy = t5.reference("t5_11b", encoder_only).load("cpu")
    tokens = encoder.tokenize(TEXTS)
    for array, expected in zip(copy.encode(tokens), encoder.encode(tokens), strict=True):
        assert (array == expected).all()


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_other_precisions_come_near_to_float32(
    encoder: t5.T5Encoder, workspace: str, encoder_only: str, dtype: str, most: float
) -> None:
    tokens = encoder.tokenize(TEXTS)
    expected = np.concatenate(encoder.encode(tokens))
    for place in (workspace, encoder_only):
        found = np.concatenate(t5.reference("t5_11b", place, dtype).load("cpu").encode(tokens))
        assert found.dtype == np.float16
        difference = np.abs(found.astype(np.float32) - expected.astype(np.float32)).max()
        assert 0 < difference < most * np.abs(expected).max()


def test_in_float16_the_feed_forward_outputs_stay_in_float32(encoder_only: str) -> None:
    """Their weights take T5-11B's states beyond 65,504."""
    model = t5.reference("t5_11b", encoder_only, "float16").load("cpu")._model
    feed_forward = model.encoder.block[0].layer[1].DenseReluDense
    assert feed_forward.wo.weight.dtype == torch.float32
    assert feed_forward.wi.weight.dtype == torch.float16


def test_a_tensor_that_is_missing_from_the_copy_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    folder = tmp_path / "models" / "google-t5" / "t5-11b"
    save_encoder_weights(folder)
    state = load_file(folder / ENCODER_COPY)
    del state["encoder.final_layer_norm.weight"]
    save_file(state, folder / ENCODER_COPY)
    with pytest.raises(ModelFilesError, match=r"final_layer_norm\.weight.*models download --models t5_xxl"):
        t5.reference("t5_11b", workspace).load("cpu")


def test_a_worker_that_lacks_the_model_fetches_it(workspace: str, tmp_path: Path) -> None:
    weights = WeightsSource(str(Path(workspace) / "models"))
    with t5.reference("t5_11b", str(tmp_path), weights=weights).use() as encoder:
        assert encoder.encode(encoder.tokenize(["A ball."]))[0].shape[1] == 1024
    assert (tmp_path / "models" / "google-t5" / "t5-11b" / "model.safetensors").is_file()


def test_without_the_model_and_a_place_to_fetch_it_from_the_download_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="models download --models t5_xxl"):
        t5.reference("t5_11b", str(tmp_path)).load("cpu")
