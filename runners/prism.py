"""PrismRunner: threads of this process, which Prism, Beam's portable local runner, gives work to."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from beam_curate.errors import UsageError
from beam_curate.store.base import Store
from runners.base import Runner, serving

if TYPE_CHECKING:
    from apache_beam import PCollection
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"


class PrismRunner(Runner):
    """Prism as a server beside this process, unless ``--job_endpoint`` names one."""

    is_local = True
    reshuffle_waits = False
    workers_elsewhere = False

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Declares where Prism is."""
        super().add_flags(parser)
        parser.add_argument("--prism_location")

    def check(self) -> None:
        """Checks that the program is there; see `Runner`."""
        super().check()
        if not self.flags.job_endpoint:
            self.program()

    def defaults(self) -> list[str]:
        """Returns a form of Prism's log that people can read."""
        return ["--prism_log_kind=text"]

    @contextlib.contextmanager
    def running(self, options: PipelineOptions, output: Store) -> Iterator[PipelineRunner]:
        """Starts Prism; see `Runner`."""
        if self.flags.job_endpoint:
            with super().running(options, output) as runner:
                yield runner
            return
        from apache_beam.options.pipeline_options import PortableOptions, PrismRunnerOptions
        from apache_beam.runners.portability import prism_runner

        from transforms import concurrency

        concurrency.set_limit(self.units_in_hand)
        options.view_as(PrismRunnerOptions).prism_location = self.program()
        command, endpoint = prism_runner.PrismJobServer(options).subprocess_cmd_and_endpoint()
        options.view_as(PortableOptions).job_endpoint = endpoint
        with serving("Prism", command, endpoint):
            yield prism_runner.PrismRunner()

    def end(self, recorded: PCollection[str]) -> None:
        """Gives the last step an output: while a step without one is at work, Prism 2.77 keeps a core busy waiting."""
        import apache_beam as beam

        _ = recorded | "To an end" >> beam.Reshuffle() | "End" >> beam.Map(len)

    def program(self) -> str:
        """Returns the path of Prism, from ``--prism_location`` or the PATH. Beam would download it without asking.

        Raises:
            UsageError: It is at neither.
        """
        location = self.flags.prism_location
        if found := shutil.which(location or "prism"):
            return found
        how = f"install it with: go install {PACKAGE}"
        if location:
            raise UsageError(f"--prism_location {location} is not a program; {how}")
        raise UsageError(f"--runner=PrismRunner needs the program prism; {how}, and add --prism_location=PATH/TO/prism")
