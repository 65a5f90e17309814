"""Model file for Triton's Python backend: serves one ONNX file on servers without the ONNX Runtime backend.

`rhonet.export --triton-python` copies this file as model.py beside model.onnx. The server's Python needs numpy and
onnxruntime, but not rhonet. Arrays go through DLPack both ways: Triton's own conversion (`Tensor.as_numpy`) was built
for numpy 1 and silently corrupts values under numpy 2.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton  # pyright: ignore[reportMissingModuleSource]

# A smaller cell volume, Å³, is a mistake: one atom takes more.
MIN_VOLUME = 0.1


class TritonPythonModel:
    """One ONNX file; Triton calls its methods.

    Without batching (rhonet_views) each request holds one native grid and is computed alone. With batching (rhonet)
    all requests of a call are computed together.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the ONNX file on the device that Triton names.

        Args:
            args: Triton's description of the model and its instance.
        """
        config = json.loads(args["model_config"])
        parameters = {name: item["string_value"] for name, item in config["parameters"].items()}
        self._max_batch = int(config["max_batch_size"])
        self._max_grid_points = int(parameters.get("max_grid_points", 0))  # set for rhonet_views only
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
        # Threads that spin while they wait would take the cores from the other model of the ensemble.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        if args["model_instance_kind"] == "GPU":
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(args["model_instance_device_id"])}))
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers)
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._outputs = [item.name for item in self._session.get_outputs()]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request; a bad request gets an error, and all others are computed."""
        responses: dict[int, Any] = {}
        good: dict[int, dict[str, np.ndarray]] = {}
        for number, request in enumerate(requests):
            try:
                good[number] = self._read(request)
            except ValueError as error:
                responses[number] = _refusal(str(error))
        groups = [list(good)] if self._max_batch and good else [[number] for number in good]
        for group in groups:
            responses.update(zip(group, self._run([good[number] for number in group]), strict=True))
        return [responses[number] for number in range(len(requests))]

    def _read(self, request: Any) -> dict[str, np.ndarray]:
        """Inputs of a request, checked; Triton itself has checked names, types and ranks.

        Raises:
            ValueError: a value is not finite, the shapes do not fit together, the grid is too large, or the cell is
                too small.
        """
        inputs = {name: np.from_dlpack(triton.get_input_tensor_by_name(request, name)) for name in self._inputs}
        if "density" in inputs:
            self._check_grid(inputs["density"].shape, inputs["magnetization"].shape)
        for name, array in inputs.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite (NaN or infinite)")
        volumes = np.abs(np.linalg.det(inputs["lattice"].astype(np.float64)))
        if not (volumes >= MIN_VOLUME).all():
            raise ValueError(f"lattice spans a volume of {volumes.min():.3g} Å³; give rows a, b, c in Å")
        return inputs

    def _check_grid(self, density: tuple[int, ...], magnetization: tuple[int, ...]) -> None:
        n_points = int(np.prod(density))
        if n_points == 0:
            raise ValueError(f"density is empty: its shape is {density}")
        if n_points > self._max_grid_points:
            raise ValueError(
                f"density has {n_points} grid points, {density}; this server takes at most {self._max_grid_points}"
            )
        if magnetization not in (density, (0, 0, 0)):
            raise ValueError(
                f"magnetization has shape {magnetization}; expected that of density, {density}, or (0, 0, 0) without "
                "spin"
            )

    def _run(self, inputs: list[dict[str, np.ndarray]]) -> list[Any]:
        """Responses to requests that are computed together."""
        sizes = [len(request["lattice"]) for request in inputs] if self._max_batch else []
        stacked = {
            name: np.concatenate([request[name] for request in inputs]) if len(inputs) > 1 else inputs[0][name]
            for name in self._inputs
        }
        try:
            outputs = self._session.run(self._outputs, stacked)
        except Exception as error:  # onnxruntime's errors have no base class, and the server must go on
            return [_failure(f"onnxruntime: {error}") for _ in inputs]
        ends = np.cumsum(sizes)[:-1]
        parts = zip(*(np.split(np.asarray(array), ends) for array in outputs), strict=True) if sizes else [outputs]
        return [self._response(part) for part in parts]

    def _response(self, arrays: Sequence[Any]) -> Any:
        named = zip(self._outputs, arrays, strict=True)
        return triton.InferenceResponse([triton.Tensor.from_dlpack(name, _capsule(array)) for name, array in named])


_set_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_set_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]


def _capsule(array: Any) -> Any:
    """DLPack capsule that hands an array over to Triton, which then frees the memory.

    Triton renames a capsule that it has taken to "used_dlpack" instead of "used_dltensor". Numpy's capsule destructor
    does not know that name and leaves an exception behind, so the destructor is removed.
    """
    capsule = np.ascontiguousarray(array, np.float32).__dlpack__()
    _set_destructor(capsule, None)
    return capsule


def _refusal(message: str) -> Any:
    return triton.InferenceResponse(error=triton.TritonError(message, triton.TritonError.INVALID_ARG))


def _failure(message: str) -> Any:
    return triton.InferenceResponse(error=triton.TritonError(message, triton.TritonError.INTERNAL))
