r"""Opens a source: which containers are read, and which of its video and audio tracks are used.

>>> from tempfile import NamedTemporaryFile
>>> with NamedTemporaryFile(suffix=".y4m") as file:
...     _ = file.write(b"YUV4MPEG2 W32 H16 F25:1\n" + 3 * (b"FRAME\n" + bytes(768))), file.flush()
...     with open_container(file.name) as container:
...         track = video_track(container)
...         track.index, track_notes(container, track), audio_track(container, track)
...         file_name(container) == file.name
(0, (), None)
True
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import av
import av.audio
import av.container
import av.video
from av.stream import Disposition

from beam_curate.containers import error_causes
from beam_curate.errors import UnreadableSourceError

# FFmpeg's names of the demuxers of self-contained files: cameras, phones, recorders, editors, broadcast, raw streams.
# Left out are formats that refer to other files or addresses (concat, hls, dash, sdp, imf, mlv and the like), numbered
# image files (image2), and devices.
CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o", "mxf", "gxf", "ogg", "nut"),
    *("wtv", "rm", "ivr", "dv", "cine", "r3d", "lxf", "ser", "yuv4mpegpipe", "gif", "apng", "swf", "nsv", "nuv", "pva"),
    *("dhav", "hxvs", "iv8", "ifv", "luodat", "nc", "mxg", "mtv", "ty", "smjpeg", "mpjpeg", "mjpeg", "mjpeg_2000"),
    *("ivf", "obu", "av1", "h261", "h263", "h264", "hevc", "vvc", "evc", "apv", "m4v", "mpegvideo", "vc1", "vc1test"),
    *("dnxhd", "dirac", "cavsvideo", "avs2", "avs3"),
)
_LOCAL = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
_STILL_IMAGE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image

# How much of a file with several video tracks is read to tell video from still images.
_SAMPLED_PACKETS = 300
_SAMPLED_BYTES = 64 << 20
_SLIDES = 8  # a track with less than an eighth of another's frames is a slide show
_PREVIEW = 4  # a track with less than a quarter of another's pixels is a preview


@contextlib.contextmanager
def open_container(path: str, **options: str) -> Iterator[av.container.InputContainer]:
    """Opens a self-contained media file; files and addresses that it refers to are never opened.

    Raises:
        UnreadableSourceError: It is a list of other files, or of a format that is not supported.
        av.error.FFmpegError: FFmpeg cannot open the file.
    """
    # With "file:", FFmpeg does not take "a" of a name such as "a:b.mp4" for a protocol.
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore", options=_LOCAL | options)
    except av.error.ArgumentError as error:  # not on the whitelist
        raise UnreadableSourceError(
            "not a supported video file (mp4, mov, mkv, ts and the like); perhaps a list of other files"
        ) from error
    with container:
        yield container


def video_track(container: av.container.InputContainer) -> av.video.VideoStream:
    """Returns the video track to curate: the same one whenever the file is opened.

    Of the tracks with a decoder, video comes before still images and slide shows, full size before previews, the
    file's default track before others, then the first. A video track of which no frame decodes gives way to the next.

    Raises:
        UnreadableSourceError: There is no video track, or none with a decoder.
    """
    tracks = _video_tracks(container)
    if not tracks:
        raise UnreadableSourceError("it has no video stream (only audio or still images)")
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise UnreadableSourceError("FFmpeg has no decoder for its video stream")
    if len(decodable) == 1:
        return decodable[0]
    path = file_name(container)
    counts = _sampled(path, decodable)
    most = max(counts.values())
    largest = max(_pixels(track) for track in decodable)

    def rank(track: av.video.VideoStream) -> tuple[bool, bool, bool, int]:
        count = counts[track.index]
        is_still = count < 2 or count * _SLIDES < most
        is_preview = _pixels(track) * _PREVIEW < largest
        return is_still, is_preview, not track.disposition & Disposition.default, track.index

    ranked = sorted(decodable, key=rank)
    videos = (track for track in ranked if not rank(track)[0])
    return next((track for track in videos if _decodes(path, track.index)), ranked[0])


def track_notes(container: av.container.InputContainer, chosen: av.video.VideoStream) -> tuple[str, ...]:
    """Returns a note that names the other video tracks, if there are any."""
    tracks = _video_tracks(container)
    if len(tracks) < 2:
        return ()
    numbers = {track.index: number for number, track in enumerate(tracks, 1)}
    path = file_name(container)
    others = ", ".join(
        f"{numbers[track.index]} ({_described(track)}{'' if _decodes(path, track.index) else ', does not decode'})"
        for track in tracks
        if track.index != chosen.index
    )
    used = f"{numbers[chosen.index]} ({_described(chosen)})"
    return (f"it has {len(tracks)} video tracks: track {used} is curated, not track {others}",)


def audio_track(container: av.container.InputContainer, chosen: av.video.VideoStream) -> av.audio.AudioStream | None:
    """Returns the audio track that belongs to the video track: that of its programme, if the file has several."""
    track = container.streams.best("audio", related=chosen)
    if isinstance(track, av.audio.AudioStream):
        return track
    return container.streams.audio[0] if container.streams.audio else None  # its parameters come later


def file_name(container: av.container.InputContainer) -> str:
    """Returns the path of the file that `open_container` opened."""
    return str(container.name).removeprefix("file:")


def codec_name(track: av.audio.AudioStream) -> str:
    """Returns FFmpeg's name of a track's codec, or ``unknown`` if there is no decoder for it.

    >>> import io
    >>> with av.open(io.BytesIO(), "w", format="mp4") as container:
    ...     codec_name(container.add_stream("aac", rate=48000))
    'aac'
    """
    return track.codec_context.codec.canonical_name if track.codec_context is not None else "unknown"


def _video_tracks(container: av.container.InputContainer) -> list[av.video.VideoStream]:
    return [track for track in container.streams.video if not track.disposition & _STILL_IMAGE]


def _pixels(track: av.video.VideoStream) -> int:
    return track.codec_context.width * track.codec_context.height


def _described(track: av.video.VideoStream) -> str:
    if track.codec_context is None:
        return "no decoder for it"
    context = track.codec_context
    return f"{context.codec.canonical_name}, {context.width}x{context.height}"


def _decodes(path: str, index: int) -> bool:
    """Whether a frame near the beginning of a track can be decoded; true if that cannot be found out.

    Raises:
        MemoryError: Decoding a frame needs more memory than is available.
    """
    with open_container(path) as container:
        track = container.streams[index]
        if not isinstance(track, av.video.VideoStream) or track.codec_context is None:
            return True
        track.thread_type = "NONE"
        packets = itertools.islice(container.demux(track), _SAMPLED_PACKETS)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return False
            except (av.error.FFmpegError, IndexError):  # the container is damaged, not the track
                return True
            if packet.has_sidedata("encryption_info"):
                return False
            try:
                if packet.decode():
                    return True
            except av.error.FFmpegError as error:
                if error_causes.is_out_of_memory(error, track.codec_context):
                    raise MemoryError from error


def _sampled(path: str, tracks: Sequence[av.video.VideoStream]) -> Mapping[int, int]:
    """Counts each track's packets at the beginning of the file, since its header may lack the number of frames."""
    counts: collections.Counter[int] = collections.Counter({track.index: 0 for track in tracks})
    size = 0
    with open_container(path) as container, contextlib.suppress(av.error.FFmpegError, IndexError):
        for packet in itertools.islice(container.demux([container.streams[i] for i in counts]), _SAMPLED_PACKETS):
            counts[packet.stream_index] += packet.size > 0
            size += packet.size
            if size > _SAMPLED_BYTES:
                break
    return counts
