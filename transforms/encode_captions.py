"""From captions to text embeddings."""

from transforms.chunk_stage import InferenceStage


class EncodeCaptions(InferenceStage):
    """Encodes captions with T5; the worker is `beam_curate.text_embeddings.stage.CaptionEncoder`."""
