"""Keras without types: those that pyright infers mix all of its backends, e.g. `None` for every operation."""

from typing import Any

def __getattr__(name: str) -> Any: ...
