"""PortableRunner, which submits to a job server of the user's own, and runner classes of the user's own."""

from __future__ import annotations

from beam_curate.errors import UsageError
from runners.base import Runner


class PortableRunner(Runner):
    """Wherever the job server at ``--job_endpoint`` runs jobs."""

    @property
    def can_detach(self) -> bool:
        """Whether workers are elsewhere: the job server stays."""
        return self.workers_elsewhere and self.flags.job_endpoint not in (None, "embed")

    def defaults(self) -> list[str]:
        """Returns a job name to find it by."""
        return [f"--job_name={self.job_name}"]

    def check(self) -> None:
        """Checks that there is a job server; see `Runner`."""
        super().check()
        if not self.flags.job_endpoint:
            raise UsageError(
                "--runner=PortableRunner needs a job server to submit the job to; add --job_endpoint=HOST:PORT, "
                "or use --runner=FlinkRunner or PrismRunner, which start one"
            )


class CustomRunner(Runner):
    """A subclass of Beam's ``PipelineRunner``, named by its dotted path."""
