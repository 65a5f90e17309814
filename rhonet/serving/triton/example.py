"""Example of a request to a served model, for users who write a client of their own."""

from __future__ import annotations

import numpy as np

# A Gaussian of charge in a cubic cell: points per axis, edge in Å, electrons, standard deviation in Å.
_GRID, _EDGE, _ELECTRONS, _WIDTH = 8, 4.0, 8.0, 0.8


def example_request() -> dict[str, object]:
    """Body of a request over HTTP: a Gaussian of charge in a cubic cell, without spin."""
    axis = (np.arange(_GRID) / _GRID - 0.5) * _EDGE
    squares = sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij"))
    blob = np.exp(-squares / (2 * _WIDTH**2))
    density = blob * _ELECTRONS / (blob.mean() * _EDGE**3)
    inputs = {
        "density": np.round(density, 4),
        "magnetization": np.zeros((0, 0, 0)),
        "lattice": np.diag([_EDGE] * 3),
    }
    return {
        "inputs": [
            {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
            for name, array in inputs.items()
        ]
    }
