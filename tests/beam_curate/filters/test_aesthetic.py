"""Marks are those of CLIP and the predictor as their makers compose them; a clip below the threshold is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPModel

from beam_curate.errors import ModelFilesError
from beam_curate.filters.aesthetic import AestheticFilter, reference
from beam_curate.models.catalog import AESTHETIC_SCORER, CLIP_VIT
from beam_curate.models.slot import SLOTS
from beam_curate.plan.plan import Plan
from tests.support.moving import make_moving
from tests.support.one_thread import one_thread
from tests.support.plans import plan_of
from tests.support.tiny_models import make_aesthetic_scorer, make_clip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
    SLOTS.clear()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("workspace")
    make_clip(CLIP_VIT.folder(str(folder)), seed=3)
    make_aesthetic_scorer(AESTHETIC_SCORER.folder(str(folder)), seed=4)
    return str(folder)


def marks_of_the_makers(workspace: str, pictures: np.ndarray) -> np.ndarray:
    """As the improved aesthetic predictor's own script computes them, by CLIP's whole model and its own processor."""
    clip = CLIPModel.from_pretrained(CLIP_VIT.folder(workspace)).eval()
    state = load_file(AESTHETIC_SCORER.folder(workspace) / "model.safetensors")
    layers: list[torch.nn.Module] = []
    for number in (0, 2, 4, 6, 7):
        weight = state[f"layers.{number}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": state[f"layers.{number}.bias"]})
        layers += [layer, torch.nn.Dropout(0.2)]
    pixels = CLIPImageProcessorPil()(images=list(pictures), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        found = clip.get_image_features(pixel_values=pixels)
        features = found if isinstance(found, torch.Tensor) else found.pooler_output
        features = features / features.norm(dim=-1, keepdim=True)
        return torch.nn.Sequential(*layers).eval()(features)[:, 0].numpy()


def test_marks(workspace: str) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (5, 224, 224, 3), dtype=np.uint8)
    with reference(workspace).use() as scorer:
        found = scorer.marks(pictures)
    np.testing.assert_allclose(found, marks_of_the_makers(workspace, pictures), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", ["min", "mean"])
def test_the_mark_of_a_clip(reduction: str, workspace: str, tmp_path: Path) -> None:
    clip = make_moving(tmp_path / "a.mp4", speed=12, frames=96)
    one = AestheticFilter(True, reference(workspace), threshold=0.0, reduction=reduction)  # type: ignore[arg-type]
    from beam_curate.filters.pictures import square_pictures

    marks = marks_of_the_makers(workspace, square_pictures(clip, 1.0))
    found = one.score(clip)
    assert found["frames"] == len(marks) == 5
    assert found["score"] == pytest.approx(getattr(marks, reduction)(), abs=1e-5)


def of_flags(*flags: str) -> AestheticFilter:
    plan: Plan = plan_of(*flags)
    found: AestheticFilter = plan.stage("aesthetic")
    return found


@pytest.mark.parametrize(("threshold", "rejects"), [("3.5", True), ("0", True), ("-0.5", True), ("-1", False)])
def test_a_threshold_below_all_marks_only_records(threshold: str, rejects: bool) -> None:
    assert of_flags(f"--aesthetic-threshold={threshold}").rejects == rejects
    assert of_flags() is None


def test_a_run_needs_both_models_and_a_gpu_if_there_is_one() -> None:
    plan = plan_of("--aesthetic-threshold", "3.5")
    assert [required.model.name for required in plan.required] == ["clip_vit", "aesthetic_scorer"]
    assert plan.stage("aesthetic").model.gpu_gb > 1


def test_other_weights_are_told(tmp_path: Path) -> None:
    make_clip(CLIP_VIT.folder(str(tmp_path)))
    folder = make_aesthetic_scorer(AESTHETIC_SCORER.folder(str(tmp_path)))
    save_file({"layers.0.weight": torch.zeros(5, 768)}, folder / "model.safetensors")
    with pytest.raises(ModelFilesError, match="it has no layer from 768 to 1024"), reference(str(tmp_path)).use():
        pass
