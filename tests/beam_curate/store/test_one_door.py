"""Nothing but `beam_curate.store` opens, lists, moves or deletes what is in the output.

Keys are `PurePosixPath`, which cannot do it, so what is left is to make a path of the file system from a key. A module
that imports keys or stores therefore performs no file operation of its own, except as named here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.store import layout

ROOT = Path(__file__).parents[3]
OUTPUT = ("beam_curate.store.base", "beam_curate.store.layout", "beam_curate.store.local")
OPERATIONS = {
    "exists",
    "glob",
    "hardlink_to",
    "is_dir",
    "is_file",
    "is_symlink",
    "iterdir",
    "lstat",
    "mkdir",
    "open",
    "read_bytes",
    "read_text",
    "rename",
    "replace",
    "resolve",
    "rglob",
    "rmdir",
    "samefile",
    "stat",
    "symlink_to",
    "touch",
    "unlink",
    "write_bytes",
    "write_text",
}
MODULES = ("os", "shutil", "tempfile", "glob")
HARMLESS = {
    "abspath",
    "basename",
    "commonpath",
    "commonprefix",
    "cpu_count",
    "dirname",
    "fspath",
    "getcwd",
    "getpid",
    "join",
    "normpath",
    "relpath",
    "sched_getaffinity",
    "split",
    "splitext",
    "sysconf",
    "which",
}
EXCEPTIONS = {
    "beam_curate/cli/demo.py": "makes the sample video, which is input",
    "beam_curate/cli/verify.py": "checks a dataset at any path",
    "beam_curate/dataset/verify/verify.py": "checks a dataset at any path",
    "beam_curate/sources/outputs.py": "recognises outputs among input folders",
    "runners/base.py": "writes the job of a plan into the folder that the user names",
    "runners/flink/runner.py": "looks for the jar that the options name",
    "runners/preflight.py": "compares the folders that the options name, and looks for models",
}


def modules() -> list[Path]:
    paths = [path for package in ("beam_curate", "transforms", "runners") for path in (ROOT / package).rglob("*.py")]
    return [path for path in paths if (ROOT / "beam_curate" / "store") not in path.parents]


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of imported modules and of what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def operations(tree: ast.AST) -> Iterator[str]:
    """Calls that do something with files, unless they are a store's."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        receiver, _, name = ast.unparse(node.func).rpartition(".")
        if receiver.split(".")[0] in MODULES:
            if name not in HARMLESS:
                yield f"{receiver}.{name}"
        elif name == "replace":
            if len(node.args) == 1 and not node.keywords:  # not that of a text or of a dataclass
                yield name
        elif name in OPERATIONS and receiver.split(".")[-1].lstrip("_") != "output":
            yield name


def offences(source: str) -> list[str]:
    """What a module does with files although it knows the output."""
    tree = ast.parse(source)
    if not any(name.startswith(OUTPUT) for name in imported(tree)):
        return []
    return sorted({*operations(tree)})


def test_only_the_store_touches_the_output() -> None:
    found = {path.relative_to(ROOT).as_posix(): offences(path.read_text()) for path in modules()}
    assert {name: what for name, what in found.items() if what and name not in EXCEPTIONS} == {}
    assert [name for name in EXCEPTIONS if not found.get(name)] == []  # of which none is needed any more


def readings(tree: ast.AST) -> Iterator[str]:
    """Calls that give a stored file as a path where it may be gone: not by a stage, or not in a ``with`` block."""
    blocks = {item.context_expr for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        receiver, _, name = ast.unparse(call.func).rpartition(".")
        if name == "reading" and (call not in blocks or receiver.split(".")[-1] == "output"):
            yield ast.unparse(call)


def test_stages_read_stored_files_through_stage_files_within_a_block() -> None:
    found = {str(path): [*readings(ast.parse(path.read_text()))] for path in modules()}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "line",
    [
        "path = files.reading(clip.media.file).__enter__()",
        "path = stack.enter_context(files.reading(file))",
        "with self.output.reading(file) as path: pass",
    ],
)
def test_a_stored_file_can_be_read_the_wrong_way(line: str) -> None:
    assert [*readings(ast.parse(line))]
    assert not [*readings(ast.parse("with files.reading(file) as path, CORES.one(): pass"))]


def test_who_knows_that_the_output_is_a_local_folder() -> None:
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in modules()}
    knowing = [name for name, tree in trees.items() if any("store.local" in one for one in imported(tree))]
    assert knowing == []


@pytest.mark.parametrize(
    "line",
    [
        "Path(output.location(layout.SUMMARY)).read_text()",
        "(Path(output.location()) / layout.clip('a')).unlink(missing_ok=True)",
        "open(output.location(layout.SUMMARY))",
        "os.listdir(output.location(layout.DONE))",
        "shutil.rmtree(output.location(layout.TMP))",
        "os.path.exists(output.location(layout.SUMMARY))",
        "made.replace(output.location(layout.SUMMARY))",
    ],
)
def test_the_law_can_be_broken(line: str) -> None:
    for module in ("from beam_curate.store import layout", "from beam_curate.store.base import Store"):
        assert offences(f"{module}\n{line}")


def test_a_store_is_not_an_offence() -> None:
    assert not offences(
        "from beam_curate.store import layout\nself.output.exists(layout.SUMMARY)\n'a'.replace('a', 'b')"
    )


def test_keys_cannot_touch_files() -> None:
    names = {name: value for name, value in vars(layout).items() if isinstance(value, PurePosixPath)}
    assert names
    assert not [name for name, value in names.items() if isinstance(value, Path) or value.is_absolute()]
    functions = [value for value in vars(layout).values() if inspect.isfunction(value)]
    returned = {function.__annotations__["return"] for function in functions if function.__module__ == layout.__name__}
    assert returned == {"PurePosixPath", "str"}
