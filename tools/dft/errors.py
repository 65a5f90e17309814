"""What can go wrong: a call that makes no sense, or a calculation that fails."""

from __future__ import annotations


class GenerateError(ValueError):
    """A call, folder or installation that cannot be used; one line says what to do."""


class CalculationFailed(Exception):
    """A crystal whose calculation gave no result; the message is kept in its record of failure."""


class NotConverged(CalculationFailed):
    """The self-consistent cycle ended before its tolerance was reached."""


class OutOfTime(CalculationFailed):
    """The crystal used up its time; its processes were killed."""


class Interrupted(Exception):
    """The whole command is being stopped; the crystal begins anew the next time."""
