"""Damaged, lying and hostile videos made from clean ones, and what may be made of them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import random
import struct
import subprocess
import time
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from beam_curate import errors
from beam_curate.dataset.verify.verify import verify
from tests.support.media import make_video, read_frame_number
from tests.support.program import command, summary

FRAMES, RATE, SIZE, KEYFRAME_INTERVAL = 96, 24, (192, 108), 12
BLOCK = 12  # pixels; divides both sides

# What a picture of a clip may differ from the clean source's, in grey levels: no more than the quantizer of crf 18,
# which is all that lies between the two. In clips of the clean videos here the mean difference was at most 1.1 and that
# of the worst 12x12 block 5.3, over all frames; a macroblock that was smeared or repeated differs by 15 to 200.
MAX_MEAN_ERROR = 2.0
MAX_BLOCK_ERROR = 10.0

FLAGS = (
    *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "1"),
    *("--fixed-stride-min-clip-length-s", "0.5", "--predict2-min-frames", "4"),
    *("--decode-timeout-s", "5", "--decode-memory-mb", "768"),
)
# Of a file itself: another run would find the same.
PERMANENT = frozenset(
    kind.__name__
    for kind in (
        errors.UnreadableSourceError,
        errors.DecoderCrashedError,
        errors.DecoderTimeoutError,
        errors.DecoderMemoryError,
        errors.LostFramesError,
    )
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One damaged file.

    Attributes:
        name: File name in the input folder.
        what: What is wrong, for people.
        clean: Name of the clean video it was made from; empty when no picture of it may reach a clip.
        data: Its content.
        fast: Whether it belongs to the default tier.
        least: Clips that must be made of it: what is sound must not be refused.
        reordered: Whether the file itself asks for another order of the frames.
    """

    name: str
    what: str
    clean: str
    data: bytes
    fast: bool = False
    least: int = 0
    reordered: bool = False


@dataclasses.dataclass
class Result:
    """What a run made of one file.

    Attributes:
        state: As the summary says.
        made: Clips.
        refused: Clips.
        reasons: Why, with how often.
        faults: What is wrong with that.
        unnoticed: Clips with damage of which FFmpeg, asked as strictly as it can be, gives no sign.
    """

    state: str
    made: int = 0
    refused: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    faults: list[str] = dataclasses.field(default_factory=list)
    unnoticed: list[str] = dataclasses.field(default_factory=list)


def make_clean(folder: Path) -> dict[str, Path]:
    """Makes the clean videos: with B-frames where the codec has them, two groups of pictures a second."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {"frames": FRAMES, "rate": Fraction(RATE), "size": SIZE, "keyframe_interval": KEYFRAME_INTERVAL}
    h264 = {"preset": "veryfast"}
    made = {
        "h264.mp4": make_video(folder / "h264.mp4", options=h264, seed=1, **common),
        "h264.ts": make_video(folder / "h264.ts", options=h264, seed=3, **common),
        "h264.mkv": make_video(folder / "h264.mkv", options=h264, seed=4, **common),
        "mpeg4.mp4": make_video(folder / "mpeg4.mp4", codec="mpeg4", options={"qscale": "3"}, seed=5, **common),
        "hevc.mp4": make_video(
            folder / "hevc.mp4", codec="libx265", options={"x265-params": "log-level=none:pools=1"}, seed=6, **common
        ),
        "mjpeg.mov": make_video(folder / "mjpeg.mov", codec="mjpeg", pixel_format="yuvj420p", seed=7, **common),
    }
    made["h264-faststart.mp4"] = _with_moov_first(made["h264.mp4"], folder / "h264-faststart.mp4")
    return made


def make_cases(clean: dict[str, Path]) -> list[Case]:
    """Makes all damaged files."""
    data = {name: path.read_bytes() for name, path in clean.items()}
    return [
        *_truncated(data),
        *_flipped(data),
        *_overwritten(data),
        *_wrong_boxes(data["h264.mp4"]),
        *_lies(data["h264.mp4"]),
        *_edit_lists(data["h264.mp4"]),
        *_bombs(data, clean["h264.mp4"].parent),
    ]


def _truncated(data: dict[str, bytes]) -> Iterator[Case]:
    for name in ("h264.mp4", "h264-faststart.mp4", "h264.ts", "h264.mkv"):
        stem, suffix = name.split(".")
        for tenth in range(1, 10):
            cut = data[name][: len(data[name]) * tenth // 10]
            # Four clips of a second: with the index first, or none needed, those before the cut are sound.
            least = 0 if name == "h264.mp4" else max(0, tenth * 4 // 10 - 1)
            what = f"{stem} in {suffix}, cut off at {tenth}/10"
            yield Case(f"cut {stem} {tenth}.{suffix}", what, name, cut, tenth in (4, 9), least)


def _flipped(data: dict[str, bytes]) -> Iterator[Case]:
    for name in ("h264.mp4", "mpeg4.mp4", "hevc.mp4"):
        for count, seed in itertools.product((1, 8, 64), range(4)):
            flipped = bytearray(data[name])
            chance = random.Random(f"{name} {count} {seed}")
            for _ in range(count):
                flipped[_in_the_middle(data[name], chance)] ^= 1 << chance.randrange(8)
            stem = name.split(".")[0]
            what = f"{stem}, {count} bits flipped in the middle fifth (seed {seed})"
            # The middle fifth of the data reaches into the second and third of four clips. HEVC's open groups of
            # pictures carry the damage over a key frame.
            least = 1 if stem == "hevc" else 2
            yield Case(f"flip {stem} {count} {seed}.mp4", what, name, bytes(flipped), seed == 0, least)


def _overwritten(data: dict[str, bytes]) -> Iterator[Case]:
    for name in ("h264.mp4", "h264.ts", "h264.mkv", "mpeg4.mp4", "hevc.mp4", "mjpeg.mov"):
        for kind, seed in itertools.product(("zeros", "random"), range(2)):
            chance = random.Random(f"{name} {kind} {seed}")
            start = _in_the_middle(data[name], chance)
            patch = bytes(1024) if kind == "zeros" else chance.randbytes(1024)
            whole = data[name][:start] + patch + data[name][start + 1024 :]
            stem, suffix = name.split(".")
            what = f"{stem} in {suffix}, 1 KiB of {kind} in the middle (seed {seed})"
            fast = seed == 0 and kind == ("zeros" if suffix in ("ts", "mkv") else "random")
            yield Case(f"over {stem} {kind} {seed}.{suffix}", what, name, whole, fast, 2)


def _in_the_middle(data: bytes, chance: random.Random) -> int:
    """Returns a position in the middle fifth of the media data."""
    start = data.find(b"mdat")
    end = data.find(b"moov", start) if start >= 0 else len(data)
    start, end = max(start, 0), end if end > 0 else len(data)
    return chance.randrange(start + (end - start) * 2 // 5, start + (end - start) * 3 // 5)


WRONG = {"too large": None, "huge": 0x7FFFFFFF, "zero": 0, "negative": 0xFFFFFFF0}


def _wrong_boxes(data: bytes) -> Iterator[Case]:
    for name, (label, value) in itertools.product(("moov", "trak", "stco", "stsz", "mdat"), WRONG.items()):
        start, size = find_box(data, name)
        edited = put(data, start, size + 1000 if value is None else value)
        what = f"the size of box {name} is {label}"
        yield Case(f"box {name} {label}.mp4", what, "h264.mp4", edited, label == "zero")
    stco, stsz = find_box(data, "stco")[0], find_box(data, "stsz")[0]
    fields = {
        "the first chunk's offset (stco)": stco + 16,
        "the number of chunks (stco)": stco + 12,
        "the common sample size (stsz)": stsz + 12,
        "the middle sample's size (stsz)": stsz + 20 + 4 * (FRAMES // 2),
    }
    for (field, place), (label, value) in itertools.product(fields.items(), WRONG.items()):
        new = struct.unpack_from(">I", data, place)[0] + 1000 if value is None else value
        name = f"box {field.replace('the ', '')} {label}.mp4"
        yield Case(name, f"{field} is {label}", "h264.mp4", put(data, place, new), label == "negative")


def _lies(data: bytes) -> Iterator[Case]:
    """Durations and counts that are not so."""
    mvhd, tkhd, mdhd = (find_box(data, name)[0] for name in ("mvhd", "tkhd", "mdhd"))
    stts, stsz, ctts, stss = (find_box(data, name)[0] for name in ("stts", "stsz", "ctts", "stss"))
    fields = {
        "the movie's duration (mvhd)": mvhd + 24,
        "the movie's time scale (mvhd)": mvhd + 20,
        "the track's duration (tkhd)": tkhd + 28,
        "the media's duration (mdhd)": mdhd + 24,
        "the media's time scale (mdhd)": mdhd + 20,
        "the frames of equal duration (stts)": stts + 16,
        "the duration of a frame (stts)": stts + 20,
        "the entries of durations (stts)": stts + 12,
        "the number of frames (stsz)": stsz + 16,
        "the entries of offsets (ctts)": ctts + 12,
        "the first frame's offset (ctts)": ctts + 20,
        "the number of key frames (stss)": stss + 12,
    }
    for (field, place), (label, value) in itertools.product(fields.items(), WRONG.items()):
        new = struct.unpack_from(">I", data, place)[0] + 1000 if value is None else value
        name = f"lie {field.replace('the ', '')} {label}.mp4"
        yield Case(
            name,
            f"{field} is {label}",
            "h264.mp4",
            put(data, place, new),
            label == ("huge" if "entries" in field or "number" in field else "zero"),
        )


def _edit_lists(data: bytes) -> Iterator[Case]:
    scale = struct.unpack_from(">I", data, find_box(data, "mvhd")[0] + 20)[0]
    media = struct.unpack_from(">I", data, find_box(data, "mdhd")[0] + 20)[0]
    lists: dict[str, tuple[list[tuple[int, int]], int | None]] = {
        "says four thousand million entries and has one": ([(4 * scale, 0)], 0xFFFFFFFF),
        "shows the whole 50,000 times": ([(4 * scale, 0)] * 50_000, None),
        "shows the whole 5 times": ([(4 * scale, 0)] * 5, None),
        "shows one frame 500 times": ([(scale // RATE, media)] * 500, None),
        "has 50,000 empty entries": ([(scale, -1)] * 50_000, None),
        "has entries of no length": ([(0, 0)] * 1000, None),
        "starts before the beginning": ([(4 * scale, -5000)], None),
        "starts behind the end": ([(4 * scale, 1 << 30)], None),
        "lasts two thousand million units": ([(0x7FFFFFFF, 0)], None),
        "goes backwards": ([(scale, 3 * media), (scale, 2 * media), (scale, media), (scale, 0)], None),
    }
    for number, (what, (entries, count)) in enumerate(lists.items()):
        edited = with_edit_list(data, entries, count)
        fast = "50,000 times" not in what
        yield Case(f"edits {number}.mp4", f"the edit list {what}", "h264.mp4", edited, fast, reordered=True)


def _bombs(data: dict[str, bytes], folder: Path) -> Iterator[Case]:
    for side in (16000, 16384, 65500):
        label = f"declares {side}x{side}"
        h264 = with_parameter_set(data["h264.mp4"], side)
        yield Case(f"bomb h264 {side}.mp4", f"h264 {label}", "", h264, side == 16384)
        jpeg = bytearray(data["mjpeg.mov"])
        position = -1
        while (position := jpeg.find(b"\xff\xc0\x00\x11\x08", position + 1)) >= 0:
            struct.pack_into(">HH", jpeg, position + 5, side, side)
        yield Case(f"bomb mjpeg {side}.mov", f"mjpeg {label}", "", bytes(jpeg), side == 16384)
        png = _movie_of_png(folder / f"png {side}.mov", side, whole=False)
        yield Case(f"bomb png {side}.mov", f"png {label} and holds a line", "", png, side == 16384)
        place = find_box(data["h264.mp4"], "stsd")[0] + 16 + 32
        width, height = side // 16 * 16, side // 16 * 9  # the shape of the pictures, or they would count as squeezed
        entry = data["h264.mp4"][:place] + struct.pack(">HH", width, height) + data["h264.mp4"][place + 4 :]
        what = f"the box stsd declares {width}x{height}, the stream does not"
        yield Case(f"bomb box {side}.mp4", what, "h264.mp4", entry, side == 16384, 4)
    png = _movie_of_png(folder / "png whole.mov", 16000, whole=True)
    yield Case("bomb png whole.mov", "png of 16000x16000, all of it there in 0.3 MB", "", png)


def find_box(data: bytes, name: str) -> tuple[int, int]:
    """Returns where the first box of a name begins, and its size."""
    return next((start, size) for start, size, found in _boxes(data, 0, len(data)) if found == name.encode())


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield start, size, name
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"):
            yield from _boxes(data, start + 8, start + size)
        start += size


def put(data: bytes, place: int, value: int) -> bytes:
    """Writes 32 bits, most significant byte first."""
    return data[:place] + struct.pack(">I", value & 0xFFFFFFFF) + data[place + 4 :]


def with_edit_list(data: bytes, entries: list[tuple[int, int]], count: int | None = None) -> bytes:
    """Gives the only track of an mp4 whose moov comes last another edit list, of (duration, media time)."""
    body = b"".join(struct.pack(">IiI", duration, time, 1 << 16) for duration, time in entries)
    elst = struct.pack(">I4sII", 16 + len(body), b"elst", 0, len(entries) if count is None else count) + body
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    start, size = find_box(data, "edts")
    edited = data[:start] + edts + data[start + size :]
    for name in ("moov", "trak"):
        place, whole = find_box(data, name)
        edited = put(edited, place, whole + len(edts) - size)
    return edited


def with_parameter_set(data: bytes, side: int) -> bytes:
    """Replaces the picture size in the avcC box of an mp4 by a square, with a parameter set of the same length."""
    start = data.index(b"avcC") + 4
    length = struct.unpack_from(">H", data, start + 6)[0]
    # profile 66, level 6.2, then (H.264, 7.3.2.1.1): id 0, frame numbers of 4 bits, order type 2, one reference,
    # the size in macroblocks, frames only, direct 8x8 inference, neither cropping nor more to say.
    mbs = _golomb((side + 15) // 16 - 1)
    bits = _golomb(0) + _golomb(0) + _golomb(2) + _golomb(1) + "0" + mbs + mbs + "11001"
    bits += "0" * (-len(bits) % 8)
    body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    parameters = b"\x67\x42\xc0\x3e" + body
    assert len(parameters) <= length
    return data[: start + 8] + parameters.ljust(length, b"\0") + data[start + 8 + length :]


def _golomb(value: int) -> str:
    """Returns the bits of an unsigned Exp-Golomb code (H.264, 9.1)."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _movie_of_png(path: Path, side: int, *, whole: bool) -> bytes:
    """Returns a mov of 30 grey PNG pictures; with a line each, or with all of their pixels."""
    rows = side if whole else 1
    packed = zlib.compressobj(9)
    pixels = b"".join(packed.compress(bytes(side + 1)) for _ in range(rows)) + packed.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("png", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        stream.time_base = Fraction(1, RATE)
        for number in range(30):
            packet = av.Packet(picture)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return path.read_bytes()


def _with_moov_first(source: Path, target: Path) -> Path:
    with (
        av.open(str(source)) as reader,
        av.open(str(target), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as writer,
    ):
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    return target


# What a run made of them.


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of the program that came to its end."""

    status: int
    printed: str
    seconds: float
    children_left: list[str]


def run_over(source: Path, output: Path, *flags: str, limit_s: float = 300) -> Run:
    """Runs the program; raises TimeoutExpired, after killing it, when it does not end within ``limit_s``."""
    start = time.monotonic()
    with subprocess.Popen(
        command(source, output, *(flags or FLAGS)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            printed, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Run(process.returncode, printed, time.monotonic() - start, _children_of(process.pid))


def _children_of(pid: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"beam_curate.video.decoder_process" in words and str(pid).encode() in words:
            found.append(folder.name)
    return found


def results(output: Path, names: Iterable[str]) -> dict[str, Result]:
    """Reads what became of each file, and notes where an outcome is not one, or not told."""
    counted = summary(output)
    found = {}
    for name in names:
        state = counted.get(name, {}).get("state", "not in the summary")
        found[name] = Result(state, made=len(counted.get(name, {}).get("clips", ())))
        if state not in ("processed", "failed", "skipped"):
            found[name].faults.append(f"its outcome is: {state}")
    for line in (output / "failures.jsonl").read_text().splitlines():
        failure = json.loads(line)
        result = found[Path(failure["uri"]).name]
        result.reasons[f"{failure['error_type']}: {failure['message']}"] += 1
        result.refused += failure["clip_id"] is not None
        if failure["error_type"] not in PERMANENT:
            result.faults.append(f"{failure['error_type']} is no error of a file: {failure['message']}")
        if len(failure["message"]) < 10 or failure["retriable"]:
            result.faults.append(f"no reason, or one that will pass: {failure}")
    for result in found.values():
        if result.state == "failed" and not result.reasons:
            result.faults.append("it failed without a reason")
    return found


def check_clips(output: Path, cases: Iterable[Case], clean: dict[str, Path], found: dict[str, Result]) -> None:
    """Notes every clip that is not exactly frames of the clean source, one after the other."""
    by_name = {case.name: case for case in cases}
    truth = {name: grey_pictures(path) for name, path in clean.items()}
    for path in (output / "metas" / "v0").glob("*.json"):
        meta = json.loads(path.read_text())
        if not meta["valid"]:
            continue
        case = by_name[Path(meta["source_video"]).name]
        if not case.clean:
            found[case.name].faults.append("a clip was made of a bomb")
            continue
        fault = clip_fault(meta, truth[case.clean], case.reordered)
        if fault:
            noticed = is_noticed(Path(meta["source_video"]), *meta["duration_span"])
            result = found[case.name]
            (result.faults if noticed else result.unnoticed).append(f"frames {meta['frame_span']}: {fault}")


def is_noticed(path: Path, start_s: float, end_s: float) -> bool:
    """Whether FFmpeg's decoder gives any sign of damage in a span of the video: without one, no program could tell."""
    return any(time_s is None or start_s <= time_s < end_s for time_s in signs_of_damage(path))


def signs_of_damage(path: Path) -> Iterator[float | None]:
    """Yields the time in the video of each sign of damage; None for one that belongs to no place."""
    with av.open(f"file:{path}", metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if stream.codec_context.codec.canonical_name in ("hevc", "mjpeg"):  # these say nothing unless told to
            stream.codec_context.options = {"err_detect": "explode"}

        def time_s(of: av.Packet | av.VideoFrame) -> float | None:
            return None if of.pts is None else float((of.pts - (stream.start_time or 0)) * stream.time_base)

        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    yield time_s(packet)
                try:
                    yield from (time_s(frame) for frame in packet.decode() if frame.is_corrupt)
                except av.error.FFmpegError:
                    yield time_s(packet)
        except av.error.FFmpegError:
            yield None


def clip_fault(meta: dict, truth: np.ndarray, reordered: bool = False) -> str | None:
    """Returns what is wrong with the pictures of a clip, or None."""
    pictures = grey_pictures(Path(meta["clip_location"]))
    start, end = meta["frame_span"]
    if len(pictures) != end - start:
        return f"{len(pictures)} frames"
    if pictures.shape[1:] != truth.shape[1:]:
        return f"its pictures are {pictures.shape[2]}x{pictures.shape[1]}"
    try:
        numbers = [read_frame_number(picture) for picture in pictures]
    except ValueError as error:
        return str(error)
    if not reordered and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return f"not consecutive frames: {numbers}"
    for number, picture in zip(numbers, pictures, strict=True):
        if number >= len(truth):
            return f"there is no frame {number}"
        mean, block = picture_error(picture, truth[number])
        if mean > MAX_MEAN_ERROR or block > MAX_BLOCK_ERROR:
            return f"frame {number} is smeared: differs by {mean:.1f}, its worst block by {block:.1f}"
    return None


def picture_error(shown: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Returns the mean absolute difference of two pictures, and of their worst 12x12 block."""
    difference = np.abs(shown.astype(np.float32) - truth)
    height, width = difference.shape
    blocks = difference.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
    return float(difference.mean()), float(blocks.max())


def grey_pictures(path: Path) -> np.ndarray:
    """Decodes a file: uint8 [frames, height, width]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def dataset_faults(output: Path) -> list[str]:
    """Returns what is wrong with the dataset."""
    report = verify(output / "cosmos_predict2_video2world_dataset", min_frames=4, allow_random_embeddings=True)
    return [f"{fault.file.name}: {fault.message}" for fault in report.faults]


def error_types(found: Iterable[Result]) -> collections.Counter[str]:
    """Counts failures by the type of their error."""
    return collections.Counter(
        kind.split(":")[0] for result in found for kind, count in result.reasons.items() for _ in range(count)
    )
