"""tritonclient without types: its protocol buffers make their classes on import, where pyright finds none."""

from typing import Any

def __getattr__(name: str) -> Any: ...
