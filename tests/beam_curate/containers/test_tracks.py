"""Which track of a file is curated; files that another file refers to are never opened."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.errors import UnreadableSourceError
from beam_curate.video import decoder_pool
from beam_curate.video.cut import cut
from beam_curate.video.decode import read_frames
from beam_curate.video.encode import Encoding
from beam_curate.video.scan import packet_times, probe, shot_frames
from beam_curate.video.timeline import Timeline
from tests.support import media
from tests.support.ffmpeg_program import ffmpeg

FRAMES = 48
H264, SMALL, LARGE = {"size": (160, 96)}, {"size": (64, 48)}, {"size": (320, 192)}
JPEG = {"size": (160, 96), "codec": "mjpeg", "pixel_format": "yuvj420p"}
PNG = {"size": (160, 96), "codec": "png", "pixel_format": "rgb24"}
STILL, SLIDES = {"frames": 1}, {"frames": 2, "rate": Fraction(1)}


def joined(path: Path, tracks: list[dict], *arguments: str) -> Path:
    """Makes a file with several video tracks, each with its own seed; `arguments` are ffmpeg's, before the output."""
    inputs: list[str | Path] = []
    maps: list[str] = []
    for number, settings in enumerate(tracks):
        part = path.with_name(f"{path.stem}-{number}.mov")
        media.make_video(part, **{"frames": FRAMES, "seed": number, **settings})
        inputs += ["-i", part]
        maps += ["-map", str(number)]
    ffmpeg(*inputs, *maps, "-c", "copy", *arguments, path)
    return path


# name, tracks, further arguments, index of the right track
CHOICES = [
    ("still first.mov", [JPEG | STILL, H264], (), 1),
    ("still first.mkv", [JPEG | STILL, H264], (), 1),
    ("png first.mov", [PNG | STILL, H264], (), 1),
    ("png first.mkv", [PNG | STILL, H264], (), 1),
    ("still picture of h264 first.mp4", [H264 | STILL, H264], (), 1),
    ("still last.mkv", [H264, JPEG | STILL], (), 0),
    ("still is default.mkv", [JPEG | STILL, H264], ("-disposition:v:0", "default", "-disposition:v:1", "0"), 1),
    ("slides first.mov", [JPEG | SLIDES, H264], (), 1),
    ("slides first.mkv", [JPEG | SLIDES, H264], (), 1),
    ("preview first.mp4", [SMALL, LARGE], (), 1),
    ("preview last.mp4", [LARGE, SMALL], (), 0),
    ("two cameras.mp4", [H264, H264], (), 0),
    ("two cameras.mkv", [H264, H264], (), 0),
    ("two cameras.ts", [H264, H264], (), 0),
    ("two cameras of near sizes.mp4", [H264, {"size": (192, 112)}], (), 0),
    ("second is default.mkv", [H264, H264], ("-disposition:v:0", "0", "-disposition:v:1", "default"), 1),
    ("three cameras.mp4", [H264, H264, H264], (), 0),
    ("two codecs.mkv", [JPEG, H264], (), 0),
    ("two programmes.ts", [H264, H264], ("-program", "st=0", "-program", "st=1"), 0),
    ("fragmented.mp4", [JPEG | STILL, H264], ("-strict", "-2", "-movflags", "frag_keyframe+empty_moov"), 1),
]


@pytest.mark.parametrize(("name", "tracks", "arguments", "right"), CHOICES, ids=[case[0] for case in CHOICES])
def test_the_same_video_track_is_curated_in_every_pass(tmp_path, name, tracks, arguments, right):
    path = joined(tmp_path / name, tracks, *arguments)
    size = tracks[right]["size"]
    truth = media.make_video(tmp_path / "truth.mov", frames=FRAMES, seed=right, **tracks[right])
    expected = [frame.to_ndarray(format="gray") for frame, _ in read_frames(str(truth))]

    (header,) = probe(str(path))
    timeline = Timeline(*filter(None, packet_times(str(path))))
    assert (header.width, header.height) == size
    assert timeline.info.num_frames == FRAMES
    assert sum(len(part.pts) for part in shot_frames(str(path)) if hasattr(part, "frames")) == FRAMES
    found = [frame.to_ndarray(format="gray") for frame, _ in read_frames(str(path))]
    assert len(found) == FRAMES
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))
    span = timeline.span("all", 0, FRAMES)
    (clip,) = filter(None, cut(str(path), timeline.info, [span], Encoding(crf=5), str(tmp_path)))
    assert clip.error is None
    assert media.frame_numbers(Path(clip.path)) == list(range(FRAMES))
    (note,) = timeline.info.notes
    assert f"{len(tracks)} video tracks: track {right + 1} " in note


def test_a_track_without_a_decoder_gives_way_to_one_with(tmp_path):
    path = joined(tmp_path / "a.mp4", [H264, H264])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"avc1", b"zzz9").replace(b"zzz9", b"avc1", 1))  # the brand, then each track
    first = content.index(b"avc1", content.index(b"moov"))
    path.write_bytes(content[:first] + b"zzz9" + content[first + 4 :])
    found = [media.read_frame_number(frame) for frame, _ in read_frames(str(path))]
    assert found == list(range(FRAMES))
    (header,) = probe(str(path))
    assert header.notes == (
        "it has 2 video tracks: track 2 (h264, 160x96) is curated, not track 1 (no decoder for it)",
    )


def with_noise(path: Path, track: int) -> Path:
    """Overwrites all frames of a track, from 0, with noise."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=track) if packet.size]
    for at, size in places:
        content[at : at + size] = np.random.default_rng(at).bytes(size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize(
    ("tracks", "damaged", "right"),
    [([H264, H264], 0, 1), ([H264, LARGE], 1, 0), ([LARGE, SMALL], 0, 1), ([H264, H264, H264], 0, 1)],
)
def test_a_track_that_does_not_decode_gives_way_to_one_that_does(tmp_path, suffix, tracks, damaged, right):
    path = with_noise(joined(tmp_path / f"a{suffix}", tracks), damaged)
    found = [frame for frame, _ in read_frames(str(path))]
    assert [media.read_frame_number(frame) for frame in found] == list(range(FRAMES))
    assert {(frame.width, frame.height) for frame in found} == {tracks[right]["size"]}
    (note,) = next(probe(str(path))).notes
    width, height = tracks[damaged]["size"]
    assert f": track {right + 1} " in note and f"{damaged + 1} (h264, {width}x{height}, does not decode)" in note


def test_a_video_track_that_does_not_decode_does_not_give_way_to_a_still_image(tmp_path):
    path = with_noise(joined(tmp_path / "a.mov", [JPEG | STILL, H264]), 1)
    with pytest.raises(UnreadableSourceError, match="no frame of it can be decoded"):
        list(read_frames(str(path)))


def references(folder: Path) -> dict[str, bytes]:
    """Returns texts that refer to another file, which exists."""
    media.make_video(folder / "other.mp4", frames=FRAMES, size=(160, 96))
    ffmpeg("-i", folder / "other.mp4", "-c", "copy", folder / "other.ts")
    return {
        "concat": b"ffconcat version 1.0\nfile other.mp4\n",
        "concat with a duration": b"ffconcat version 1.0\n\nfile 'other.mp4'\nduration 2\n",
        "concat, absolute": b"ffconcat version 1.0\nfile " + str(folder / "other.mp4").encode() + b"\n",
        "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n",
        "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        b'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT2S"><Period>'
        b'<AdaptationSet><Representation id="0" bandwidth="1000" mimeType="video/mp4"><BaseURL>other.mp4</BaseURL>'
        b"</Representation></AdaptationSet></Period></MPD>",
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        b"a=rtpmap:96 H264/90000\n",
        "imf": b'<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        b"</CompositionPlaylist>",
        "realtext": b"<window><time begin=0/>x</window>",
        "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nother.mp4\n\n" * 20,
        "a still image": (b"P6 4 4 255\n" + bytes(48)),
    }


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_list_of_other_files_is_refused(tmp_path, suffix):
    for name, content in references(tmp_path).items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        for task in ("probe", "packet_times", "shot_frames"):
            with pytest.raises(UnreadableSourceError):
                list(decoder_pool.stream(task, str(path), limits=decoder_pool.Limits()))


def test_media_in_another_file_are_not_read(tmp_path):
    """A QuickTime movie may refer to samples in another file (box dref)."""
    path = media.make_video(tmp_path / "a.mov", frames=FRAMES, size=(160, 96))
    content = path.read_bytes()
    at = content.index(b"dref") + 12  # behind version and count: size, type, version and flags of the first entry
    assert content[at + 4 : at + 8] in (b"url ", b"alis")
    other = b"file:" + str(media.make_video(tmp_path / "b.mov", frames=FRAMES, size=(160, 96))).encode() + b"\0"
    entry = struct.pack(">I4sI", 12 + len(other), b"url ", 0) + other
    grown = len(entry) - struct.unpack_from(">I", content, at)[0]
    old_end = at + len(entry) - grown
    edited = content[:at] + entry + content[old_end:]
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = content.index(name) - 4
        size = struct.unpack_from(">I", content, place)[0] + grown
        edited = edited[:place] + struct.pack(">I", size) + edited[place + 4 :]
    path.write_bytes(edited)
    (tmp_path / "b.mov").rename(tmp_path / "c.mov")
    before = [frame.to_ndarray(format="gray") for frame, _ in read_frames(str(path))]
    (tmp_path / "c.mov").rename(tmp_path / "b.mov")
    after = [frame.to_ndarray(format="gray") for frame, _ in read_frames(str(path))]
    assert len(before) == len(after)
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
