"""A handmade model: two small ONNX files with the interface of an exported model, and a card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import tomli_w

from rhonet.core.config import CHANNELS, ViewConfig
from rhonet.core.properties import PROPERTIES, Property
from rhonet.serving.model_card import CARD_VERSION
from rhonet.uncertainty.calibration import CURVE_LEVELS, Calibration, ConformalWidths

ITEMS = (
    PROPERTIES["bulk_modulus"],
    PROPERTIES["magnetic_moment"],
    PROPERTIES["is_metal"],
    Property("phase", kind="multiclass", classes=3, class_names=("rocksalt", "zincblende", "fluorite")),
)
VIEW = (2, 4, 4, 4, 3)  # views, points, channels
LIMITS = 'Knows "nothing": made by hand. Å, ρ and µB survive.'

# Each view holds the mean and largest density and the mean magnetization as constant channels.
VIEWS = """
<ir_version: 8, opset_import: ["" : 17]>
views (float[X,Y,Z] density, float[P,Q,R] magnetization, float[3,3] lattice)
    => (float[1,2,4,4,4,3] views, float[1,3,3] lattice_batch, float[1] novelty)
{
    one = Constant<value_ints=[1]>()
    mean_any = ReduceMean<keepdims=0>(density)
    mean = Reshape(mean_any, one)
    largest_any = ReduceMax<keepdims=0>(density)
    largest = Reshape(largest_any, one)
    total_any = ReduceSum<keepdims=0>(magnetization)
    total = Reshape(total_any, one)
    count = Size(density)
    points = Cast<to=1>(count)
    moment = Div(total, points)
    channels = Concat<axis=0>(mean, largest, moment)
    shape = Constant<value_ints=[1,2,4,4,4,3]>()
    views = Expand(channels, shape)
    first = Constant<value_ints=[0]>()
    lattice_batch = Unsqueeze(lattice, first)
    sum = ReduceSum<keepdims=0>(lattice)
    novelty = Reshape(sum, one)
}
"""
NETWORK = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[B,2,4,4,4,3] views, float[B,3,3] lattice) => (
    float[B] bulk_modulus, float[B] magnetic_moment, float[B] is_metal, float[B,3] phase,
    float[B] bulk_modulus_lower, float[B] bulk_modulus_upper
)
{
    scale = Constant<value_float=SCALE>()
    means = ReduceMean<axes=[1,2,3,4], keepdims=0>(views)
    phase = Mul(means, scale)
    zero = Constant<value_int=0>()
    two = Constant<value_int=2>()
    bulk_modulus = Gather<axis=1>(phase, zero)
    magnetic_moment = Gather<axis=1>(phase, two)
    determinant = Det(lattice)
    volume = Abs(determinant)
    is_metal = Mul(volume, scale)
    width = Constant<value_float=1.0>()
    bulk_modulus_lower = Sub(bulk_modulus, width)
    bulk_modulus_upper = Add(bulk_modulus, width)
}
"""


def write_onnx(folder: Path, *, scale: float = 1.0) -> None:
    """Writes views.onnx, and network.onnx, whose properties are `scale` times the content of the views."""
    folder.mkdir(parents=True)
    for name, text in (("views", VIEWS), ("network", NETWORK.replace("SCALE", f"{scale:.6f}"))):
        model = onnx.parser.parse_model(text)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(folder / f"{name}.onnx"))


def write_model_folder(folder: Path, *, commit: str = "abc") -> None:
    """Writes card.toml with the properties, a calibration and errors on test crystals."""
    folder.mkdir(parents=True)
    widths = {item.name: ConformalWidths(30, 0.2, (0.2,) * len(CURVE_LEVELS)) for item in ITEMS}
    card = {
        "card_version": CARD_VERSION,
        "model": {"trained": "2026-11-23T00:00:00+00:00", "commit": commit, "rhonet": "0.1.0"},
        "data": {"name": "none", "fingerprint": "0", "records": {"train": 0}},
        "limits": {"text": LIMITS},
        "view": ViewConfig().__dict__ | {"channels": list(CHANNELS), "blurs": [0.35]},
        "properties": [dataclasses.asdict(item) for item in ITEMS],
        "calibration": Calibration(0.9, widths, 1.0, 30).to_dict(),
        "metrics": {"model": {"regression": {"bulk_modulus": {"mae": {"value": 1.5}}}}},
    }
    (folder / "card.toml").write_text(tomli_w.dumps(card), encoding="utf-8")


def expected(
    density: np.ndarray, magnetization: np.ndarray, lattice: np.ndarray, *, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """Outputs of both files together for one native grid, in float64."""
    mean, largest = scale * np.mean(density, dtype=np.float64), scale * float(np.max(density))
    moment = scale * np.mean(magnetization, dtype=np.float64) if magnetization.size else 0.0
    volume = scale * abs(np.linalg.det(lattice.astype(np.float64)))
    return {
        "bulk_modulus": np.array([mean]),
        "bulk_modulus_lower": np.array([mean - 1]),
        "bulk_modulus_upper": np.array([mean + 1]),
        "magnetic_moment": np.array([moment]),
        "is_metal": np.array([volume]),
        "phase": np.array([mean, largest, moment]),
        "novelty": np.array([np.sum(lattice, dtype=np.float64)]),
    }
