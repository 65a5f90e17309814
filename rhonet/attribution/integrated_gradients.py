"""Integrated gradients of any function of a density: which places make its value differ from that of a baseline.

After Sundararajan, Taly and Yan, arXiv:1703.01365. Along the straight line from the baseline ρ0 to ρ,
a(r) = (ρ(r) - ρ0(r)) · ∫₀¹ δf/δρ(r) dα, so that ∫ a dV = f(ρ) - f(ρ0): completeness, which is what is checked here.
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
# Asked for before the steps are doubled no more, as a share of f(ρ) - f(ρ0).
TOLERANCE = 0.01
# What is left of a difference between two outputs of float32 arithmetic, as a share of the larger one.
ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Slope:
    """A function of a density, and its derivatives by the values at the grid points.

    density: (nx, ny, nz). magnetization: likewise, None for a density without spin.
    """

    value: float
    density: np.ndarray
    magnetization: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where the difference between a prediction and that for the baseline comes from.

    density: what is explained.
    values: (nx, ny, nz), unit of the prediction per Å³.
    magnetization: likewise for the magnetization, None without spin.
    prediction, baseline: f(ρ) and f(ρ0).
    steps: into how many the line from ρ0 to ρ was cut.
    span: how far f ranges along that line.
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
        """What the attributions should add up to."""
        return self.prediction - self.baseline

    @property
    def attributed(self) -> float:
        """What they add up to: ∫ a dV over both fields."""
        return sum(self._integral(field) for field in self._fields())

    @property
    def attributed_to_spin(self) -> float:
        """The magnetization's share of it, 0 without spin."""
        return 0.0 if self.magnetization is None else self._integral(self.magnetization)

    @property
    def gap(self) -> float:
        """What is missing, as a share of the difference; 0 where the difference is rounding noise itself.

        Without any difference, as between two answers that are cut at 0, as a share of the span.
        """
        missing = abs(self.attributed - self.difference)
        if missing <= ROUNDING * max(abs(self.prediction), abs(self.baseline)):
            return 0.0
        share_of = abs(self.difference) or self.span
        return missing / share_of if share_of else math.inf

    @property
    def parts(self) -> tuple[float, float]:
        """What places that raise the prediction add to it, and what the others take away."""
        fields = self._fields()
        return (
            sum(self._integral(np.maximum(field, 0)) for field in fields),
            sum(self._integral(np.minimum(field, 0)) for field in fields),
        )

    def as_density(self) -> ChargeDensity:
        """The attributions as a density and magnetization, to be written or drawn."""
        return ChargeDensity(
            self.values, self.density.lattice, magnetization=self.magnetization, atoms=self.density.atoms
        )

    def smoothed(self, width: float) -> Attribution:
        """The same blurred by a Gaussian with a standard deviation of `width` Å; what it adds up to stays.

        Networks that sample a density here and there owe the finest structure of their derivatives to where the
        samples happen to lie.
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
    """Attributions of f(ρ) - f(ρ0), with twice the steps again and again until they add up.

    The line is cut at α = sin²(πi/2n): densely at both ends, where networks that see asinh(ρ) change most, and such
    that the ends have no weight (a homogeneous density has no derivative of |∇ρ|). Doubling n keeps all points. A
    network of ReLUs has derivatives that jump, so the gap shrinks like 1/n at best, whatever the rule.

    Args:
        density: ρ, and the magnetization if any; a non-collinear one is projected on its total moment.
        slope_at: f and its derivatives at a density (nx, ny, nz) and magnetization (likewise, or None).
        baseline: "mean" (the same electrons and moment spread evenly over the cell) or "zero" (nothing at all).
        steps: n at most, at least 2; from 32 on, doubled.
        tolerance: gap that is small enough, as a share of f(ρ) - f(ρ0).
    """
    fields = _stack_fields(density)
    start = np.zeros_like(fields)
    if baseline == "mean":
        start += fields.mean(axis=(1, 2, 3), keepdims=True)
    way = fields - start

    def look(alpha: float) -> Slope:
        at = start + alpha * way
        return slope_at(at[0], at[1] if len(at) == 2 else None)

    prediction, reference = look(1).value, look(0).value
    if not way.any():
        return Attribution(density, *_per_volume(density, way), prediction, reference, steps=0, span=0.0)
    total, weight, n = np.zeros_like(fields), 0.0, min(FEWEST_STEPS, steps)
    least, most = min(prediction, reference), max(prediction, reference)
    places = range(1, n)
    while True:
        for place in places:
            here = look(math.sin(math.pi * place / (2 * n)) ** 2)
            least, most = min(least, here.value), max(most, here.value)
            share = math.sin(math.pi * place / n)
            total[0] += share * here.density
            if here.magnetization is not None:
                total[1] += share * here.magnetization
            weight += share
        # Where the density is that of the baseline nothing is attributed, whether there is a derivative or not.
        summands = np.where(way != 0, way * total / weight, 0)
        values, magnetization = _per_volume(density, summands)
        found = Attribution(density, values, magnetization, prediction, reference, steps=n, span=most - least)
        log.info("%d steps: attributions add up to %.4g of %.4g", n, found.attributed, found.difference)
        if found.gap <= tolerance or 2 * n > steps:
            return found
        n *= 2
        places = range(1, n, 2)


def _stack_fields(density: ChargeDensity) -> np.ndarray:
    """ρ and, if any, the magnetization with a moment upwards, (1 or 2, nx, ny, nz) float64.

    A network sees moments upwards anyway; turned on the way, where they begin to count, it would see a jump.
    """
    magnetization = density.collinear_magnetization()
    if magnetization is None:
        return np.array(density.values, np.float64)[None]
    sign = -1 if magnetization.mean(dtype=np.float64) < 0 else 1
    return np.stack([density.values, sign * magnetization]).astype(np.float64)


def _per_volume(density: ChargeDensity, summands: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Fields of an attribution from what each grid point contributes, (1 or 2, nx, ny, nz)."""
    fields = summands / (density.volume / density.values.size)
    return fields[0], fields[1] if len(fields) == 2 else None


def _smooth(field: np.ndarray, lattice: np.ndarray, width: float) -> np.ndarray:
    """Convolution of a periodic field (nx, ny, nz) with a normalised Gaussian."""
    waves = np.linalg.norm(wave_vectors(wave_numbers(field.shape), lattice), axis=-1)
    return np.fft.ifftn(np.fft.fftn(field) * np.exp(-0.5 * (waves * width) ** 2)).real
