"""DirectRunner: threads of this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from beam_curate.store.base import Store
from runners.base import Runner

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner


class DirectRunner(Runner):
    """Beam's in-process runner, with more threads than cores: some wait for models while others compute.

    >>> from beam_curate.plan.settings import RunnerSettings
    >>> DirectRunner(RunnerSettings(threads=2)).arguments()
    ['--direct_running_mode=multi_threading', '--direct_num_workers=8']
    """

    is_local = True
    workers_elsewhere = False

    def fixed(self) -> list[str]:
        """Returns the number of threads; the name would make Beam look for another runner to download."""
        return ["--direct_running_mode=multi_threading", f"--direct_num_workers={self.units_in_hand}"]

    @contextlib.contextmanager
    def running(self, options: PipelineOptions, output: Store) -> Iterator[PipelineRunner]:
        """Yields the in-process runner itself; see `Runner`."""
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        yield FnApiRunner()
