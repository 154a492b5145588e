"""Models of the real classes with tiny seeded weights, in the layout that the Hugging Face hub has.

A random model never ends an answer by itself and says nothing. With ``says`` a model is made that answers every
question with one text and then ends: its layers add nothing, so that the next token depends on the last one alone, and
each token of the text leads to the next.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

REASONED = "<think>The road is wet; the car slows.</think>\n\n<answer>\nA red car turns left at dusk.\n</answer>"
PLAIN = "A red car turns left at dusk, and two people wait."
CAPTIONS = {"cosmos_reason1": "A red car turns left at dusk.", "qwen2.5_vl": PLAIN}
"""What the models of `make_workspace` say, without reasoning."""

_SENTENCES = (
    "A red car turns left at dusk while two people wait at the crossing.",
    "Describe the video in detail: what is seen, what moves, and how the camera moves.",
    "The quick brown fox jumps over the lazy dog; 0 1 2 3 4 5 6 7 8 9 seconds.",
)
_ENDS = ("<|endoftext|>", "<|im_end|>")
_SPECIAL = (
    *_ENDS,
    "<|im_start|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_MEAN, _STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_HEAD = 32  # width of an attention head
_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if message.content is string -%}{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type == 'video' -%}{{- VIDEO -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def make_qwen2_5_vl(
    folder: Path, seed: int = 0, says: str | None = None, width: int = 64, layers: int = 2, context: int = 32768
) -> Path:
    """Saves a Qwen2.5-VL, as Cosmos-Reason1 is one too.

    Args:
        folder: Where to; it is made.
        seed: Of the random weights.
        says: The text that it answers everything with; a random model by default.
        width: Of its hidden states, a multiple of 32; a longer text needs a wider model, and gets it.
        layers: Of the language model.
        context: Most tokens of prompt and answer.

    Returns:
        The folder.
    """
    tokenizer, tokens = _tokenizer(says)
    width = max(width, _width_for(tokens))
    config = Qwen2_5_VLConfig(
        text_config=_text_config(tokenizer, width, layers, context) | {"rope_scaling": _mrope("mrope")},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": width,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        **_token_ids(tokenizer),
    )
    _save_model(folder, Qwen2_5_VLForConditionalGeneration, config, tokenizer, tokens, seed)
    _save_processor(folder, tokenizer, "Qwen2_5_VLProcessor", patch=14, mean=_MEAN, std=_STD)
    return folder


def make_qwen3_vl(
    folder: Path, seed: int = 0, says: str | None = None, width: int = 64, layers: int = 2, context: int = 32768
) -> Path:
    """Saves a Qwen3-VL, as Cosmos-Reason2 is one too; the arguments are those of `make_qwen2_5_vl`."""
    tokenizer, tokens = _tokenizer(says)
    width = max(width, _width_for(tokens))
    config = Qwen3VLConfig(
        text_config=_text_config(tokenizer, width, layers, context)
        | {"head_dim": _HEAD, "rope_scaling": _mrope("default") | {"mrope_interleaved": True}},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": width,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0],
        },
        **_token_ids(tokenizer),
    )
    _save_model(folder, Qwen3VLForConditionalGeneration, config, tokenizer, tokens, seed)
    _save_processor(folder, tokenizer, "Qwen3VLProcessor", patch=16, mean=[0.5] * 3, std=[0.5] * 3)
    return folder


def make_t5(folder: Path, seed: int = 0) -> Path:
    """Saves a T5 encoder of the real width, 1024, with a tokenizer of T5's kind."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(_SENTENCES * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)
    config = T5Config(vocab_size=400, d_model=1024, d_kv=16, d_ff=64, num_layers=2, num_heads=4)
    _seeded(T5EncoderModel, config, seed).save_pretrained(folder)
    return folder


def make_clip(folder: Path, seed: int = 0) -> Path:
    """Saves a CLIP whose image features have the width of ViT-L/14's, 768."""
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=tower | {"vocab_size": 400, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        vision_config=tower | {"patch_size": 14, "image_size": 224},
        projection_dim=768,
    )
    _seeded(CLIPModel, config, seed).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    tokenizer, _ = _tokenizer(None)
    tokenizer.save_pretrained(folder)
    return folder


def make_aesthetic_scorer(folder: Path, seed: int = 0) -> Path:
    """Saves the network of the improved aesthetic predictor with its published names, drop-outs among the layers."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    widths = (768, 1024, 128, 64, 16, 1)
    linear = [torch.nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    state = {}
    for number, layer in zip((0, 2, 4, 6, 7), linear, strict=True):
        state |= {f"layers.{number}.weight": layer.weight.detach(), f"layers.{number}.bias": layer.bias.detach()}
    save_file(state, folder / "model.safetensors")
    return folder


def make_workspace(folder: Path) -> str:
    """Puts models where the catalog looks for them: captioners of both families, text encoder, aesthetic scorer.

    The reasoning ones say `REASONED`, the plain one says `PLAIN`.
    """
    hub = folder / "models"
    make_qwen2_5_vl(hub / "nvidia" / "Cosmos-Reason1-7B", says=REASONED)
    make_qwen3_vl(hub / "nvidia" / "Cosmos-Reason2-8B", says=REASONED)
    make_qwen2_5_vl(hub / "Qwen" / "Qwen2.5-VL-7B-Instruct", says=PLAIN)
    make_t5(hub / "google-t5" / "t5-11b")
    make_clip(hub / "openai" / "clip-vit-large-patch14")
    make_aesthetic_scorer(hub / "ttj" / "sac-logos-ava1-l14-linearMSE")
    return str(folder)


def _tokenizer(says: str | None) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Returns a byte-level tokenizer, and a text's tokens, no two of them alike, with a newline before and an end.

    The newline is the last token of every prompt. Tokens of the text that are not in the vocabulary are added to it;
    no merge leads to them, so prompts are tokenized as before.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer, tokenizer.decoder = byte_level, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=350, special_tokens=list(_SPECIAL), initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    pieces = _distinct_pieces(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), says or "")
    described = json.loads(tokenizer.to_str())
    vocabulary = described["model"]["vocab"]
    for piece in pieces:
        vocabulary.setdefault(piece, len(vocabulary))
    tokens = [vocabulary[piece] for piece in ("\u010a", *pieces)] + [vocabulary["<|im_end|>"]]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(described)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(_SPECIAL[2:]),
        padding_side="left",
    )
    return fast, tokens if says else []


def _distinct_pieces(byte_level: Any, text: str) -> list[str]:
    """Cuts a text, in the alphabet of byte-level tokenizers, into the shortest pieces no two of which are alike."""
    letters = "".join(piece for piece, _ in byte_level.pre_tokenize_str(text))
    pieces: list[str] = []
    seen = {"\u010a"}  # the newline
    begin = 0
    for end in range(1, len(letters) + 1):
        if letters[begin:end] not in seen:
            pieces.append(letters[begin:end])
            seen.add(pieces[-1])
            begin = end
    if begin < len(letters):  # what is left over occurred before: with the last piece it did not
        pieces[-1] += letters[begin:]
    return pieces


def _width_for(tokens: Sequence[int]) -> int:
    return -(-(len(tokens) + 1) // 64) * 64


def _text_config(tokenizer: PreTrainedTokenizerFast, width: int, layers: int, context: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // _HEAD,
        "num_key_value_heads": width // _HEAD,
        "max_position_embeddings": context,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _mrope(kind: str) -> dict[str, Any]:
    return {"rope_type": kind, "type": kind, "mrope_section": [4, 6, 6]}


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _seeded(kind: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()


def _save_model(
    folder: Path, kind: Any, config: Any, tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int], seed: int
) -> None:
    model = _seeded(kind, config, seed)
    if tokens:
        _teach(model, tokens)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in reversed(_ENDS)]
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, repetition_penalty=1.05, eos_token_id=ends, pad_token_id=ends[1]
    )
    model.save_pretrained(folder)


@torch.no_grad()
def _teach(model: Any, tokens: Sequence[int]) -> None:
    """Makes each token lead to the next, whatever came before it."""
    for layer in model.model.language_model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    inputs, outputs = model.get_input_embeddings().weight, model.lm_head.weight
    inputs.zero_()
    outputs.zero_()
    inputs[:, -1] = 1
    for state, (token, after) in enumerate(itertools.pairwise(tokens)):
        inputs[token] = 0
        inputs[token, state] = 1
        outputs[after, state] = 1


def _save_processor(
    folder: Path, tokenizer: PreTrainedTokenizerFast, kind: str, *, patch: int, mean: list[float], std: list[float]
) -> None:
    tokenizer.save_pretrained(folder)
    facts = json.loads((folder / "tokenizer_config.json").read_text()) | {"processor_class": kind}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    pixels = {"shortest_edge": 3136, "longest_edge": 12845056}
    image = Qwen2VLImageProcessor(patch_size=patch, image_mean=mean, image_std=std, size=pixels)
    facts = image.to_dict() | {"processor_class": kind, "image_processor_type": "Qwen2VLImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    video = "<|vision_start|><|video_pad|><|vision_end|>"
    if kind == "Qwen3VLProcessor":
        facts = {
            "patch_size": patch,
            "image_mean": mean,
            "image_std": std,
            "size": {"shortest_edge": 4096, "longest_edge": 25165824},
            "processor_class": kind,
            "video_processor_type": "Qwen3VLVideoProcessor",
        }
        (folder / "video_preprocessor_config.json").write_text(json.dumps(facts))
    template = _TEMPLATE.replace("VIDEO", repr(video))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
