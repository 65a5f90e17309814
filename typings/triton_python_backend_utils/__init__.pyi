"""The module that Triton's Python backend gives to its models; it cannot be installed."""

from typing import Any

def __getattr__(name: str) -> Any: ...
