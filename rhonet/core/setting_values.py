"""Values of settings as users write them: which setting is meant, and its value as the right type."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that does not exist or a value that it cannot take."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, else all of them, as the end of a message."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


def parse_override(override: str) -> tuple[str, str, typing.Any]:
    """Section, key and value of `section.key=value`.

    Raises:
        ConfigError: it has another form.
    """
    target, equals, raw = override.partition("=")
    section, dot, key = target.strip().partition(".")
    if not equals or not dot or not section or not key:
        raise ConfigError(f"--set {override!r}: the form is section.key=value, e.g. train.epochs=2")
    # As TOML, as a TOML list without its brackets, or as text that nobody wants to quote in a shell.
    for text in (raw, f"[{raw}]") if "," in raw else (raw,):
        try:
            return section, key, tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return section, key, raw.strip()


def cast(name: str, hint: typing.Any, value: typing.Any) -> typing.Any:
    """Value as the annotated type; int for float is fine, nothing else is converted.

    Raises:
        ConfigError: it is of another type; `name` is what the setting is called.
    """
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name} must be a list, got {value!r}")
        element = typing.get_args(hint)[0]
        return tuple(cast(name, element, item) for item in value)
    expected = hint if isinstance(hint, (type, types.UnionType)) else type(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} must be {getattr(hint, '__name__', hint)}, got {value!r}")
    return value
