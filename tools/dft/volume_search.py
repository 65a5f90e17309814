"""Search for the volume of zero pressure: Newton steps for a solid that stiffens, then interpolation."""

from __future__ import annotations

import math

import numpy as np

from tools.dft.errors import CalculationFailed

MAX_STEPS = 9
SETTLED = 0.055
FARTHEST = 1.3


class VolumeSearch:
    """Chooses the next volume, as ln(V / V of the first guess), from the pressures so far.

    Args:
        start: ln(V / V of the first guess) of the first step.
        bulk_modulus: guess, GPa.

    Attributes:
        log_volume: ln(V / V of the first guess) to compute next; the result once settled.
        settled: whether the last step was so small that the search is over.
        history: log_volume and pressure, GPa, of each step.
    """

    def __init__(self, start: float, bulk_modulus: float) -> None:
        self.log_volume = start
        self.settled = False
        self.history: list[tuple[float, float]] = []
        self._bulk_modulus = bulk_modulus
        self._compressed: tuple[float, float] | None = None
        self._stretched: tuple[float, float] | None = None

    def tell(self, pressure: float) -> None:
        """Takes the pressure at `log_volume`, GPa, and chooses the next volume.

        Raises:
            CalculationFailed: the volume is too far from the first guess, or there were too many steps.
        """
        here = (self.log_volume, pressure)
        self.history.append(here)
        if pressure > 0 and (self._compressed is None or here[0] > self._compressed[0]):
            self._compressed = here
        if pressure <= 0 and (self._stretched is None or here[0] < self._stretched[0]):
            self._stretched = here
        between = self._interpolated()
        self.log_volume = self._newton(pressure) if between is None else between
        if abs(self.log_volume - here[0]) < SETTLED:
            self.settled = True
        elif abs(self.log_volume) >= FARTHEST:
            raise CalculationFailed(f"no minimum in the volume search: {self._told()}")
        elif len(self.history) == MAX_STEPS:
            raise CalculationFailed(f"the volume search did not settle: {self._told()}")

    def _interpolated(self) -> float | None:
        """Point between the nearest compressed and stretched ones; nearer to the compressed one, as it is stiffer."""
        if self._compressed is None or self._stretched is None or self._stretched[0] <= self._compressed[0]:
            return None
        (low, above), (high, below) = self._compressed, self._stretched
        share = (above / (above - below)) ** 1.25
        return low + (high - low) * float(np.clip(share, 0.06, 0.94))

    def _newton(self, pressure: float) -> float:
        """Newton step of limited size for a solid with K(P) = K0 + 4 P."""
        modulus = max(self._bulk_modulus - 4 * pressure, 0.35 * self._bulk_modulus)
        if pressure > 0:
            step = math.log(max(0.25, 1 + 4 * pressure / modulus)) / 4
        else:
            step = max(pressure / modulus * 1.1, -0.30)
        return self.log_volume + float(np.clip(step, -0.28, 0.28))

    def _told(self) -> str:
        return ", ".join(f"{pressure:.1f} GPa at {math.exp(log):.3f}" for log, pressure in self.history)
