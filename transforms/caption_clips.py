"""From clips to captions."""

from transforms.chunk_stage import InferenceStage


class CaptionClips(InferenceStage):
    """Captions the windows of each clip; the worker is the captioner that --captioning-algorithm names."""
