"""Checking a dataset: every fault is found, and what is called valid is what the trainer's loader reads.

``read_sample`` opens an item with the reader of Cosmos-Predict2's loader, decord 0.6.0, and does what that
loader does to an item's text, so that its failures are the failures that end a training.
"""

import contextlib
import io
import os
import pickle
import shutil
import signal
import threading

import av
import decord
import numpy as np
import pytest
from rich.console import Console

from beam_curate.cli import main
from beam_curate.dataset.embedding_file import dump_embedding
from beam_curate.dataset.verify import faults, verify
from beam_curate.errors import UsageError
from beam_curate.video.decoder_pool import Limits
from tests.support.priority import unchanged_priority
from tests.support.program import children_of

SAMPLE_FRAMES = 93  # num_frames of every video2world configuration
CAPTIONS = {
    "a": "A red ball rolls down the hill.",
    "b": "Rain falls.",
    "c_0_95": "Zwei Hunde laufen über den Hof.",
}
WINDOW = "c_0_95"


def count_tokens(text):
    return len(text.split()) + 1


def embed(caption, width=1024):
    rng = np.random.default_rng(list(caption.encode()))
    return rng.normal(0, 0.15, (min(512, count_tokens(caption)), width)).astype(np.float16)


def encode(path, codec="libx264", num_frames=96, width=128, moving=True, rate=24):
    """Writes a video of moving gradients, or of plain grey."""
    y, x = np.mgrid[:72, :width]
    with unchanged_priority(), av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, 72, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"libx264": {"preset": "ultrafast"}, "libsvtav1": {"preset": "13"}}.get(codec, {})
        for i in range(num_frames):
            pixels = np.stack([x + 2 * i, 3 * y + i, x + y + 3 * i], -1) if moving else np.full((72, width, 3), 90)
            frame = av.VideoFrame.from_ndarray((pixels % 256).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos by their properties."""
    folder = tmp_path_factory.mktemp("clips")
    made = {
        "good": encode(folder / "good.mp4"),
        "shortest": encode(folder / "shortest.mp4", num_frames=94),
        "one short": encode(folder / "one_short.mp4", num_frames=93),
        "mpeg4": encode(folder / "mpeg4.mp4", codec="mpeg4"),
        "av1": encode(folder / "av1.mp4", codec="libsvtav1"),
        "narrow": encode(folder / "narrow.mp4", width=48),
        "blank": encode(folder / "blank.mp4", moving=False),
    }
    made["cut between key frames"] = _cut_between_key_frames(folder)
    data = made["good"].read_bytes()
    for name, content in {
        "cut off": data[: len(data) * 9 // 10],
        "scrambled": data[:6000] + bytes(900) + data[6900:],
        "junk": b"not a video" * 100,
        "empty": b"",
        "sound only": _sound_only(folder / "sound.mp4"),
    }.items():
        made[name] = folder / f"{name}.mp4"
        made[name].write_bytes(content)
    return made


def _cut_between_key_frames(folder):
    """Copies packets from a key frame on, with an edit list that hides the first 12 frames."""
    path = folder / "cut_between.mp4"
    source = encode(folder / "source.mp4", num_frames=120)
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.pts -= int(0.5 / packet.time_base)
                packet.dts -= int(0.5 / packet.time_base)
                packet.stream = stream
                copy.mux(packet)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 108
    return path


def _sound_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def write_item(root, stem, caption, clip, embedding=None):
    for folder in ("videos", "metas", "t5_xxl"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, root / "videos" / f"{stem}.mp4")
    (root / "metas" / f"{stem}.txt").write_text(f"{caption}\n", "utf-8")
    content = dump_embedding(embed(caption) if embedding is None else embedding)
    (root / "t5_xxl" / f"{stem}.pickle").write_bytes(content)


@pytest.fixture
def dataset(tmp_path, clips):
    root = tmp_path / "dataset"
    for stem, caption in CAPTIONS.items():
        write_item(root, stem, caption, clips["good"])
    return root


def found(report):
    """Returns the faults as (rule, path below the dataset)."""
    return {(fault.rule, fault.file.relative_to(report.dataset).as_posix()) for fault in report.faults}


def test_a_valid_dataset(dataset):
    report = verify.verify(dataset, count_tokens=count_tokens)
    assert report.ok and report.faults == ()
    assert (report.num_items, report.num_frames, report.duration_s) == (3, 288, pytest.approx(12.0))
    assert not any("tokenizer" in note for note in report.notes)


def test_checks_left_out_are_noted(dataset):
    assert any("tokenizer" in note for note in verify.verify(dataset).notes)


def test_train_and_val(tmp_path, dataset, clips):
    split = tmp_path / "split"
    split.mkdir()
    dataset.rename(split / "train")
    assert verify.verify(split).num_items == 3  # val is absent
    for folder in faults.SUFFIXES:
        (split / "val" / folder).mkdir(parents=True)
    assert verify.verify(split).ok  # val is empty
    for folder in faults.SUFFIXES:
        (split / folder).mkdir()
    assert verify.verify(split).ok  # as after a run that moved all items from here to train
    write_item(split, "e", "Fog.", clips["good"])
    assert found(verify.verify(split)) == {("two_layouts", "train")}
    for path in [split / folder / f"e{suffix}" for folder, suffix in faults.SUFFIXES.items()]:
        path.unlink()
    write_item(split / "val", "d", "Snow.", clips["good"])
    (split / "NOT_FOR_TRAINING.txt").touch()
    assert verify.verify(split, allow_random_embeddings=True).num_items == 4
    (split / "val" / "metas" / "d.txt").unlink()
    (split / "train" / "videos" / "e.mp4.part").touch()
    (split / "index.json").touch()
    assert found(verify.verify(split)) == {
        ("random_embeddings", "NOT_FOR_TRAINING.txt"),
        ("missing_file", "val/metas/d.txt"),
        ("other_file", "train/videos/e.mp4.part"),
        ("other_file", "index.json"),
    }


def replace_video(name):
    return lambda root, clips: shutil.copy(clips[name], root / "videos" / "a.mp4")


def replace_pickle(content, protocol=4):
    return lambda root, clips: (root / "t5_xxl/a.pickle").write_bytes(pickle.dumps(content, protocol=protocol))


def write(path, content=b""):
    return lambda root, clips: (root / path).write_bytes(content)


def write_split(path):
    def make(root, clips):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(b"")

    return make


def remove(path):
    return lambda root, clips: (root / path).unlink()


def rename(path, target):
    return lambda root, clips: (root / path).rename(root / target)


def add(stem, caption, embedding=None):
    return lambda root, clips: write_item(root, stem, caption, clips["good"], embedding)


def other_name_inside(root, clips):
    for folder, suffix in faults.SUFFIXES.items():
        (root / folder / f"a{suffix}").rename(root / folder / f"a.mp4.x{suffix}")


def swap_embeddings(root, clips):
    a, b = root / "t5_xxl/a.pickle", root / "t5_xxl/b.pickle"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def unreadable_folder(root, clips):
    shutil.rmtree(root / "metas")
    (root / "metas").write_text("a file")


A = CAPTIONS["a"]
VIDEO, TEXT, PICKLE = "videos/a.mp4", "metas/a.txt", "t5_xxl/a.pickle"
FAULTS = {
    "video of 93 frames": (replace_video("one short"), {("video_short", VIDEO)}),
    "av1": (replace_video("av1"), {("video_codec", VIDEO)}),
    "narrow": (replace_video("narrow"), {("video_width", VIDEO)}),
    "blank": (replace_video("blank"), {("video_blank", VIDEO)}),
    "cut off": (replace_video("cut off"), {("video_damaged", VIDEO)}),
    "scrambled": (replace_video("scrambled"), {("video_damaged", VIDEO)}),
    "junk": (replace_video("junk"), {("video_unreadable", VIDEO)}),
    "empty video": (replace_video("empty"), {("video_unreadable", VIDEO)}),
    "sound only": (replace_video("sound only"), {("video_unreadable", VIDEO)}),
    "window of other length": (
        lambda root, clips: shutil.copy(clips["shortest"], root / f"videos/{WINDOW}.mp4"),
        {("video_window", f"videos/{WINDOW}.mp4")},
    ),
    "bare array": (replace_pickle(embed(A)), {("embedding", PICKLE)}),
    "tuple": (replace_pickle((embed(A),)), {("embedding", PICKLE)}),
    "two arrays": (replace_pickle([embed(A)] * 2), {("embedding", PICKLE)}),
    "list of lists": (replace_pickle([embed(A).tolist()]), {("embedding", PICKLE)}),
    "rank 1": (replace_pickle([np.arange(8, dtype=np.int32)]), {("embedding", PICKLE)}),
    "rank 3": (replace_pickle([embed(A)[None]]), {("embedding", PICKLE)}),
    "width 4096": (replace_pickle([embed(A, width=4096)]), {("embedding", PICKLE)}),
    "float32": (replace_pickle([embed(A).astype(np.float32)]), {("embedding", PICKLE)}),
    "padded": (replace_pickle([np.pad(embed(A), ((0, 400), (0, 0)))]), {("embedding", PICKLE)}),
    "over-long": (replace_pickle([np.ones((600, 1024), np.float16)]), {("embedding", PICKLE)}),
    "nan": (replace_pickle([embed(A) * np.float16(np.nan)]), {("embedding", PICKLE)}),
    "protocol 5": (replace_pickle([embed(A)], protocol=5), {("embedding", PICKLE)}),
    "code": (replace_pickle([os.system]), {("embedding", PICKLE)}),
    "empty pickle": (write(PICKLE), {("embedding", PICKLE)}),
    "huge pickle": (write(PICKLE, bytes(17 * 2**20)), {("embedding", PICKLE)}),
    "blank caption": (write(TEXT, b" \n\t"), {("caption", TEXT)}),
    "latin-1 caption": (write(TEXT, "Höhe".encode("latin-1")), {("caption", TEXT)}),
    "edited caption": (write(TEXT, A.encode() + b" It is dark."), {("token_count", PICKLE)}),
    "row too few": (replace_pickle([embed(A)[:-1]]), {("token_count", PICKLE)}),
    "swapped embeddings": (swap_embeddings, {("token_count", PICKLE), ("token_count", "t5_xxl/b.pickle")}),
    "embedding of another": (
        add("d", "A red dog runs down the street.", embed(A)),
        {("shared_embedding", PICKLE), ("shared_embedding", "t5_xxl/d.pickle")},
    ),
    "stale embedding": (
        add("d", A, embed(A)[::-1]),
        {("differing_embedding", PICKLE), ("differing_embedding", "t5_xxl/d.pickle")},
    ),
    "no video": (remove(VIDEO), {("missing_file", VIDEO)}),
    "no text": (remove(TEXT), {("missing_file", TEXT)}),
    "no pickle": (remove(PICKLE), {("missing_file", PICKLE)}),
    "upper-case suffix": (
        rename(VIDEO, "videos/a.MP4"),
        {("other_file", "videos/a.MP4"), ("missing_file", VIDEO)},
    ),
    "pkl": (rename(PICKLE, "t5_xxl/a.pkl"), {("other_file", "t5_xxl/a.pkl"), ("missing_file", PICKLE)}),
    "mp4 inside the name": (other_name_inside, {("name", "videos/a.mp4.x.mp4")}),
    "temporary file": (write("videos/z.mp4.tmp-1"), {("other_file", "videos/z.mp4.tmp-1")}),
    "hidden file": (write("metas/.a.txt"), {("other_file", "metas/.a.txt")}),
    "only a suffix": (write("videos/.mp4"), {("other_file", "videos/.mp4")}),
    "folder in a folder": (
        lambda root, clips: (root / "videos/more.mp4").mkdir(),
        {("other_file", "videos/more.mp4")},
    ),
    "dangling link": (
        lambda root, clips: (root / "metas/d.txt").symlink_to("nowhere"),
        {("other_file", "metas/d.txt")},
    ),
    "other file": (write("README.md"), {("other_file", "README.md")}),
    "captions folder": (lambda root, clips: (root / "captions").mkdir(), {("other_file", "captions")}),
    "split beside the folders": (write_split("val/videos/d.mp4"), {("two_layouts", "val")}),
    "file of a split": (write_split("val/d.mp4"), {("two_layouts", "val")}),
    "random": (write("NOT_FOR_TRAINING.txt"), {("random_embeddings", "NOT_FOR_TRAINING.txt")}),
    "no metas": (
        lambda root, clips: shutil.rmtree(root / "metas"),
        {("missing_folder", "metas"), *(("missing_file", f"metas/{stem}.txt") for stem in CAPTIONS)},
    ),
    "metas is a file": (
        unreadable_folder,
        {("missing_folder", "metas"), *(("missing_file", f"metas/{stem}.txt") for stem in CAPTIONS)},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found(dataset, clips, name):
    damage, expected = FAULTS[name]
    damage(dataset, clips)
    report = verify.verify(dataset, count_tokens=count_tokens)
    assert not report.ok
    assert found(report) == expected
    for fault in report.faults:
        assert fault.rule in faults.REMEDIES and fault.message
        assert fault.stem is None or fault.file.name.startswith(fault.stem)


def test_a_missing_dataset(tmp_path):
    assert found(verify.verify(tmp_path / "no")) == {("missing_root", ".")}
    (tmp_path / "file").touch()
    assert found(verify.verify(tmp_path / "file")) == {("missing_root", ".")}


def test_an_empty_dataset(tmp_path):
    assert ("empty", ".") in found(verify.verify(tmp_path))
    for folder in faults.SUFFIXES:
        (tmp_path / folder).mkdir()
    assert found(verify.verify(tmp_path)) == {("empty", ".")}


def test_random_embeddings_may_be_allowed(dataset):
    (dataset / "NOT_FOR_TRAINING.txt").touch()
    report = verify.verify(dataset, allow_random_embeddings=True)
    assert report.ok and any("random" in note for note in report.notes)


def test_embeddings_of_equal_captions_may_differ_by_rounding(dataset, clips):
    write_item(dataset, "d", A, clips["good"], embed(A) + np.float16(0.002))
    write_item(dataset, "e", f"  {A.replace(' ', '  ')}", clips["good"], embed(A))  # T5 joins white space
    assert verify.verify(dataset, count_tokens=count_tokens).ok


def test_captions_that_differ_after_their_last_encoded_token_share_an_embedding(dataset, clips):
    start = "word " * 511
    for stem, end in (("d", "yes"), ("e", "no")):
        write_item(dataset, stem, start + end, clips["good"], embed(start + "yes"))
    assert verify.verify(dataset, count_tokens=count_tokens).ok


def test_the_minimum_number_of_frames_can_be_lowered(dataset, clips):
    replace_video("one short")(dataset, clips)
    assert verify.verify(dataset, min_frames=30).ok
    assert found(verify.verify(dataset, min_frames=96)) == {("video_short", VIDEO)}


def test_other_codecs_are_noted(dataset, clips):
    replace_video("mpeg4")(dataset, clips)
    report = verify.verify(dataset)
    assert report.ok and any("mpeg4" in note for note in report.notes)


def all_files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_quarantine_leaves_a_valid_dataset(tmp_path, dataset, clips):
    replace_video("one short")(dataset, clips)
    write("metas/b.txt")(dataset, clips)
    write("t5_xxl/x.tmp", b"left over")(dataset, clips)
    before = all_files(dataset)
    moved = verify.quarantine(verify.verify(dataset), tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in moved] == [
        *("videos/b.mp4", "t5_xxl/b.pickle", "metas/b.txt"),
        *("videos/a.mp4", "t5_xxl/a.pickle", "metas/a.txt"),
        "t5_xxl/x.tmp",
    ]
    assert all_files(dataset) | all_files(tmp_path / "out") == before
    report = verify.verify(dataset)
    assert report.ok and report.num_items == 1


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("no metas", "metas is a file")])
def test_quarantine_removes_every_fault(tmp_path, dataset, clips, name):
    damage, expected = FAULTS[name]
    damage(dataset, clips)
    stay = {(rule, file) for rule, file in expected if "/" not in file}  # files beside the three folders
    verify.quarantine(verify.verify(dataset, count_tokens=count_tokens), tmp_path / "out")
    assert found(verify.verify(dataset, count_tokens=count_tokens)) == stay


def test_items_that_the_machine_could_not_check_are_reported_and_stay(tmp_path, dataset):
    encode(dataset / "videos" / "a.mp4", num_frames=3000)
    done = threading.Event()

    def kill_children():
        while not done.wait(0.02):
            for child in children_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        report = verify.verify(dataset)
    finally:
        done.set()
        killer.join()
    assert ("unchecked", "videos/a.mp4") in found(report)
    before = all_files(dataset)
    assert verify.quarantine(report, tmp_path / "out") == []
    assert all_files(dataset) == before


def test_quarantine_overwrites_nothing(tmp_path, dataset, clips):
    out = tmp_path / "out"
    for _ in range(3):
        replace_video("one short")(dataset, clips)
        verify.quarantine(verify.verify(dataset), out)
        write_item(dataset, "a", A, clips["good"])
    names = {"a.mp4", "a.mp4.1", "a.mp4.2"}
    assert {path.name for path in (out / "videos").iterdir()} == names
    assert {path.name for path in (out / "metas").iterdir()} == {"a.txt", "a.txt.1", "a.txt.2"}


def test_quarantine_keeps_train_and_val_apart(tmp_path, clips):
    for split in ("train", "val"):
        write_item(tmp_path / "dataset" / split, "a", A, clips["one short"])
    verify.quarantine(verify.verify(tmp_path / "dataset"), tmp_path / "out")
    assert (tmp_path / "out/train/videos/a.mp4").exists() and (tmp_path / "out/val/t5_xxl/a.pickle").exists()


def test_quarantine_must_be_outside_the_dataset(dataset):
    with pytest.raises(UsageError, match="outside"):
        verify.quarantine(verify.verify(dataset), dataset / "bad")


def printed(report):
    console = Console(file=io.StringIO(), width=100)
    verify.print_report(report, console)
    return console.file.getvalue()


def test_the_report_names_files_faults_and_remedies(dataset, clips):
    assert "ok" in printed(verify.verify(dataset))
    replace_video("av1")(dataset, clips)
    write("metas/[red]odd\udce9")(dataset, clips)
    text = printed(verify.verify(dataset))
    assert f"{dataset}/videos/a.mp4: is encoded as av1" in text and "encode it as H.264" in text
    assert "[red]odd\\udce9: is not named like" in text
    assert "2 faults" in text


def loader_items(root):
    """Returns the stems that the loader finds."""
    videos = sorted(path.name for path in (root / "videos").iterdir() if path.name.endswith(".mp4"))
    stems = [name.replace(".mp4", ".pickle").removesuffix(".pickle") for name in videos]
    return [stem for stem in stems if (root / "t5_xxl" / f"{stem}.pickle").exists()]


def read_sample(root, stem, last):
    """Reads an item from the first or the last start that the loader may choose; raises the loader's errors."""
    reader = decord.VideoReader(str(root / "videos" / f"{stem}.mp4"), ctx=decord.cpu(0), num_threads=2)
    num_starts = len(reader) - SAMPLE_FRAMES
    if num_starts <= 0:
        raise ValueError("no start to draw from")
    start = num_starts - 1 if last else 0
    video = reader.get_batch(list(range(start, start + SAMPLE_FRAMES))).asnumpy()
    content = pickle.loads((root / "t5_xxl" / f"{stem}.pickle").read_bytes())
    assert isinstance(content, list) and len(content) == 1
    embedding = content[0]
    assert isinstance(embedding, np.ndarray) and embedding.ndim == 2
    if len(embedding) < 512:
        padding = np.zeros((512 - len(embedding), 1024), np.float32)
        embedding = np.concatenate([embedding, padding])
    return video, embedding, reader.get_avg_fps()


@pytest.mark.parametrize("clip", ["good", "shortest", "mpeg4", "cut between key frames"])
@pytest.mark.parametrize("last", [False, True])
def test_the_loader_reads_items_without_faults(dataset, clips, clip, last):
    replace_video(clip)(dataset, clips)
    long = "word " * 600
    write_item(dataset, "long", long, clips["good"])
    assert verify.verify(dataset, count_tokens=count_tokens).ok
    assert loader_items(dataset) == sorted([*CAPTIONS, "long"])
    for stem, caption in {**CAPTIONS, "long": long}.items():
        video, embedding, frame_rate = read_sample(dataset, stem, last)
        assert video.shape == (SAMPLE_FRAMES, 72, 128, 3) and video.dtype == np.uint8
        assert embedding.shape == (512, 1024)
        rows = min(512, count_tokens(caption))
        np.testing.assert_array_equal(embedding[:rows], embed(caption))
        assert not embedding[rows:].any()
        assert frame_rate == pytest.approx(24)


@pytest.mark.parametrize(
    "name",
    [
        *("video of 93 frames", "av1", "narrow", "cut off", "scrambled", "junk", "empty video", "sound only"),
        *(
            "bare array",
            "tuple",
            "two arrays",
            "list of lists",
            "rank 1",
            "rank 3",
            "width 4096",
            "empty pickle",
        ),
    ],
)
def test_items_that_crash_the_loader_are_faulty(dataset, clips, name):
    FAULTS[name][0](dataset, clips)
    with pytest.raises(Exception):  # noqa: B017 decord raises several types
        for last in (False, True):
            read_sample(dataset, "a", last)
    assert "a" in {fault.stem for fault in verify.verify(dataset).faults}


@pytest.mark.parametrize("name", ["no pickle", "upper-case suffix", "pkl", "mp4 inside the name"])
def test_items_that_the_loader_drops_are_faulty(dataset, clips, name):
    FAULTS[name][0](dataset, clips)
    assert loader_items(dataset) == ["b", WINDOW]
    assert not verify.verify(dataset).ok


def test_a_caption_larger_than_memory_is_a_fault(dataset):
    with (dataset / "metas" / "a.txt").open("wb") as file:
        file.truncate(6 << 30)  # sparse
    report = verify.verify(dataset)
    assert [fault.message for fault in report.faults] == ["has 6442450944 bytes; a caption has at most 1048576"]


def test_a_list_of_other_files_is_not_a_video(dataset, clips):
    (dataset / "videos" / "a.mp4").write_text(f"ffconcat version 1.0\nfile {clips['good']}\n")
    assert [fault.rule for fault in verify.verify(dataset).faults] == ["video_unreadable"]


def test_links_to_devices_and_pipes_are_not_opened(dataset):
    for number, name in enumerate(("videos/x.mp4", "metas/x.txt", "t5_xxl/x.pickle")):
        (dataset / name).symlink_to("/dev/zero")
        os.mkfifo((dataset / name).with_stem(f"pipe{number}"))
    assert {fault.rule for fault in verify.verify(dataset).faults} == {"other_file"}


def test_links_are_not_files_of_a_dataset(dataset, clips):
    (dataset / "videos" / "a.mp4").unlink()
    (dataset / "videos" / "a.mp4").symlink_to(clips["good"])
    assert found(verify.verify(dataset)) == {("other_file", VIDEO), ("missing_file", VIDEO)}


def test_a_video_that_takes_too_much_memory_or_time_is_one_fault(dataset, large):
    shutil.copy(large, dataset / "videos" / "a.mp4")
    report = verify.verify(dataset, limits=Limits(timeout_s=60, memory_mb=300))
    assert found(report) == {("video_unreadable", VIDEO)} and report.num_frames == 2 * 96
    assert "--decode-memory-mb" in report.faults[0].message or "crashed" in report.faults[0].message
    report = verify.verify(dataset, limits=Limits(timeout_s=0.001))  # too short for a child to start
    assert {fault.rule for fault in report.faults} == {"video_unreadable"}
    assert all("--decode-timeout-s" in fault.message for fault in report.faults)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A video with frames of 8192x4096, about 50 MB each."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 8192, 4096, "yuvj420p"
        stream.codec_context.color_range = 2
        container.mux(stream.encode(av.VideoFrame(8192, 4096, "yuvj420p")))
        container.mux(stream.encode())
    return path


def test_frames_too_large_for_a_trainer_are_not_decoded(tmp_path, dataset):
    huge = tmp_path / "huge.mp4"
    with av.open(str(huge), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 16000, 4200, "yuvj420p"
        stream.codec_context.color_range = 2
        container.mux(stream.encode(av.VideoFrame(16000, 4200, "yuvj420p")))
        container.mux(stream.encode())
    shutil.copy(huge, dataset / "videos" / "a.mp4")
    assert [fault.rule for fault in verify.verify(dataset).faults] == ["video_size"]


def test_one_caption_of_many_items_is_noted(tmp_path, clips):
    root = tmp_path / "dataset"
    for folder in faults.SUFFIXES:
        (root / folder).mkdir(parents=True)
    for number in range(4):
        write_item(root, f"item{number}", "A road.", clips["good"])
    report = verify.verify(root)
    assert report.ok
    assert any("4 of 4 items have the same caption" in note for note in report.notes)


def test_a_folder_that_is_not_a_dataset_is_not_emptied(tmp_path, dataset):
    before = sorted(tmp_path.rglob("*"))
    (dataset.parent / "metas").mkdir()
    (dataset.parent / "metas" / "v0").mkdir()
    with pytest.raises(UsageError, match="is not a dataset"):
        verify.quarantine(verify.verify(dataset.parent), tmp_path.parent / "bad")
    assert (dataset.parent / "metas" / "v0").is_dir() and set(before) <= set(tmp_path.rglob("*"))


def test_a_part_without_folders_does_not_stop_quarantine_of_another(tmp_path, clips):
    root = tmp_path / "dataset"
    write_item(root / "train", "a", A, clips["one short"])
    write_item(root / "train", "b", "Rain.", clips["good"])
    (root / "val").mkdir()
    (root / "val" / "index.json").touch()
    verify.quarantine(verify.verify(root), tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("a.*")} == {
        f"train/{path}" for path in (VIDEO, TEXT, PICKLE)
    }
    assert found(verify.verify(root)) == {
        ("other_file", "val/index.json"),
        *(("missing_folder", f"val/{folder}") for folder in faults.SUFFIXES),
    }


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_path_is_not_the_working_directory(name, dataset, monkeypatch, capsys):
    monkeypatch.chdir(dataset)
    assert main.main(["verify", name, "--quarantine", "bad"]) == 2
    assert "DATASET is empty" in capsys.readouterr().err
