"""Raw requests to a Triton server, good or bad."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from rhonet.serving.triton.server import RunningServer


class Asker:
    """Sends arrays to one model of a server; the types are those of the arrays."""

    def __init__(self, server: RunningServer, protocol: str) -> None:
        self._module = importlib.import_module(f"tritonclient.{protocol}")
        self.client = self._module.InferenceServerClient(getattr(server, protocol))

    def ask(self, model: str, **inputs: np.ndarray) -> Any:
        tensors = []
        for name, array in inputs.items():
            kind = {"f4": "FP32", "f8": "FP64"}[array.dtype.str[1:]]
            tensors.append(self._module.InferInput(name, list(array.shape), kind))
            tensors[-1].set_data_from_numpy(array)
        return self.client.infer(model, tensors)
