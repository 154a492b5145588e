"""The captioners that --captioning-algorithm names. Each is a worker on chunks, chosen in `captioner`."""

from __future__ import annotations

import dataclasses

from beam_curate import counters, stage
from beam_curate.captions.describe import describe_windows
from beam_curate.captions.prompts import REFINE, VARIANTS, Prompts
from beam_curate.captions.stage import VlmCaptioner
from beam_curate.captions.windows import STAGE, WindowRules
from beam_curate.elements import Caption, Clip, ClipChunk, Window
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options
from beam_curate.plan import engines
from beam_curate.stage import Worker
from beam_curate.store.base import Store


@dataclasses.dataclass(frozen=True)
class DescribeCaptioner:
    """Says what can be measured in the pictures; needs no model.

    Attributes:
        output: The output.
        windows: How clips are divided.
    """

    output: Store
    windows: WindowRules
    model: None = None

    def run(self, chunk: ClipChunk) -> ClipChunk:
        """Returns the chunk with captioned windows."""
        return stage.attempt_clips(chunk, STAGE, self._caption)

    def _caption(self, clip: Clip) -> Clip:
        assert clip.media is not None
        spans = self.windows.divide(clip.media.num_frames)
        texts = describe_windows(self.output.local_path(clip.media.file.path), spans) if spans else []
        counters.add("windows captioned", len(texts))
        counters.step()
        windows = tuple(
            Window(start, end, Caption("describe", text, "success"))
            for (start, end), text in zip(spans, texts, strict=True)
        )
        return dataclasses.replace(clip, windows=windows)


def captioner(options: Options, output: Store) -> Worker[ClipChunk, ClipChunk]:
    """Returns the captioner that the options name."""
    caption = options.caption
    rules = WindowRules(caption.captioning_window_size, caption.captioning_remainder_threshold)
    if caption.captioning_algorithm == "describe":
        return DescribeCaptioner(output, rules)
    return VlmCaptioner(
        output=output,
        windows=rules,
        algorithm=caption.captioning_algorithm,
        model=engines.engine_reference(options),
        prompts=prompts_of(caption),
        sampling=engines.sampling_params(caption),
        frame_sampling=engines.frame_sampling(caption),
        batch_tokens=caption.captioning_batch_tokens,
    )


def prompts_of(options: CaptionOptions) -> Prompts:
    """Returns what the model is told; a user's own words stay as they are."""
    model = engines.captioning_model(options)
    return Prompts(
        first=options.captioning_prompt_text or VARIANTS[options.captioning_prompt_variant],
        second=(options.qwen_stage2_prompt_text or REFINE) if options.qwen_stage2_caption else None,
        system=model.system if model else None,
        answer_format=model.answer_format if model else None,
    )
