"""Every flag of `beam-curate split`, from the command line and a config file to checked options.

Importing this module imports neither Beam nor torch nor PyAV: ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_curate.buckets.base import DEFAULT_PROFILE
from beam_curate.errors import UsageError
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.clips import SplitOptions, TranscodeOptions
from beam_curate.options.command_line import Arguments, sort_arguments
from beam_curate.options.dataset import TRAINER_MIN_FRAMES, DatasetOptions, TextOptions
from beam_curate.options.filters import FilterOptions
from beam_curate.options.flags import (
    Flag,
    Group,
    by_name,
    check_values,
    contradictions_without,
    flags_of,
    place,
)
from beam_curate.options.help import Parser, add_groups, add_version
from beam_curate.options.plugins import PluginOptions, groups_of
from beam_curate.options.run import RunOptions
from beam_curate.options.sources import InputOptions

_DESCRIPTION = "Turns source videos into captioned clips and a Cosmos-Predict2 training dataset."


@dataclasses.dataclass(frozen=True)
class Options:
    """All options of a run, one group a stage."""

    input: InputOptions = dataclasses.field(default_factory=InputOptions)
    split: SplitOptions = dataclasses.field(default_factory=SplitOptions)
    transcode: TranscodeOptions = dataclasses.field(default_factory=TranscodeOptions)
    filter: FilterOptions = dataclasses.field(default_factory=FilterOptions)
    caption: CaptionOptions = dataclasses.field(default_factory=CaptionOptions)
    text: TextOptions = dataclasses.field(default_factory=TextOptions)
    dataset: DatasetOptions = dataclasses.field(default_factory=DatasetOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)
    plugins: tuple[PluginOptions, ...] = ()


GROUPS: dict[str, type[Group]] = {
    name: hint for name, hint in typing.get_type_hints(Options).items() if isinstance(hint, type)
}
"""The groups by their attribute in Options, in the order of ``--help``."""


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A command line, understood.

    Attributes:
        options: Our options.
        beam_args: Flags for Apache Beam, unchanged, with their values.
        notes: Sentences to print at the start.
        more: The options that the command has besides; None without such.
    """

    options: Options
    beam_args: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    more: Group | None = None


def flag_lines(options: Options) -> dict[str, Any]:
    """Returns all options as one flat mapping of plain values, for records.

    Without its ``config`` entry it is also the content of a file for ``--config`` that repeats the run.

    >>> lines = flag_lines(Options(transcode=TranscodeOptions(transcode_crf=20)))
    >>> lines["transcode_crf"], lines["limit"]
    (20, 0)
    """
    lines = {}
    for group in (*(getattr(options, attribute) for attribute in GROUPS), *options.plugins):
        for known in flags_of(type(group)):
            value = getattr(group, known.name)
            lines[known.name] = ",".join(value) if isinstance(value, tuple) else value
    return lines


def parse(
    argv: Sequence[str],
    *,
    prog: str = "beam-curate split",
    for_run: bool = True,
    description: str = _DESCRIPTION,
    more: type[Group] | None = None,
) -> Parsed:
    """Understands a command line.

    >>> parsed = parse(["--input-video-path", "footage", "--output-clip-path", "out", "--limit=10", "--streaming"])
    >>> parsed.options.input.limit, parsed.beam_args
    (10, ('--streaming',))

    Args:
        argv: Arguments without the program's name.
        prog: The program's name, for the help text.
        for_run: Whether an input and an output must be named.
        description: What the command does, for the help text.
        more: Flags that the command has besides those of a run; a config file does not have them.

    Raises:
        UsageError: With all that is wrong, a line each: the problem, the flag, what to do.
        SystemExit: With 0 after ``--help`` and ``--version``.
    """
    known = by_name(GROUPS.values())
    of_command = by_name([more] if more else [])
    given = sort_arguments(argv, known | of_command)
    in_file, readable = _config(given, known)
    plugins: tuple[type[PluginOptions], ...] = ()
    if named := (in_file.values | given.values).get("filter_plugin"):  # then more flags are known
        plugins = groups_of(str(named), known | of_command)
        known |= by_name(plugins)
        given = sort_arguments(argv, known | of_command)
        in_file, readable = _config(given, known)
    for option in ("-h", "--help", "--version"):
        if option in argv:
            _parser(prog, description, [*([more] if more else []), *GROUPS.values(), *plugins]).parse_args([option])
    groups, refused = _checked_groups(in_file.values | given.values, plugins)
    own, wrong = check_values(more, given.values) if more else (None, {})
    refused |= wrong
    options = Options(**groups)
    in_file_only = in_file.values.keys() - given.values.keys()
    problems = [*given.problems, *in_file.problems]
    problems += [f"{given.values['config']}: {why}" if name in in_file_only else why for name, why in refused.items()]
    if readable:
        contradictions = [*_missing(options.input)] if for_run else []
        own_groups = [groups[attribute] for attribute in GROUPS]
        contradictions += [sentence for group in own_groups for sentence in group.contradictions()]
        doubtful = {*refused, *given.doubtful, *in_file.doubtful}
        problems += contradictions_without([*contradictions, *_contradictions(options)], doubtful)
    if problems:
        raise UsageError("\n".join(problems))
    return Parsed(options, tuple(given.beam), tuple(_notes(options, in_file.accepted | given.accepted)), own)


def _config(given: Arguments, known: Mapping[str, Flag]) -> tuple[Arguments, bool]:
    """Returns the arguments of the config file, if one is given, and whether it could be read."""
    if "config" not in given.values:
        return Arguments(), True
    from beam_curate.options.config_file import read_config  # YAML is needed for files alone

    try:
        profile = str(given.values.get("input_s3_profile_name", DEFAULT_PROFILE))
        return read_config(place(str(given.values["config"])), known, profile), True
    except UsageError as error:
        return Arguments(problems=[str(error)]), False
    except ValueError:  # no path, which the check of the value refuses
        return Arguments(), False


def _checked_groups(
    values: Mapping[str, Any], plugins: Sequence[type[PluginOptions]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the groups by attribute, with defaults for wrong values, and the mistakes by the flags' names."""
    groups: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for attribute, group in GROUPS.items():
        groups[attribute], mistakes = check_values(group, values)
        refused |= mistakes
    checked = [check_values(group, values) for group in plugins]
    groups["plugins"] = tuple(group for group, _ in checked)
    return groups, refused | {name: why for _, mistakes in checked for name, why in mistakes.items()}


def _parser(prog: str, description: str, groups: Sequence[type[Group]]) -> Parser:
    parser = Parser(
        prog=prog,
        usage=f"{prog} --input-video-path PATH --output-clip-path FOLDER [flags] [flags of Apache Beam]",
        description=description,
        epilog=_EPILOG.format(prog=prog),
    )
    add_version(parser)
    add_groups(parser, *groups)
    return parser


_EPILOG = """\
Apache Beam:
  Flags of Apache Beam are passed on unchanged, in its own spelling: --direct_num_workers 4,
  --flink_master=localhost:8081, --region=europe-west4. What only a job server knows goes to the
  very end, after a lone --.

Examples:
  A first look at ten videos, clips only:
    {prog} --input-video-path footage --output-clip-path out \\
        --limit 10 --no-generate-captions
  A dataset for Cosmos-Predict2:
    {prog} --input-video-path footage --output-clip-path out \\
        --transnetv2-min-length-frames 120 --generate-cosmos-predict-dataset predict2

Exit status:
  0 the run finished; 1 it was aborted, a file of the output could not be written, or what was
  asked was not done (every video or clip failed, no caption, an empty dataset, a stage stopped, or
  more failures than --max-failure-ratio allows); 2 a mistake, found before the first video; 130 or
  143 ended by Ctrl-C or SIGTERM. The last line says why.

Every flag may also be written with underscores, as in --input_video_path."""


def _missing(options: InputOptions) -> Iterator[str]:
    """Yields what a run needs and was not given."""
    if options.input_video_path is None and options.input_video_list_json_path is None:
        yield (
            "no input: name your videos with --input-video-path PATH or --input-video-list-json-path FILE "
            "(beam-curate demo makes and curates a sample video)"
        )
    if not options.output_clip_path:
        yield "--output-clip-path is missing: name the folder for clips and dataset"


def _contradictions(options: Options) -> Iterator[str]:
    """Yields which values of different groups contradict each other."""
    caption, dataset = options.caption, options.dataset
    if dataset.generate_cosmos_predict_dataset == "disable":
        return
    if not caption.generate_captions:
        yield (
            "--generate-cosmos-predict-dataset predict2 needs captions, which --no-generate-captions turns "
            "off: leave out one of them"
        )
    longest = caption.captioning_window_size + caption.captioning_remainder_threshold - 1
    if longest < dataset.predict2_min_frames:
        yield (
            f"no caption window is longer than {longest} frames, below --predict2-min-frames "
            f"{dataset.predict2_min_frames}, so the dataset would be empty: raise --captioning-window-size"
        )


def _notes(options: Options, accepted: set[str]) -> Iterator[str]:
    """Yields what a user should know at the start."""
    dataset = options.dataset
    cores = len(os.sched_getaffinity(0))
    if (options.run.threads or 0) > cores:
        yield (
            f"--threads {options.run.threads} is more than this program's {cores} cores, which makes a run slower and "
            "takes memory: leave it out"
        )
    if options.run.gpu_only_where_needed and options.run.runner != "DataflowRunner":
        yield "--gpu-only-where-needed has no effect without --runner=DataflowRunner"
    if "no_generate_embeddings" not in accepted:
        yield "video embeddings are not supported yet and are off (cosmos-curate makes them by default)"
    if dataset.generate_cosmos_predict_dataset == "disable":
        if dataset.validation_fraction:
            yield "--validation-fraction has no effect without --generate-cosmos-predict-dataset predict2"
        return
    if dataset.predict2_min_frames < TRAINER_MIN_FRAMES:
        yield (
            f"--predict2-min-frames {dataset.predict2_min_frames} lets windows into the dataset that the "
            f"Cosmos-Predict2 trainer cannot read: it needs {TRAINER_MIN_FRAMES} frames (93 + 1)"
        )
    if options.text.text_encoder == "t5_random":
        yield "--text-encoder t5_random makes embeddings without meaning: do not train on this dataset"
