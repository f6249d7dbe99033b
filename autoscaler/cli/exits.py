"""Exit codes of every command."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """What a command's exit code says."""

    DONE = 0
    """Done, and nothing that was checked failed."""
    FOUND = 1
    """Done, but a run failed, a scenario missed what it expects, or a replay or a check differs."""
    INPUT = 2
    """A file, flag or document is wrong; nothing was written. Standard error names it, in one line."""
    ACCESS = 3
    """A permission is missing; standard error names the verb and the resource."""
    LATER = 4
    """Something outside is not available for now; trying again may help."""
    INTERRUPTED = 130
    """Stopped from the keyboard."""
    PIPE = 141
    """The reader of standard output went away."""
