"""The audio of clips is copied in sync if mp4 takes it, else dropped with a note; the video is unaffected."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.video.cut import cut
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times
from beam_curate.video.timeline import Timeline
from tests.support import media
from tests.support.ffmpeg_program import ffmpeg

FRAMES, RATE = 96, 24
CLIPS = ((0, 40), (40, 96))  # audio of the clips: from 0 to 1.667 s and from 1.667 s to 4 s
AUDIO_RATE = 8000


@pytest.fixture(scope="module")
def silent_video(tmp_path_factory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("sound") / "silent.mp4", frames=FRAMES, size=(160, 96))


def with_sound(
    path: Path, silent_video: Path, *codec: str, start_s: float = 0.0, source: str = "", seconds: float = 4
) -> Path:
    """Adds a tone of 1 kHz that begins at `start_s`; `codec` are the ffmpeg program's arguments."""
    tone = source or f"sine=frequency=1000:sample_rate=48000:duration={seconds - start_s}"
    ffmpeg(
        *("-i", silent_video, "-itsoffset", str(start_s), "-f", "lavfi", "-i", tone, "-map", "0:v", "-map", "1:a"),
        *("-c:v", "copy", *codec, path),
    )
    return path


def clips_of(path: Path, folder: Path, ranges=CLIPS) -> list:
    timeline = Timeline(*filter(None, packet_times(str(path))))
    spans = [timeline.span(f"{start}-{end}", start, end) for start, end in ranges]
    folder.mkdir(exist_ok=True)
    made = [clip for clip in cut(str(path), timeline.info, spans, Encoding(), str(folder)) if clip]
    for clip, (start, end) in zip(made, ranges, strict=True):
        assert clip.error is None, clip.error
        assert media.frame_numbers(Path(clip.path)) == list(range(start, end))
    return made


def heard(path: str, rate: int = AUDIO_RATE) -> np.ndarray:
    """Returns which hundredths of a second after a file's first frame hold sound, by the ffmpeg program."""
    samples = np.frombuffer(
        ffmpeg(
            "-i", path, "-af", "aresample=async=1:first_pts=0", *("-ac", "1", "-ar", str(rate), "-f", "f32le", "pipe:")
        ),
        np.float32,
    )
    step = rate // 100
    return np.abs(samples[: len(samples) // step * step]).reshape(-1, step).max(axis=1) > 0.02


def tracks_of(path: str) -> list[str]:
    with av.open(path) as container:
        return [stream.type for stream in container.streams]


KEPT = [
    ("aac.mp4", ("-c:a", "aac")),
    ("aac.mkv", ("-c:a", "aac")),
    ("aac.ts", ("-c:a", "aac")),
    ("aac.flv", ("-c:a", "aac")),
    ("aac-mono-8000.mp4", ("-c:a", "aac", "-ac", "1", "-ar", "8000")),
    ("aac-5.1.ts", ("-c:a", "aac", "-ac", "6")),
    ("aac-96000.mkv", ("-c:a", "aac", "-ar", "96000")),
    ("mp3.mp4", ("-c:a", "libmp3lame")),
    ("mp3.flv", ("-c:a", "libmp3lame", "-ar", "44100")),
    ("mp3-22050.flv", ("-c:a", "libmp3lame", "-ar", "22050")),
    ("mp3.avi", ("-c:a", "libmp3lame", "-bf", "0")),
    ("ac3.ts", ("-c:a", "ac3")),
    ("ac3-5.1.mkv", ("-c:a", "ac3", "-ac", "6")),
    ("eac3.mkv", ("-c:a", "eac3")),
    ("opus.mkv", ("-c:a", "libopus")),
    ("opus-5.1.mkv", ("-c:a", "libopus", "-ac", "6")),
    ("opus-short-packets.mkv", ("-c:a", "libopus", "-frame_duration", "2.5")),
    ("opus.ts", ("-c:a", "libopus")),
    ("flac.mkv", ("-c:a", "flac")),
    ("alac.mov", ("-c:a", "alac")),
]
# name, arguments, text of the note
DROPPED = [
    ("mp3-11025.flv", ("-c:a", "libmp3lame", "-ar", "11025"), "mp4 does not take its mp3"),
    ("mp3-8000.mkv", ("-c:a", "libmp3lame", "-ar", "8000"), "mp4 does not take its mp3"),
    ("aac-latm.ts", ("-c:a", "aac", "-mpegts_flags", "latm"), "aac_latm"),
    ("pcm.mov", ("-c:a", "pcm_s16le"), "pcm_s16le"),
    ("pcm-24.mkv", ("-c:a", "pcm_s24le"), "pcm_s24le"),
    ("alaw.mov", ("-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"), "pcm_alaw"),
    ("vorbis.mkv", ("-c:a", "vorbis", "-strict", "-2", "-ac", "2"), "vorbis"),
    ("mp2.ts", ("-c:a", "mp2"), "mp2"),
    ("dts.mkv", ("-c:a", "dca", "-strict", "-2"), "dts"),
    ("wma.mkv", ("-c:a", "wmav2"), "wmav2"),
    ("adpcm.avi", ("-c:a", "adpcm_ms"), "adpcm_ms"),
    ("nellymoser.flv", ("-c:a", "nellymoser", "-ar", "44100", "-ac", "1"), "nellymoser"),
    ("truehd.mkv", ("-c:a", "truehd", "-strict", "-2"), "truehd"),
    ("wavpack.mkv", ("-c:a", "wavpack"), "wavpack"),
]


@pytest.mark.parametrize(("name", "codec"), KEPT, ids=[case[0] for case in KEPT])
def test_audio_that_mp4_takes_is_copied_in_sync(tmp_path, silent_video, name, codec):
    path = with_sound(tmp_path / name, silent_video, *codec)
    for clip, (start, end) in zip(clips_of(path, tmp_path / "clips"), CLIPS, strict=True):
        assert clip.notes == ()
        assert tracks_of(clip.path) == ["video", "audio"]
        on = heard(clip.path)
        seconds = (end - start) / RATE
        assert on[15 : int(100 * seconds) - 15].all()
        assert len(on) / 100 == pytest.approx(seconds, abs=0.15)  # a packet of AAC at 8 kHz lasts 128 ms


@pytest.mark.parametrize(("name", "codec", "words"), DROPPED, ids=[case[0] for case in DROPPED])
def test_audio_that_mp4_does_not_take_costs_no_frame(tmp_path, silent_video, name, codec, words):
    path = with_sound(tmp_path / name, silent_video, *codec)
    for clip in clips_of(path, tmp_path / "clips"):
        (note,) = clip.notes
        assert note.startswith("audio dropped: ") and words in note
        assert tracks_of(clip.path) == ["video"]


@pytest.mark.parametrize("start_s", [0.5, 1.0, 1.9, 2.5])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_audio_that_begins_late_begins_late_in_the_clip(tmp_path, silent_video, name, start_s):
    path = with_sound(tmp_path / name, silent_video, "-c:a", "aac", start_s=start_s)
    for clip, (start, end) in zip(clips_of(path, tmp_path / "clips"), CLIPS, strict=True):
        begin_s, end_s = start / RATE, end / RATE
        if start_s >= end_s:
            assert clip.notes == ("the source has no audio during this clip",)
            continue
        assert clip.notes == ()
        on = heard(clip.path)
        first_s = np.flatnonzero(on)[0] / 100
        assert first_s == pytest.approx(max(0, start_s - begin_s), abs=0.06)


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.flv", "a.mp4"])
def test_audio_that_begins_beyond_ffmpegs_probing(tmp_path, name):
    """FFmpeg probes 5 s for the parameters of a track, which a transport stream has in its audio packets."""
    long = media.make_video(tmp_path / "long.mp4", frames=240, size=(160, 96), keyframe_interval=24)
    path = with_sound(tmp_path / name, long, "-c:a", "aac", start_s=7, seconds=10)
    early, late = clips_of(path, tmp_path / "clips", ((24, 72), (156, 240)))
    assert early.notes == ("the source has no audio during this clip",)
    assert late.notes == ()
    first_s = np.flatnonzero(heard(late.path))[0] / 100
    assert first_s == pytest.approx(7 - 156 / RATE, abs=0.06)


def test_an_audio_track_without_packets(tmp_path, silent_video):
    """The header announces audio, but there is none."""
    path = with_sound(tmp_path / "a.mp4", silent_video, "-c:a", "aac")
    empty = tmp_path / "b.mkv"
    with av.open(str(path)) as source, av.open(str(empty), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    for clip in clips_of(empty, tmp_path / "clips"):
        assert clip.notes == ("the source has no audio during this clip",)


def far_ahead(number: int, stamp: float) -> float:
    return stamp + 300 if number == 30 else stamp


def far_back(number: int, stamp: float) -> float:
    return stamp - 1.5 if number == 110 else stamp


def twice(number: int, stamp: float) -> float:
    return stamp - 1024 / 48000 if number in (30, 90) else stamp


@pytest.mark.parametrize("change", [far_ahead, far_back, twice])
def test_a_bad_audio_stamp_costs_neither_video_nor_audio(tmp_path, silent_video, change):
    path = with_sound(tmp_path / "a.flv", silent_video, "-c:a", "aac")
    content = bytearray(path.read_bytes())
    at, number = 9 + 4, 0  # after the header and the size of the previous tag, of which there is none
    while at + 11 <= len(content):
        kind, size = content[at], int.from_bytes(content[at + 1 : at + 4], "big")
        if kind == 8 and content[at + 12] == 1:  # a packet of AAC (Adobe Flash Video File Format Specification, E.4.2)
            stamp_ms = int.from_bytes(bytes([content[at + 7]]) + content[at + 4 : at + 7], "big")
            new_ms = round(1000 * change(number, stamp_ms / 1000)).to_bytes(4, "big")
            content[at + 4 : at + 8] = new_ms[1:] + new_ms[:1]
            number += 1
        at += 11 + size + 4
    assert number > 150
    path.write_bytes(content)
    for clip, (start, end) in zip(clips_of(path, tmp_path / "clips"), CLIPS, strict=True):
        assert clip.notes == ()
        on = heard(clip.path)
        assert on[15 : int(100 * (end - start) / RATE) - 15].mean() > 0.9


def test_audio_belongs_to_the_curated_programme(tmp_path):
    first = media.make_video(tmp_path / "0.mp4", frames=FRAMES, size=(160, 96), seed=0)
    second = media.make_video(tmp_path / "1.mp4", frames=FRAMES, size=(160, 96), seed=1)
    path = tmp_path / "a.ts"
    ffmpeg(
        *("-f", "lavfi", "-i", "anullsrc=r=48000:d=4", "-i", second, "-i", first),
        *("-f", "lavfi", "-i", "sine=1000:r=48000:d=4", "-map", "0:a", "-map", "2:v", "-map", "3:a", "-map", "1:v"),
        *("-t", "4", "-c:v", "copy", "-c:a", "aac", "-program", "st=1:st=2", "-program", "st=0:st=3", path),
    )
    for clip in clips_of(path, tmp_path / "clips"):
        assert heard(clip.path)[20:150].all()


def test_the_first_of_several_audio_tracks_is_copied(tmp_path, silent_video):
    path = tmp_path / "a.mkv"
    ffmpeg(
        *(
            "-i",
            silent_video,
            "-f",
            "lavfi",
            "-i",
            "sine=1000:r=48000:d=4",
            "-f",
            "lavfi",
            "-i",
            "anullsrc=r=48000:d=4",
        ),
        *("-map", "0:v", "-map", "1:a", "-map", "2:a", "-t", "4", "-c:v", "copy", "-c:a", "aac", path),
    )
    for clip in clips_of(path, tmp_path / "clips"):
        assert heard(clip.path)[20:150].all()
        assert tracks_of(clip.path) == ["video", "audio"]
