"""Integrated gradients: which places in a density make a function of it differ from its value for a baseline.

The method is that of Sundararajan, Taly and Yan, arXiv:1703.01365. Along the straight line from the baseline ρ0 to ρ,
a(r) = (ρ(r) - ρ0(r)) · ∫₀¹ δf/δρ(r) dα, so that ∫ a dV = f(ρ) - f(ρ0). This completeness is checked: steps are
doubled until it holds.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.regrid import wave_numbers, wave_vectors

log = logging.getLogger(__name__)

BASELINES = ("mean", "zero")
FEWEST_STEPS, MOST_STEPS = 32, 1024
# Doubling of the steps ends at this gap, a share of f(ρ) - f(ρ0).
TOLERANCE = 0.01
# Rounding error of the difference between two float32 numbers, as a share of the larger one.
ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Slope:
    """Value of a function of a density, and its derivatives with respect to the values at the grid points.

    Attributes:
        value: of the function.
        density: (nx, ny, nz) derivatives with respect to ρ.
        magnetization: (nx, ny, nz) derivatives with respect to m; None for a density without spin.
    """

    value: float
    density: np.ndarray
    magnetization: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where the difference between a prediction and that for the baseline comes from.

    Attributes:
        density: ρ, for which f is explained.
        values: (nx, ny, nz) attributions to ρ, unit of the prediction per Å³.
        magnetization: (nx, ny, nz) attributions to the magnetization, likewise; None without spin.
        prediction: f(ρ).
        baseline: f(ρ0).
        steps: number of steps from ρ0 to ρ.
        span: largest minus smallest f along the line.
    """

    density: ChargeDensity
    values: np.ndarray
    magnetization: np.ndarray | None
    prediction: float
    baseline: float
    steps: int
    span: float

    @property
    def difference(self) -> float:
        """What the attributions should add up to: f(ρ) - f(ρ0)."""
        return self.prediction - self.baseline

    @property
    def attributed(self) -> float:
        """What they add up to: ∫ a dV over both fields."""
        return sum(self._integral(field) for field in self._fields())

    @property
    def attributed_to_spin(self) -> float:
        """The part of `attributed` that belongs to the magnetization; 0 without spin."""
        return 0.0 if self.magnetization is None else self._integral(self.magnetization)

    @property
    def gap(self) -> float:
        """What is missing from `attributed`, as a share of the difference; 0 if only rounding is missing.

        If there is no difference, for example between two predictions that are cut at 0, it is a share of the span.
        """
        missing = abs(self.attributed - self.difference)
        if missing <= ROUNDING * max(abs(self.prediction), abs(self.baseline)):
            return 0.0
        share_of = abs(self.difference) or self.span
        return missing / share_of if share_of else math.inf

    @property
    def parts(self) -> tuple[float, float]:
        """Sums of the positive and of the negative attributions."""
        fields = self._fields()
        return (
            sum(self._integral(np.maximum(field, 0)) for field in fields),
            sum(self._integral(np.minimum(field, 0)) for field in fields),
        )

    def as_density(self) -> ChargeDensity:
        """The attributions as a density with magnetization, for writers and figures."""
        return ChargeDensity(
            self.values, self.density.lattice, magnetization=self.magnetization, atoms=self.density.atoms
        )

    def smoothed(self, width: float) -> Attribution:
        """The attributions convolved with a Gaussian of standard deviation `width` Å; their sum does not change.

        A network sees a density at sample points only, so the finest structure of its derivatives shows where these
        points lie.
        """
        values, *spin = [_smooth(field, self.density.lattice, width) for field in self._fields()]
        return dataclasses.replace(self, values=values, magnetization=spin[0] if spin else None)

    def _fields(self) -> list[np.ndarray]:
        return [self.values] if self.magnetization is None else [self.values, self.magnetization]

    def _integral(self, field: np.ndarray) -> float:
        return float(field.mean(dtype=np.float64)) * self.density.volume


def integrate_gradients(
    density: ChargeDensity,
    slope_at: Callable[[np.ndarray, np.ndarray | None], Slope],
    *,
    baseline: str = "mean",
    steps: int = MOST_STEPS,
    tolerance: float = TOLERANCE,
) -> Attribution:
    """Attributions of f(ρ) - f(ρ0); the number of steps n is doubled until they add up.

    The points of the line are α = sin²(πi/2n). They are dense at both ends, where networks that see asinh(ρ) change
    most, and the ends themselves have no weight, because |∇ρ| has no derivative at a homogeneous density. Doubling n
    keeps all earlier points. The derivatives of ReLU networks jump, so the gap shrinks like 1/n at best with any rule.

    Args:
        density: ρ, and the magnetization if there is one; a non-collinear one is projected on its total moment.
        slope_at: gives f and its derivatives at a density (nx, ny, nz), e/Å³, and a magnetization (same shape, µB/Å³,
            or None).
        baseline: "mean" (the same electrons and moment spread evenly over the cell) or "zero" (an empty cell).
        steps: largest n, at least 2; n starts at 32, or at `steps` if that is smaller.
        tolerance: gap at which the doubling ends, as a share of f(ρ) - f(ρ0).
    """
    fields = _stack_fields(density)
    start = np.zeros_like(fields)
    if baseline == "mean":
        start += fields.mean(axis=(1, 2, 3), keepdims=True)
    change = fields - start

    def slope_on_line(alpha: float) -> Slope:
        point = start + alpha * change
        return slope_at(point[0], point[1] if len(point) == 2 else None)

    prediction, reference = slope_on_line(1).value, slope_on_line(0).value
    if not change.any():
        return Attribution(density, *_per_volume(density, change), prediction, reference, steps=0, span=0.0)
    total, weight, n = np.zeros_like(fields), 0.0, min(FEWEST_STEPS, steps)
    least, most = min(prediction, reference), max(prediction, reference)
    new_points = range(1, n)
    while True:
        for i in new_points:
            slope = slope_on_line(math.sin(math.pi * i / (2 * n)) ** 2)
            least, most = min(least, slope.value), max(most, slope.value)
            share = math.sin(math.pi * i / n)
            total[0] += share * slope.density
            if slope.magnetization is not None:
                total[1] += share * slope.magnetization
            weight += share
        # A point with the density of the baseline gets no attribution, even if its derivative is not finite.
        summands = np.where(change != 0, change * total / weight, 0)
        values, magnetization = _per_volume(density, summands)
        attribution = Attribution(density, values, magnetization, prediction, reference, steps=n, span=most - least)
        log.info("%d steps: attributions add up to %.4g of %.4g", n, attribution.attributed, attribution.difference)
        if attribution.gap <= tolerance or 2 * n > steps:
            return attribution
        n *= 2
        new_points = range(1, n, 2)


def _stack_fields(density: ChargeDensity) -> np.ndarray:
    """ρ and, if there is one, the magnetization with its moment upwards, (1 or 2, nx, ny, nz) float64.

    A network turns moments upwards. If it did so at some point of the line, its output would jump there.
    """
    magnetization = density.collinear_magnetization()
    if magnetization is None:
        return np.array(density.values, np.float64)[None]
    sign = -1 if magnetization.mean(dtype=np.float64) < 0 else 1
    return np.stack([density.values, sign * magnetization]).astype(np.float64)


def _per_volume(density: ChargeDensity, summands: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Attributions per volume from the contributions of the grid points, (1 or 2, nx, ny, nz)."""
    fields = summands / (density.volume / density.values.size)
    return fields[0], fields[1] if len(fields) == 2 else None


def _smooth(field: np.ndarray, lattice: np.ndarray, width: float) -> np.ndarray:
    """Convolution of a periodic field (nx, ny, nz) with a normalised Gaussian."""
    waves = np.linalg.norm(wave_vectors(wave_numbers(field.shape), lattice), axis=-1)
    return np.fft.ifftn(np.fft.fftn(field) * np.exp(-0.5 * (waves * width) ** 2)).real
