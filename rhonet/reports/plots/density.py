"""Figures of a density: slices with true lengths and angles, and averages over lattice planes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke

from rhonet.core.density import ChargeDensity
from rhonet.core.text import printable
from rhonet.reports.plots.style import GUIDE, MAIN, STYLE, TEXT

_SPIN_COLOR = "#D55E00"
_DENSITY_MAP, _SPIN_MAP = "viridis", "PuOr_r"
_WIDTH, _BESIDE = 7.0, 1.3  # inches: of the page, and of the colour bar and margins on it
_TALLEST, _LINES = 2.6, 1.6  # inches: largest height of a slice, height of the planar averages
_MOST_POINTS = 400  # along an edge of a slice; the picture resolves no more
_SEARCH_POINTS = 100  # along each edge in the search for the planes; limits the memory that large grids take
_LEAST_SPIN = 0.01  # µB/Å³: the colour scale reaches at least this far, so that noise stays pale
_NEAR = 0.5  # Å: atoms within this distance of a slice are marked on it
_MOST_NAMED = 40


@dataclass(frozen=True)
class _Slice:
    """A grid plane, spanned by two lattice vectors.

    Attributes:
        across: lattice direction, 0 to 2, that the plane cuts.
        index: grid point of that direction through which the plane passes.
        horizontal: lattice direction, 0 to 2, that is drawn horizontally.
        vertical: lattice direction, 0 to 2, that is drawn upwards.
        axes: (2, 3) unit vectors of the picture's horizontal and vertical direction in space.
        edges: (2, 2) both lattice vectors in the picture, Å.
    """

    across: int
    index: int
    horizontal: int
    vertical: int
    axes: np.ndarray
    edges: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """Corners of the plane, (5, 2), Å; the last is the first."""
        return np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ self.edges

    @property
    def size(self) -> np.ndarray:
        """Width and height of the picture, (2,), Å."""
        return np.ptp(self.outline, axis=0)

    def take(self, field: np.ndarray) -> np.ndarray:
        """The field on the plane, thinned out to at most `_MOST_POINTS` per edge and closed periodically."""
        plane = np.take(field, self.index, axis=self.across)
        if self.horizontal > self.vertical:
            plane = plane.T
        plane = plane[tuple(slice(None, None, -(-points // _MOST_POINTS)) for points in plane.shape)]
        return np.pad(plane, ((0, 1), (0, 1)), mode="wrap")


@dataclass(frozen=True, eq=False)
class Field:
    """A field on the grid of a density, drawn as one row of slices.

    Attributes:
        values: (nx, ny, nz), in the unit of `label`.
        label: symbol and unit, for the colour bar.
        least: magnitude that the diverging colours of a signed field reach at least; None for a field that is
            positive but for noise.
        linear: share of the largest magnitude up to which diverging colours are linear.
    """

    values: np.ndarray
    label: str
    least: float | None = None
    linear: float = 0.05


@matplotlib.rc_context(STYLE)
def slices_figure(density: ChargeDensity, fields: Sequence[Field], *, title: str = "") -> Figure:
    """One row of slices per field, on the planes that `density_figure` shows.

    Args:
        density: gives cell and atoms, and its values (e/Å³) determine the planes.
        fields: on the grid of the density, from top to bottom.
        title: above the figure; may have several lines.
    """
    slices = _choose_slices(density)
    height = _height(slices, rows=len(fields))
    figure = Figure(figsize=(_WIDTH, height + 0.3 + 0.15 * title.count("\n")), layout="constrained")
    figure.suptitle(title, fontsize=9, color=TEXT, parse_math=False)
    _draw_rows(figure, density, slices, fields)
    return figure


@matplotlib.rc_context(STYLE)
def density_figure(density: ChargeDensity, *, title: str = "") -> Figure:
    """Slices of ρ and of the magnetization along each pair of lattice vectors, and their averages over such planes.

    All slices have true lengths and angles and share one scale. Each is the grid plane on which ln ρ varies most, so
    it passes through atoms and the space between them. Atoms within 0.5 Å of a slice are marked. Colours follow
    asinh: linear around zero, logarithmic beyond. A non-collinear magnetization is projected on its total moment.

    Args:
        density: e/Å³.
        title: above the figure, e.g. the file's name.
    """
    spin = density.collinear_magnetization()
    fields = [Field(density.values, "ρ (e/Å³)")]
    if spin is not None:
        fields.append(Field(spin, "m (µB/Å³)", least=_LEAST_SPIN))
    slices = _choose_slices(density)
    height = _height(slices, rows=len(fields))
    figure = Figure(figsize=(_WIDTH, height + _LINES + 0.3), layout="constrained")
    if title:
        line = printable(title)
        line = line if len(line) < 90 else "…" + line[-89:]
        figure.suptitle(line, fontsize=9, color=TEXT, parse_math=False)
    parts: Any = figure.subfigures(2, 1, height_ratios=[height, _LINES])
    above, below = parts
    _draw_rows(above, density, slices, fields)
    _draw_averages(below, density, slices, spin)
    return figure


def _choose_slices(density: ChargeDensity) -> list[_Slice]:
    """Planes across c, b and a; the longer edges are all horizontal or all vertical, whichever gives larger slices."""
    options = [
        [_make_slice(density, across, index, upright=upright) for across, index in _best_planes(density)]
        for upright in (False, True)
    ]
    return max(options, key=_scale)


def _height(slices: Sequence[_Slice], *, rows: int) -> float:
    """Height of rows of slices, inches."""
    return rows * (_scale(slices) * max(part.size[1] for part in slices) + 0.5)


def _scale(slices: Sequence[_Slice]) -> float:
    """Scale, inches per Å, at which the slices fit side by side."""
    widths, heights = np.transpose([part.size for part in slices])
    return float(min((_WIDTH - _BESIDE) / widths.sum(), _TALLEST / heights.max()))


def _best_planes(density: ChargeDensity) -> list[tuple[int, int]]:
    """Direction and grid point of the planes across c, b and a on which ln ρ varies most."""
    steps = tuple(slice(None, None, -(-points // _SEARCH_POINTS)) for points in density.shape)
    floor = 1e-3 * density.n_electrons / density.volume
    planes = []
    for across in (2, 1, 0):
        # The direction across the plane is not thinned out: all planes are candidates.
        thinned = density.values[tuple(slice(None) if axis == across else step for axis, step in enumerate(steps))]
        logarithm = np.log(np.maximum(thinned, floor))
        variance = logarithm.var(axis=tuple(axis for axis in range(3) if axis != across))
        # Of planes that differ by rounding only, take the first.
        planes.append((across, int(np.argmax(variance >= variance.max() * (1 - 1e-6)))))
    return planes


def _make_slice(density: ChargeDensity, across: int, index: int, *, upright: bool) -> _Slice:
    lengths = np.linalg.norm(density.lattice, axis=1)
    sign = 1 if upright else -1
    horizontal, vertical = sorted({0, 1, 2} - {across}, key=lambda axis: (sign * round(lengths[axis], 3), axis))
    right = density.lattice[horizontal] / lengths[horizontal]
    up = density.lattice[vertical] - (density.lattice[vertical] @ right) * right
    axes = np.stack([right, up / np.linalg.norm(up)])
    edges = density.lattice[[horizontal, vertical]] @ axes.T
    return _Slice(across, index, horizontal, vertical, axes, edges)


def _draw_rows(
    figure: Figure | SubFigure, density: ChargeDensity, slices: Sequence[_Slice], fields: Sequence[Field]
) -> None:
    panels = figure.subplots(len(fields), 3, squeeze=False, width_ratios=[part.size[0] for part in slices])
    for row, field in zip(panels, fields, strict=True):
        _draw_slices(row, density, slices, field)


def _draw_slices(panels: np.ndarray, density: ChargeDensity, slices: Sequence[_Slice], field: Field) -> None:
    planes = [part.take(field.values) for part in slices]
    everything = np.concatenate([plane.ravel() for plane in planes])
    signed = field.least is not None
    norm = _color_norm(everything, least=field.least, linear=field.linear)
    is_noise = field.least is not None and np.abs(everything).max() < field.least
    levels = [] if is_noise else _round_values(norm, most=12)  # contours of noise would cover the slice
    mesh = None
    for axes, part, plane in zip(panels, slices, planes, strict=True):
        u, v = (np.linspace(0, 1, points) for points in plane.shape)
        x, y = np.moveaxis(u[:, None, None] * part.edges[0] + v[None, :, None] * part.edges[1], -1, 0)
        mesh = axes.pcolormesh(
            x, y, plane, norm=norm, cmap=_SPIN_MAP if signed else _DENSITY_MAP, shading="gouraud", rasterized=True
        )
        color = TEXT if signed else "white"
        inside = [level for level in levels if plane.min() < level < plane.max()]
        if inside:
            axes.contour(x, y, plane, levels=inside, colors=color, linewidths=0.3, alpha=0.6, linestyles="solid")
        axes.plot(*part.outline.T, color=TEXT, linewidth=0.6)
        _mark_atoms(axes, density, part)
        _name_edges(axes, density, part)
    assert mesh is not None
    ticks = _round_values(norm, most=7)
    bar = panels[0].figure.colorbar(mesh, ax=panels, label=field.label, pad=0.02, aspect=25, ticks=ticks)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.minorticks_off()


def _color_norm(values: np.ndarray, *, least: float | None, linear: float) -> AsinhNorm:
    """Colour scale: symmetric for a signed field, else linear below the first quartile and logarithmic above it."""
    largest = float(np.abs(values).max())
    if least is not None:
        largest = max(largest, least)
        return AsinhNorm(linear_width=linear * largest, vmin=-largest, vmax=largest)
    lowest = max(float(np.quantile(np.abs(values), 0.25)), 1e-6 * largest, 1e-30)
    low = float(values.min())
    return AsinhNorm(linear_width=lowest, vmin=low if low < largest else 0.0, vmax=largest)


def _round_values(norm: AsinhNorm, *, most: int) -> list[float]:
    """At most about `most` round numbers that lie well apart on the colour scale, sorted; zero if it is inside."""
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    powers = range(-12, 13)
    candidates = [0.0, *(first * 10.0**power for first in (1, 3, 2, 5) for power in reversed(powers))]
    chosen: list[float] = []
    for value in itertools.chain.from_iterable((number, -number) for number in candidates):
        place = norm(np.array([value, *chosen]))
        apart = np.abs(np.asarray(place[1:]) - place[0])
        if low <= value <= high and value not in chosen and (not chosen or apart.min() >= 0.9 / most):
            chosen.append(value)
    return sorted(chosen)


def _mark_atoms(axes: Axes, density: ChargeDensity, part: _Slice) -> None:
    """Writes the elements of the atoms near the plane; those on an edge are repeated on the opposite edge."""
    if density.atoms is None:
        return
    fractions = density.atoms.get_scaled_positions() % 1
    offset = fractions[:, part.across] - part.index / density.shape[part.across]
    offset -= np.round(offset)
    u, v = density.lattice[part.horizontal], density.lattice[part.vertical]
    apart = density.volume / np.linalg.norm(np.cross(u, v))
    near = np.flatnonzero(np.abs(offset) * apart <= _NEAR)
    symbols = density.atoms.get_chemical_symbols()
    for atom in near[:_MOST_NAMED]:
        inside = fractions[atom].copy()
        inside[part.across] = 0
        for shift in itertools.product((-1, 0, 1), repeat=2):
            place = inside[[part.horizontal, part.vertical]] + shift
            if (place < -1e-3).any() or (place > 1 + 1e-3).any():
                continue
            x, y = place @ part.edges + offset[atom] * (part.axes @ density.lattice[part.across])
            axes.text(
                x,
                y,
                symbols[atom],
                ha="center",
                va="center",
                fontsize=6,
                color=TEXT,
                path_effects=[withStroke(linewidth=1.4, foreground="white")],
            )


def _name_edges(axes: Axes, density: ChargeDensity, part: _Slice) -> None:
    """Writes names and lengths along the edges, and the position of the plane as the title."""
    place = part.index / density.shape[part.across]
    axes.set_title(f"at {place:.3g} ${'abc'[part.across]}$", fontsize=8)
    for direction, edge, shift in ((part.horizontal, part.edges[0], (0, -9)), (part.vertical, part.edges[1], (-12, 0))):
        length = np.linalg.norm(edge)
        axes.annotate(
            f"${'abc'[direction]}$, {length:.2f} Å",
            (float(edge[0]) / 2, float(edge[1]) / 2),
            xytext=shift,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            rotation=float(np.degrees(np.arccos(edge[0] / length))),
        )
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_averages(
    figure: SubFigure, density: ChargeDensity, slices: Sequence[_Slice], spin: np.ndarray | None
) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    lengths = np.linalg.norm(density.lattice, axis=1)
    for axis, axes in enumerate(panels):
        others = tuple(other for other in range(3) if other != axis)
        place = np.linspace(0, lengths[axis], density.shape[axis] + 1)
        index = next(part.index for part in slices if part.across == axis)
        axes.axvline(place[index], color=GUIDE, linewidth=0.6, linestyle=(0, (4, 3)))
        axes.plot(place, np.pad(density.values.mean(axis=others), (0, 1), mode="wrap"), color=MAIN, label="ρ (e/Å³)")
        if spin is not None:
            axes.axhline(0, color=GUIDE, linewidth=0.6)
            average = np.pad(spin.mean(axis=others), (0, 1), mode="wrap")
            axes.plot(place, average, color=_SPIN_COLOR, label="m (µB/Å³)")
        axes.set(xlabel=f"along ${'abc'[axis]}$ (Å)", xlim=(0, lengths[axis]))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("plane average" + (" of ρ (e/Å³)" if spin is None else ""))
    if panels[0].get_ylim()[0] > 0:
        panels[0].set_ylim(bottom=0)
    if spin is not None:
        panels[-1].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handlelength=1.2, borderaxespad=0)
