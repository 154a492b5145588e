"""From options to the captioner."""

from __future__ import annotations

from beam_curate.captions.prompts import REFINE, VARIANTS, Prompts
from beam_curate.captions.stage import Captioner, DescribeCaptioner
from beam_curate.captions.vlm_captioner import VlmCaptioner
from beam_curate.captions.windows import WindowRules
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options
from beam_curate.plan import engines


def captioner(options: Options) -> Captioner:
    """Returns the captioner that the options name.

    >>> from beam_curate.options.parse import parse
    >>> captioner(parse(["--input-video-path=in", "--output-clip-path=out"]).options).algorithm
    'describe'
    """
    caption = options.caption
    rules = WindowRules(caption.captioning_window_size, caption.captioning_remainder_threshold)
    if caption.captioning_algorithm == "describe":
        return DescribeCaptioner(rules)
    return VlmCaptioner(
        windows=rules,
        algorithm=caption.captioning_algorithm,
        model=engines.engine_reference(options),
        prompts=prompts_of(caption),
        sampling=engines.sampling_params(caption),
        frame_sampling=engines.frame_sampling(caption),
        batch_tokens=caption.captioning_batch_tokens,
    )


def prompts_of(options: CaptionOptions) -> Prompts:
    """Returns what the model is told; a user's own words stay as they are.

    >>> prompts_of(CaptionOptions(captioning_prompt_text="What moves?")).first
    'What moves?'
    """
    model = engines.captioning_model(options)
    return Prompts(
        first=options.captioning_prompt_text or VARIANTS[options.captioning_prompt_variant],
        second=(options.qwen_stage2_prompt_text or REFINE) if options.qwen_stage2_caption else None,
        system=model.system if model else None,
        answer_format=model.answer_format if model else None,
    )
