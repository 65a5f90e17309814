"""Figure of the attributions of a prediction, below slices of its density."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rhonet.attribution.integrated_gradients import Attribution
from rhonet.core.density import ChargeDensity
from rhonet.core.properties import Property
from rhonet.reports.plots.density import Field, slices_figure

# Magnitude that the colours reach at least: a field of zeros needs a finite colour scale, too.
_LEAST = 1e-12
# Share of the largest magnitude up to which the colours are linear.
_LINEAR = 0.3


def attribution_figure(attribution: Attribution, item: Property, *, title: str) -> Figure:
    """Slices of ρ and, on the same planes below, of the attributions to ρ and to the magnetization, if there is one.

    Args:
        attribution: integrated gradients.
        item: the predicted property.
        title: above the figure.
    """
    unit = f"({item.unit}/Å³)" if item.unit else "(1/Å³)"
    symbol = item.symbol or item.name
    fields = [_density_field(attribution.density), _signed_field(attribution.values, f"{symbol} by ρ {unit}")]
    if attribution.magnetization is not None:
        fields.append(_signed_field(attribution.magnetization, f"{symbol} by m {unit}"))
    return slices_figure(attribution.density, fields, title=title)


def _density_field(density: ChargeDensity) -> Field:
    return Field(density.values, "ρ (e/Å³)")


def _signed_field(values: np.ndarray, label: str) -> Field:
    return Field(values, label, least=_LEAST, linear=_LINEAR)
