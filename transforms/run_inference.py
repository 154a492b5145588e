"""Beam's RunInference, imported without torch, which takes seconds: the first video is read meanwhile."""

from beam_curate.imports import without

# Beam's own manager of models imports torch; it is not used here, and Beam can do without.
with without("apache_beam.ml.inference.model_manager"):
    from apache_beam.ml.inference.base import ModelHandler, RunInference

__all__ = ["ModelHandler", "RunInference"]
