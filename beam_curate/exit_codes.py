"""Exit codes of every command, documented in `--help`."""

EXIT_DONE = 0
EXIT_FAILED = 1
"""Something failed: an aborted run, problems found by ``verify``, a file that could not be written."""
EXIT_USAGE = 2
"""A mistake on the command line, found before any work."""
EXIT_PIPE = 141
"""Whoever read the output has left, as with ``| head``: the code of a process killed by SIGPIPE."""
