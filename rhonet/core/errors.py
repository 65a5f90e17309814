"""Errors whose message is one sentence for the user: what was found, where, and the remedy.

Commands print them as one line and exit with code 2; every other exception is a defect of ours.
"""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend; the message says what and how."""


class ConfigError(UserError):
    """A setting that does not exist or a value that it cannot take."""


class DataError(UserError):
    """Data that are too few, or do not fit what is asked of them."""


class DiskError(UserError):
    """A file or folder that cannot be written."""


class PackageError(UserError):
    """A package that is needed and not installed."""


class RunError(UserError):
    """A run folder that exists, is missing, is damaged, or does not fit."""


class ModelError(UserError):
    """A model folder, or an export of one, that is missing, damaged, of another version, or in the way."""


class TrainingError(UserError):
    """A training that cannot go on as it is set up."""


class WorkerError(UserError):
    """A process of ours that ended before its work was done."""


class CallError(UserError):
    """Options that make no sense together, or name what cannot be used."""


class BuildError(UserError):
    """A data set that cannot be built or opened; one line says why and what to do."""


class FolderError(UserError):
    """A folder whose table, settings or files cannot be used; one line says where and what to do."""


class FormatError(UserError):
    """A file that gives no electron density; the message starts with its path."""


class WriteError(UserError):
    """A density that cannot be written as asked; the message starts with the path."""


class ServerError(UserError):
    """A server that is missing, does not start, does not answer, or lacks the model."""


class RefusedError(UserError):
    """A density that the server refuses."""
