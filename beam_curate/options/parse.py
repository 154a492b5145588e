"""Every flag of ``python -m beam_curate.run``, from the command line and a config file to checked options.

Importing this module imports neither Beam nor torch nor PyAV: ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from beam_curate.errors import UsageError
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.clips import DEMO_OUTPUT, InputOptions, SplitOptions, TranscodeOptions, parse_extensions
from beam_curate.options.command_line import Arguments, read_config, sort_arguments
from beam_curate.options.dataset import (
    TRAINER_MIN_FRAMES,
    DatasetOptions,
    RunOptions,
    TextOptions,
    default_workspace,
)
from beam_curate.options.flags import Group, HelpFormatter, Parser, add_group, by_name, flags_of, problems_of

__all__ = [
    "DEMO_OUTPUT",
    "GROUPS",
    "TRAINER_MIN_FRAMES",
    "CaptionOptions",
    "DatasetOptions",
    "InputOptions",
    "Options",
    "Parsed",
    "RunOptions",
    "SplitOptions",
    "TextOptions",
    "TranscodeOptions",
    "default_workspace",
    "flag_lines",
    "parse",
    "parse_extensions",
]


@dataclasses.dataclass(frozen=True)
class Options:
    """All options of a run, one group a stage."""

    input: InputOptions = dataclasses.field(default_factory=InputOptions)
    split: SplitOptions = dataclasses.field(default_factory=SplitOptions)
    transcode: TranscodeOptions = dataclasses.field(default_factory=TranscodeOptions)
    caption: CaptionOptions = dataclasses.field(default_factory=CaptionOptions)
    text: TextOptions = dataclasses.field(default_factory=TextOptions)
    dataset: DatasetOptions = dataclasses.field(default_factory=DatasetOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)


GROUPS: dict[str, type[Group]] = typing.get_type_hints(Options)
"""The groups by their attribute in Options, in the order of ``--help``."""


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A command line, understood.

    Attributes:
        options: Our options.
        beam_args: Flags for Apache Beam, unchanged, with their values.
        notes: Sentences to say at the start.
    """

    options: Options
    beam_args: tuple[str, ...]
    notes: tuple[str, ...]


def flag_lines(options: Options) -> dict[str, Any]:
    """Returns all options as one flat mapping of plain values, for records.

    Without its ``config`` entry it is also the content of a file for ``--config`` that repeats the run.
    """
    lines = {}
    for attribute, group in GROUPS.items():
        for known in flags_of(group):
            value = getattr(getattr(options, attribute), known.name)
            lines[known.name] = ",".join(value) if isinstance(value, tuple) else value
    return lines


def parse(argv: Sequence[str], *, prog: str = "python -m beam_curate.run") -> Parsed:
    """Understands a command line.

    Args:
        argv: Arguments without the program's name.
        prog: The program's name, for the help text.

    Raises:
        UsageError: With all that is wrong, a line each: the problem, the flag, the mend.
        SystemExit: With 0 after ``--help``.
    """
    parser = _parser(prog)
    if {"-h", "--help"} & set(argv):
        parser.print_help()
        parser.exit(0)
    known = by_name(GROUPS.values())
    given, in_file = sort_arguments(argv, known), Arguments()
    values = vars(parser.parse_args(given.own))
    if "config" in values:
        in_file = read_config(values["config"], known)
        values = vars(parser.parse_args(in_file.own)) | values
    groups: dict[str, Any] = {
        attribute: group(**{flag.name: values[flag.name] for flag in flags_of(group) if flag.name in values})
        for attribute, group in GROUPS.items()
    }
    options = Options(**groups)
    problems = [problem for group in groups.values() for problem in problems_of(group)]
    problems += _contradictions(options)
    if problems:
        raise UsageError("\n".join(problems))
    if not options.input.output_clip_path:
        options = dataclasses.replace(options, input=dataclasses.replace(options.input, output_clip_path=DEMO_OUTPUT))
    notes = tuple(_notes(options, in_file.accepted | given.accepted))
    return Parsed(options, given.beam, notes)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        usage=f"{prog} [--input-video-path PATH --output-clip-path FOLDER] [flags] [flags of Apache Beam]",
        description="Turns source videos into captioned clips and a Cosmos-Predict2 training dataset.",
        epilog=_EPILOG.format(prog=prog),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    for group in GROUPS.values():
        add_group(parser, group)
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
  0 the run came to its end; 1 it broke off, a file of the output could not be written, or what was
  asked was not done (every video or clip failed, no caption, an empty dataset, a stage stopped, or
  more failures than --max-failure-ratio allows); 2 a mistake, found before the first video; 130 or
  143 ended by Ctrl-C or SIGTERM. The last line says why.

Every flag may also be written with underscores, as in --input_video_path."""


def _contradictions(options: Options) -> Iterator[str]:
    """Yields what options of different groups cannot mean together."""
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


def _notes(options: Options, accepted: frozenset[str]) -> Iterator[str]:
    """Yields what a user should know at the start."""
    dataset = options.dataset
    cores = len(os.sched_getaffinity(0))
    if (options.run.threads or 0) > cores:
        yield (
            f"--threads {options.run.threads} is more than this program's {cores} cores, which makes a run slower and "
            "takes memory: leave it out"
        )
    if "no_generate_embeddings" not in accepted:
        yield "embeddings are not built yet and are off (cosmos-curate makes them by default)"
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
