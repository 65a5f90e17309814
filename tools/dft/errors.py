"""Errors of the generator: a call that cannot be carried out, or a calculation that fails."""

from __future__ import annotations


class GenerateError(ValueError):
    """A call, folder or installation that cannot be used; the message says in one line what to do."""


class CalculationFailed(Exception):
    """A calculation that gave no result; the message is kept in the crystal's record of failure."""


class NotConverged(CalculationFailed):
    """The self-consistent cycle ended before its tolerance was reached."""


class OutOfTime(CalculationFailed):
    """The crystal reached its time limit; its processes were killed."""


class Interrupted(Exception):
    """The whole command is being stopped; the crystal begins anew the next time."""
