"""
What can go wrong, sorted by who can mend it.

The user mends a `PolicyError`, an operator an `AccessError`, time a
`TransientError`; a `ValueError` is a bug of ours or of the caller's code.
Adapters translate at the edge and keep the cause (`raise ... from`).
"""

from __future__ import annotations


class AutoscalerError(Exception):
    """Anything this package raises on purpose."""


class InputError(AutoscalerError):
    """
    A file, flag or document is wrong; the user can mend it.

    The message names the object (a file or a resource), the field's path,
    the value found and what is allowed. Commands turn it into exit code 2.
    """

    def __init__(self, where: str, path: str, found: object, allowed: str) -> None:
        self.where = where
        self.path = path
        self.found = found
        self.allowed = allowed
        shown = _short(found)
        at = f"{where}: {path}" if path else where
        super().__init__(f"{at}: {shown} is not valid; allowed: {allowed}")


class PolicyError(InputError):
    """A policy, or an object that carries one, is wrong."""


class ScenarioError(InputError):
    """A scenario file, or a trace it names, is wrong."""


class AccessError(AutoscalerError):
    """A permission is missing; the message names the verb and the resource."""


class ConflictError(AutoscalerError):
    """What was expected is no longer so: observe again, then decide again."""


class TransientError(AutoscalerError):
    """Worth trying again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class CapacityError(TransientError):
    """The cloud has none of what was asked for, here and now."""


def _short(value: object) -> str:
    """Return a value as it was written, shortened; quantities and durations know their text."""
    text = repr(getattr(value, "text", value))
    return text if len(text) <= 80 else text[:77] + "..."
