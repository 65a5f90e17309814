"""Errors whose message is one sentence for the user: what was found, where, and the remedy.

Commands print them as one line and exit with code 2; every other exception is a defect of ours.
"""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend; the message says what and how."""


class ConfigError(UserError):
    """A setting that does not exist or a value that it cannot take."""


class DataError(UserError):
    """Too few data, or data that do not fit the settings."""


class DiskError(UserError):
    """A file or folder that cannot be written."""


class PackageError(UserError):
    """A package that is needed but not installed."""


class RunError(UserError):
    """A run folder that exists already, is missing, is damaged, or does not fit the settings."""


class ModelError(UserError):
    """A model folder or an export that is missing, damaged, of another version, or exists already."""


class TrainingError(UserError):
    """A training that cannot continue with its settings."""


class WorkerError(UserError):
    """A process of ours that ended before its work was done."""


class CallError(UserError):
    """Options that contradict each other, or have a value that cannot be used."""


class BuildError(UserError):
    """A data set that cannot be built or opened; one line says why and what to do."""


class FolderError(UserError):
    """A folder whose table, settings or files cannot be used; one line says where and what to do."""


class FormatError(UserError):
    """A file from which no electron density can be read; the message starts with its path."""


class WriteError(UserError):
    """A density that cannot be written; the message starts with the path."""


class ServerError(UserError):
    """A server that is missing, does not start, does not answer, or lacks the model."""


class RefusedError(UserError):
    """A density that the server refuses to answer."""
