"""The Python backend outside of Triton: which requests it joins, and its errors when ONNX Runtime fails."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rhonet.serving.triton.repository import BACKEND
from tests.serving.triton.handmade import VIEW, write_onnx


@dataclass(frozen=True, eq=False)
class Tensor:
    name: str
    array: np.ndarray

    @classmethod
    def from_dlpack(cls, name: str, capsule: Any) -> Tensor:
        """Takes over the memory of a capsule, as Triton does."""
        holder = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
        return cls(name, np.from_dlpack(holder).copy())  # pyright: ignore[reportArgumentType]


class TritonError(Exception):
    INVALID_ARG, INTERNAL = "invalid", "internal"


@dataclass(frozen=True)
class Response:
    outputs: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with a stand-in for the one that Triton gives it."""
    triton = ModuleType("triton_python_backend_utils")
    parts = {"Tensor": Tensor, "TritonError": TritonError, "InferenceResponse": Response}
    for name, part in parts.items():
        setattr(triton, name, part)
    triton.get_input_tensor_by_name = lambda request, name: request[name]  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, triton.__name__, triton)
    spec = importlib.util.spec_from_file_location("model", BACKEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def network(backend: ModuleType, tmp_path: Path) -> Any:
    """The network made by hand in the Python backend."""
    write_onnx(tmp_path / "onnx")
    (tmp_path / "rhonet" / "3").mkdir(parents=True)
    shutil.copy(tmp_path / "onnx" / "network.onnx", tmp_path / "rhonet" / "3" / "model.onnx")
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps({"max_batch_size": 64, "parameters": {}}),
            "model_instance_kind": "CPU",
            "model_repository": str(tmp_path / "rhonet"),
            "model_version": "3",
        }
    )
    return model


def request(size: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "views": rng.random((size, *VIEW), np.float32),
        "lattice": np.repeat(3 * np.eye(3, dtype=np.float32)[None], size, axis=0),
    }


class Counting:
    """A session that counts its runs, and fails where it is told to."""

    def __init__(self, session: Any, *, fails: bool = False) -> None:
        self.session, self.fails, self.sizes = session, fails, []

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> Any:
        self.sizes.append(len(inputs["lattice"]))
        if self.fails:
            raise RuntimeError("out of memory")
        return self.session.run(names, inputs)


def test_requests_are_computed_together_and_taken_apart_again(network):
    network._session = counting = Counting(network._session)
    requests = [request(size, seed) for seed, size in enumerate((1, 3, 2))]
    requests[1]["views"][2, 0, 0, 0, 0, 0] = np.inf
    first, bad, last = network.execute(requests)
    assert counting.sizes == [3]
    assert "views holds values that are not finite" in str(bad.error)
    for response, inputs in ((first, requests[0]), (last, requests[2])):
        outputs = {tensor.name: tensor.array for tensor in response.outputs}
        np.testing.assert_allclose(outputs["phase"], inputs["views"].mean(axis=(1, 2, 3, 4)), rtol=1e-5)
        assert outputs["bulk_modulus"].shape == (len(inputs["lattice"]),)


def test_failure_of_onnxruntime_is_reported_to_all_and_the_model_goes_on(network):
    session = network._session
    network._session = Counting(session, fails=True)
    for response in network.execute([request(1, 0), request(2, 1)]):
        assert str(response.error) == "('onnxruntime: out of memory', 'internal')"
        assert response.outputs == []
    network._session = session
    (response,) = network.execute([request(1, 0)])
    assert response.error is None


def test_only_bad_requests_compute_nothing(network):
    network._session = counting = Counting(network._session)
    bad = request(1, 0)
    bad["lattice"][:] = 0
    (response,) = network.execute([bad])
    assert "lattice spans a volume of 0 Å³; give rows a, b, c in Å" in str(response.error)
    assert counting.sizes == []
