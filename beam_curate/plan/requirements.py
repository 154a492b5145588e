"""From options to the models whose files a run needs, with the memory that each takes."""

from __future__ import annotations

from collections.abc import Iterator

from beam_curate.models.catalog import AESTHETIC_SCORER, CAPTIONERS, CLIP_VIT, T5_XXL, Model, by_name
from beam_curate.models.requirements import Requirement, text_encoder_gb, vllm_gb
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options


def required_models(options: Options) -> tuple[Requirement, ...]:
    """Returns the models whose files a run needs in the workspace, in the order of its stages.

    >>> needed = required_models(Options(caption=CaptionOptions(captioning_algorithm="cosmos_r1")))
    >>> [(requirement.model.name, requirement.flag) for requirement in needed]
    [('cosmos_reason1', '--captioning-algorithm cosmos_r1')]

    TransNetV2 is none of them: its weights are installed with the program.
    """
    found = []
    if options.filter.aesthetic_threshold is not None:
        found += [_of_aesthetics(model) for model in (CLIP_VIT, AESTHETIC_SCORER)]
    if options.caption.generate_captions and options.caption.engine in ("transformers", "vllm"):
        found.append(_captioner(options.caption))
    if encoder := required_text_encoder(options):
        found.append(encoder)
    return tuple(found)


def required_text_encoder(options: Options) -> Requirement | None:
    """Returns the text encoder that a run needs, or None without one.

    >>> required_text_encoder(Options()) is None  # without a dataset
    True
    """
    if options.dataset.generate_cosmos_predict_dataset == "predict2" and options.text.text_encoder == "t5_11b":
        return _text_encoder(options.text.text_encoder_dtype)
    return None


def _captioner(options: CaptionOptions) -> Requirement:
    model = by_name(CAPTIONERS[options.captioning_algorithm])
    in_vllm = options.engine == "vllm"
    return Requirement(
        model,
        f"--captioning-algorithm {options.captioning_algorithm}",
        gpu_gb=vllm_gb(model, fp8=options.qwen_use_fp8_weights) if in_vllm else model.memory_gb(),
        cpu_gb=None if in_vllm else model.memory_gb("float32"),
        cpu_bfloat16_gb=None if in_vllm else model.memory_gb(),
        cpu_pace="minutes a caption",
        lighter=tuple(_lighter(options)),
        otherwise="caption with a model server elsewhere: --captioning-engine endpoint",
    )


def _lighter(options: CaptionOptions) -> Iterator[tuple[str, float]]:
    """Yields flags that need less memory than these options, best first, with the GB of a GPU that they need."""
    name = options.captioning_algorithm
    in_vllm, fp8 = options.engine == "vllm", options.qwen_use_fp8_weights
    if name == "qwen3_vl_30b":
        smaller = by_name(CAPTIONERS["qwen3_vl_30b_fp8"])
        yield (
            "--captioning-algorithm qwen3_vl_30b_fp8",
            vllm_gb(smaller, fp8=fp8) if in_vllm else smaller.memory_gb(),
        )
    if name != "qwen3_vl_30b_fp8" and not fp8:
        yield "--captioning-engine vllm --qwen-use-fp8-weights", vllm_gb(by_name(CAPTIONERS[name]), fp8=True)


def _of_aesthetics(model: Model) -> Requirement:
    return Requirement(
        model,
        "--aesthetic-threshold",
        gpu_gb=model.memory_gb(),
        cpu_gb=model.memory_gb(),
        cpu_bfloat16_gb=model.memory_gb(),
        cpu_pace="seconds a clip",
        lighter=(),
        otherwise="leave out --aesthetic-threshold",
    )


def _text_encoder(dtype: str) -> Requirement:
    return Requirement(
        T5_XXL,
        "--text-encoder t5_11b",
        gpu_gb=text_encoder_gb(dtype),
        cpu_gb=text_encoder_gb(dtype),
        cpu_bfloat16_gb=text_encoder_gb(dtype),
        cpu_pace="many seconds a caption",
        lighter=(("--text-encoder-dtype bfloat16", T5_XXL.memory_gb("bfloat16")),),
        otherwise="take a larger GPU, or hide it (CUDA_VISIBLE_DEVICES=) to use the processor, which is slow",
    )
