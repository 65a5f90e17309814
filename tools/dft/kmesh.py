"""Shifted Monkhorst-Pack meshes by lattice shape and purpose, and symmetry points, where bands have extrema."""

from __future__ import annotations

import numpy as np

# Length 2π n / |b|, Å, of the mesh by purpose: "coarse" is for the volume search.
LENGTHS = {
    "coarse": {"fcc": 15, "bcc": 14, "sc": 12, "hex": 13, "other": 13},
    "insulator": {"fcc": 15, "bcc": 14, "sc": 15, "hex": 14, "other": 14},
    "metal": {"fcc": 22, "bcc": 20, "sc": 20, "hex": 20, "other": 20},
}
GAMMA = "ngkpt 1 1 1 nshiftk 1 shiftk 0 0 0"

Points = list[tuple[float, float, float]]


def lattice_shape(lattice: np.ndarray) -> str:
    """ "fcc", "bcc", "sc" or "hex" for such a primitive cell, otherwise "other"."""
    lengths = np.linalg.norm(lattice, axis=1)
    directions = lattice / lengths[:, None]
    cosines = directions @ directions.T
    between = (cosines[0, 1], cosines[0, 2], cosines[1, 2])
    if np.ptp(lengths) < 1e-4 * lengths[0]:
        for shape, cosine in (("fcc", 0.5), ("bcc", -1 / 3.0), ("sc", 0)):
            if np.allclose(between, cosine, atol=1e-4):
                return shape
    if abs(lengths[0] - lengths[1]) < 1e-4 and np.allclose(between, (-0.5, 0, 0), atol=1e-4):
        return "hex"
    return "other"


def k_mesh(lattice: np.ndarray, purpose: str) -> str:
    """ABINIT's input variables of a mesh.

    Args:
        lattice: rows a, b, c, (3, 3), Å.
        purpose: "coarse", "insulator" or "metal".
    """
    shape = lattice_shape(lattice)
    # Divisions along each reciprocal vector, before rounding.
    wanted = np.linalg.norm(np.linalg.inv(lattice).T, axis=1) * LENGTHS[purpose][shape]
    half = "nshiftk 1 shiftk .5 .5 .5"
    match shape:
        case "fcc":  # four shifts make the simple cubic mesh of the conventional cell
            divisions = [max(3, round(wanted[0] / 1.587))] * 3
            shifts = "nshiftk 4 shiftk .5 .5 .5 .5 0 0 0 .5 0 0 0 .5"
        case "bcc":
            divisions = [max(3, round(wanted[0] / 1.26))] * 3
            shifts = "nshiftk 2 shiftk .25 .25 .25 -.25 -.25 -.25"
        case "sc":
            divisions, shifts = [max(4, 2 * round(wanted[0] / 2))] * 3, half
        case "hex":  # no shift in the plane: it would break the symmetry
            divisions = [max(3, round(wanted[0]))] * 2 + [max(2, round(wanted[2]))]
            shifts = "nshiftk 1 shiftk 0 0 .5"
        case _:
            divisions, shifts = [max(2, 2 * round(length / 2)) for length in wanted], half
    return "ngkpt {} {} {} ".format(*divisions) + shifts


def k_list(points: Points) -> str:
    """ABINIT's input variables of an explicit list of points."""
    rows = "\n ".join("{:.9f} {:.9f} {:.9f}".format(*point) for point in points)
    return f"kptopt 0 nkpt {len(points)} kpt {rows}"


def symmetry_points(lattice: np.ndarray) -> Points:
    """Points of high symmetry and points on the lines between them, in fractions of the reciprocal cell."""
    return _SYMMETRY_POINTS[lattice_shape(lattice)]


_SYMMETRY_POINTS: dict[str, Points] = {
    "fcc": [
        (0, 0, 0),
        *((x, x, 0) for x in (0.15, 0.3, 0.38, 0.43, 0.5)),
        (0.25, 0.25, 0.25),
        (0.5, 0.5, 0.5),
        (0.5, 0.25, 0.75),
        (0.375, 0.375, 0.75),
        (0.2, 0.2, 0.4),
    ],
    "bcc": [
        (0, 0, 0),
        (0.25, -0.25, 0.25),
        (0.5, -0.5, 0.5),
        (0, 0, 0.17),
        (0, 0, 0.33),
        (0, 0, 0.5),
        (0.25, 0.25, 0.25),
        (0.125, 0.125, 0.125),
    ],
    "sc": [
        (0, 0, 0),
        (0, 0.25, 0),
        (0, 0.5, 0),
        (0.25, 0.25, 0),
        (0.5, 0.5, 0),
        (0.25, 0.25, 0.25),
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.25),
        (0.5, 0.25, 0),
    ],
    "hex": [
        (0, 0, 0),
        (0.25, 0, 0),
        (0.5, 0, 0),
        (1 / 6.0, 1 / 6.0, 0),
        (1 / 3.0, 1 / 3.0, 0),
        (0, 0, 0.25),
        (0, 0, 0.5),
        (0.5, 0, 0.5),
        (1 / 3.0, 1 / 3.0, 0.5),
    ],
    "other": [
        (0, 0, 0),
        (0.5, 0, 0),
        (0, 0.5, 0),
        (0, 0, 0.5),
        (0.5, 0.5, 0),
        (0.5, 0, 0.5),
        (0, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        (0.25, 0, 0),
        (0, 0.25, 0),
        (0, 0, 0.25),
        (0.25, 0.25, 0),
        (0.25, 0, 0.25),
        (0, 0.25, 0.25),
        (0.25, 0.25, 0.25),
        (-0.25, 0.25, 0.25),
        (0.25, -0.25, 0.25),
        (0.25, 0.25, -0.25),
    ],
}
