"""Errors of the file system in words for users, with what helps."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, or name a folder on another disk",
    errno.EDQUOT: "your quota on this disk is used up: free some space, or name a folder on another disk",
    errno.EROFS: "the file system is read-only: name another folder",
    errno.EACCES: "change its permissions or its owner, or name another folder",
    errno.EPERM: "change its permissions or its owner, or name another folder",
    errno.EIO: "the disk, or the server that it is on, reports an error: look at the system's log",
    errno.ESTALE: "the server that the disk is on has lost the file: mount it again",
    errno.ENOLCK: "the file system has no locks: name a folder on another one",
    errno.EMFILE: "this process has too many open files: raise ulimit -n",
    errno.ENFILE: "the machine has too many open files",
    errno.EAGAIN: "no more processes or threads can be started: raise ulimit -u, or lower --threads",
    errno.ENOMEM: "the machine has no memory left",
    errno.ENAMETOOLONG: "name another folder with a shorter path",
    errno.ENOTDIR: "a part of the path is a file: name another folder",
    errno.EEXIST: "something else of that name is there: move it away, or name another folder",
    errno.EISDIR: "a folder of that name is there: move it away",
}

OF_THE_PLACE = frozenset(_REMEDIES)
"""Error codes that no flag of an encoder or a model can fix."""


def explained(error: OSError) -> str:
    """Returns what went wrong, with which file and what helps, as one line.

    Example:
        >>> explained(OSError(errno.ENOSPC, "No space left on device", "/out/a.mp4"))
        '/out/a.mp4: No space left on device; the disk is full: free some space, or name a folder on another disk'
    """
    if error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = f"{' -> '.join(names)}: {error.strerror}" if names else error.strerror
    return f"{what}; {help_for}" if (help_for := remedy(error)) else what


def remedy(error: OSError) -> str | None:
    """Returns what helps against an error, or None if that is unknown.

    Example:
        >>> remedy(OSError(errno.EMFILE, "Too many open files"))
        'this process has too many open files: raise ulimit -n'
    """
    return _REMEDIES.get(error.errno or 0)
