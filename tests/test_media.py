from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support import media

NUM_FRAMES = 60


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        (".mp4", {"codec": "libx264", "options": {"crf": "23", "preset": "veryfast"}}),
        (".mp4", {"codec": "libx264", "options": {"bf": "2"}}),
        (".mp4", {"codec": "mpeg4"}),
        (".mkv", {"codec": "libx264"}),
        (".mkv", {"codec": "libx264", "pixel_format": "yuv420p10le"}),
        (".mov", {"codec": "libx264"}),
        (".avi", {"codec": "mpeg4"}),
        (".avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
        (".ts", {"codec": "libx264"}),
        (".webm", {"codec": "libvpx-vp9"}),
    ],
)
def test_every_frame_tells_its_number(tmp_path, suffix, arguments):
    path = media.make_video(tmp_path / f"video{suffix}", frames=NUM_FRAMES, **arguments)
    assert media.frame_numbers(path) == list(range(NUM_FRAMES))


@pytest.mark.parametrize("size", [(128, 72), (180, 320), (1280, 720)])
def test_any_size(tmp_path, size):
    path = media.make_video(tmp_path / "video.mp4", frames=20, size=size)
    assert media.frame_numbers(path) == list(range(20))


def test_number_survives_scaling(tmp_path):
    path = media.make_video(tmp_path / "video.mp4", frames=20)
    with av.open(str(path)) as container:
        frames = [frame.reformat(214, 120, "rgb24").to_ndarray() for frame in container.decode(video=0)]
    assert [media.read_frame_number(frame) for frame in frames] == list(range(20))


def test_all_bits_are_read():
    for number in (0, 1, 0x5555, 0xAAAA, 0xFFFF):
        picture = np.zeros((180, 320, 3), np.uint8)
        media._draw_number(picture, number)
        assert media.read_frame_number(picture) == number
        assert media.read_frame_number(picture[:, :, 0]) == number


def test_damaged_number_is_an_error():
    picture = np.zeros((180, 320, 3), np.uint8)
    with pytest.raises(ValueError, match="no readable frame number"):
        media.read_frame_number(picture)
    media._draw_number(picture, 77)
    picture[20:40, :20] = picture[:20, :20]  # the first bit's complement now equals the bit
    with pytest.raises(ValueError, match="no readable frame number"):
        media.read_frame_number(picture)


def test_explicit_time_stamps(tmp_path):
    pts = [0, 40, 90, 100, 200, 1000]
    time_base = Fraction(1, 1000)
    path = media.make_video(tmp_path / "video.mkv", frames=len(pts), pts=pts, time_base=time_base)
    with av.open(str(path)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([p / 1000 for p in pts])
    assert media.frame_numbers(path) == list(range(len(pts)))


def test_shifted_time_stamps(tmp_path):
    path = media.make_video(tmp_path / "video.mp4", frames=24, start_pts=48, audio="aac")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == pytest.approx(2)
    with av.open(str(path)) as container:
        assert next(container.decode(audio=0)).time == pytest.approx(2, abs=0.05)


def test_frame_rate_and_keyframes(tmp_path):
    rate = Fraction(30000, 1001)
    path = media.make_video(tmp_path / "video.mp4", frames=60, rate=rate, keyframe_interval=20)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate
        assert [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame] == [0, 20, 40]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_audio_lasts_as_long_as_the_pictures(tmp_path, suffix):
    path = media.make_video(tmp_path / f"video{suffix}", frames=48, audio="aac")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.audio[0].codec_context.layout.name == "stereo"
        num_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert num_samples / media.AUDIO_RATE == pytest.approx(2, abs=0.05)
    assert media.frame_numbers(path) == list(range(48))


def test_shots_differ_and_frames_of_one_shot_do_not(tmp_path):
    path = media.make_video(tmp_path / "video.mp4", frames=90, shots=(0, 30, 60))
    with av.open(str(path)) as container:
        frames = [f.reformat(48, 27, "rgb24").to_ndarray() for f in container.decode(video=0)]
    below_barcode = np.stack(frames)[:, 7:].astype(np.float32)
    step = np.abs(np.diff(below_barcode, axis=0)).mean(axis=(1, 2, 3))
    assert np.flatnonzero(step > 40).tolist() == [29, 59]
    assert np.delete(step, [29, 59]).max() < 20
    assert step.min() > 0.5


def test_same_arguments_same_bytes(tmp_path):
    first, second, other = (
        media.make_video(tmp_path / name, frames=20, seed=seed).read_bytes()
        for name, seed in (("a.mp4", 0), ("b.mp4", 0), ("c.mp4", 1))
    )
    assert first == second != other


def test_broken_inputs(tmp_path):
    whole = media.make_video(tmp_path / "video.mp4", frames=20).stat().st_size
    assert media.truncate(tmp_path / "video.mp4", 0.5).stat().st_size == whole // 2
    for path in (tmp_path / "video.mp4", media.text_file(tmp_path / "text.mp4")):
        with pytest.raises(av.error.FFmpegError):
            media.frame_numbers(path)
