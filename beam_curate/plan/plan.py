"""From options to what a run does. Nothing below this room knows the options."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from beam_curate.elements import ClipChunk, Video, VideoShots
from beam_curate.engines.endpoint import Endpoint
from beam_curate.engines.vllm import VllmServer
from beam_curate.filters.base import ClipFilter
from beam_curate.models.requirements import Requirement
from beam_curate.models.slot import ModelRef, load_ahead
from beam_curate.options.parse import Options, Parsed, flag_lines
from beam_curate.plan.engines import model_server
from beam_curate.plan.fingerprints import digest, fingerprint
from beam_curate.plan.places import cache_of, sources_of, weights_of, with_workers_workspace
from beam_curate.plan.requirements import required_models
from beam_curate.plan.settings import ModelSettings, ReportSettings, RunnerSettings, SourceSettings
from beam_curate.plan.stages import limits_of, stages_of
from beam_curate.records.records import RecordContext
from beam_curate.stage import PlannedStage, Stage
from beam_curate.store.base import Store
from beam_curate.store.done_markers import forget_done
from beam_curate.store.layout import DATASET
from beam_curate.store.open import open_store
from beam_curate.store.results import ResultStore
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from beam_curate.video.stage import ClipCutter, chunks_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run does; `beam_curate.pipeline` puts it into a graph.

    Attributes:
        output: Where everything is written.
        stages: In order: shots, clips, and the stages on chunks that the options ask for.
        context: What all records have in common.
        sources: Which videos are taken.
        runner: Where the pipeline runs.
        models: Where models lie.
        required: The models whose files the run needs there.
        model_server: The server that captions come from, or None.
        report: What is said of the run.
    """

    output: Store
    stages: tuple[PlannedStage[Any, Any], ...]
    context: RecordContext
    sources: SourceSettings
    runner: RunnerSettings
    models: ModelSettings
    required: tuple[Requirement, ...]
    model_server: Endpoint | VllmServer | None
    report: ReportSettings

    @property
    def shots(self) -> PlannedStage[Video, VideoShots]:
        """The stage from videos to spans."""
        return self.stages[0]

    @property
    def clips(self) -> PlannedStage[ClipChunk, ClipChunk]:
        """The stage that cuts clips."""
        return self.stages[1]

    @property
    def encoding(self) -> Encoding:
        """How clips are encoded."""
        return self._cutter.encoding

    @property
    def limits(self) -> Limits:
        """Limits of the child processes that read videos."""
        return self._cutter.limits

    @property
    def chunks(self) -> Callable[[VideoShots], Iterator[ClipChunk]]:
        """Divides the clips to be cut from a video into chunks."""
        return functools.partial(chunks_of, clips_per_chunk=self._cutter.clips_per_chunk)

    @property
    def _cutter(self) -> ClipCutter:
        cutter = self.clips.stage
        assert isinstance(cutter, ClipCutter)
        return cutter

    @property
    def after_clips(self) -> tuple[PlannedStage[ClipChunk, ClipChunk], ...]:
        """The stages from chunks with clips to chunks with more."""
        return self.stages[2:]

    @property
    def fingerprints(self) -> list[str]:
        """Of the stages, and the one under which videos are done: what `beam-curate clean` keeps."""
        return [*(planned.results.fingerprint for planned in self.stages), self.context.fingerprint]

    def stage(self, name: str) -> Any:
        """Returns the stage of a name, such as ``captions``; None where the run has none."""
        return next((planned.stage for planned in self.stages if planned.name == name), None)


def make_plan(parsed: Parsed) -> Plan:
    """Returns what a run does.

    >>> from beam_curate.options.parse import parse
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out", "--no-generate-captions"]))
    >>> [planned.name for planned in plan.stages]
    ['shots', 'clips']

    Args:
        parsed: A command line, understood.
    """
    options = with_workers_workspace(parsed.options)
    output = open_store(options.input.output_clip_path, options.input.output_s3_profile_name, cache_of(options))
    stages = _planned(stages_of(options), options, output)
    with_dataset = options.dataset.generate_cosmos_predict_dataset == "predict2"
    validation_fraction = options.dataset.validation_fraction if with_dataset else 0.0
    run = options.run
    return Plan(
        output=output,
        stages=stages,
        context=RecordContext(
            output,
            _fingerprint_of_done(stages, validation_fraction, options),
            options.text.text_encoder if with_dataset else None,
            validation_fraction,
        ),
        sources=SourceSettings(
            options.input.input_video_path,
            options.input.input_video_list_json_path,
            options.input.input_extensions,
            options.input.limit,
            options.input.keep_duplicates,
            run.retry_failed,
            run.repair,
            sources_of(options),
        ),
        runner=RunnerSettings(
            run.runner,
            run.threads,
            parsed.beam_args,
            run.verbose,
            run.gpu_memory_gb,
            any(planned.needs_gpu for planned in stages),
            run.gpu_only_where_needed,
            run.detach,
        ),
        models=ModelSettings(run.workspace, weights_of(options)),
        required=required_models(options),
        model_server=model_server(options),
        report=ReportSettings(
            flag_lines(parsed.options),
            parsed.notes,
            options.dataset.write_all_caption_json,
            options.dataset.write_video_summaries,
            run.max_failure_ratio,
            run.dry_run,
        ),
    )


def _planned(stages: Sequence[Stage[Any, Any]], options: Options, output: Store) -> tuple[PlannedStage[Any, Any], ...]:
    """Gives each stage the store of its results, under its fingerprint."""
    run, decoding = options.run, limits_of(options)
    limits = f"--decode-timeout-s {decoding.timeout_s:g} --decode-memory-mb {decoding.memory_mb}"
    planned: list[PlannedStage[Any, Any]] = []
    before = ""
    in_parts = False
    for position, stage in enumerate(stages):
        own = fingerprint(stage, before)
        results = ResultStore(output, stage.name, own, stage.result_type, run.retry_failed, limits, run.repair)
        if isinstance(stage, ClipCutter):  # what was cut passes all later stages
            models = [later.model for later in stages[position + 1 :] if later.model is not None]
            before_work = functools.partial(_before_cutting, output, models)
            planned.append(PlannedStage(stage, results, position, before_work))
        else:
            planned.append(PlannedStage(stage, results, position, in_parts=in_parts))
        if isinstance(stage, ClipFilter):  # neither its score nor its rule changes what other stages make of a clip
            in_parts = in_parts or stage.rejects
        else:
            before = own
    return tuple(planned)


def _before_cutting(output: Store, models: Sequence[ModelRef], chunk: ClipChunk) -> None:
    """Has the models loaded that the clips will need, and no done marker vouch for clips that are about to change.

    Where files are shared, a clip changes when it is published, and the markers of other options go then.
    """
    if not output.shares_files:
        forget_done(output, chunk.video)
    load_ahead(*models)


def _fingerprint_of_done(stages: Sequence[PlannedStage[Any, Any]], validation_fraction: float, options: Options) -> str:
    """Returns the fingerprint under which videos are done: of the last stage, and of what records depend on besides.

    Other limits of decoding may make more of a video, so it is done only within the same ones.
    """
    return digest(
        stage=DATASET.name,
        version=1,
        before=stages[-1].results.fingerprint,
        filters=[
            [planned.results.fingerprint, planned.stage.rule_identity()]
            for planned in stages
            if isinstance(planned.stage, ClipFilter)
        ],
        validation_fraction=validation_fraction,
        keep_duplicates=options.input.keep_duplicates,
        limits=dataclasses.asdict(limits_of(options)),
    )
