"""The known properties: name, unit, kind, and how each is scaled for learning."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("regression", "binary", "multiclass")
TRANSFORMS = ("identity", "log")


@dataclass(frozen=True)
class Property:
    """One column of a properties table, and one head of the network.

    Attributes:
        name: column name, a Python identifier.
        symbol: short symbol for plots.
        unit: physical unit of the column, "" if it has none.
        kind: "regression", "binary" (labels 0 and 1) or "multiclass" (labels 0 ... classes-1).
        transform: what is standardised: the value itself or its natural logarithm (values above 0 only).
        intensive: False for properties that grow with the cell; they are learned per cell volume.
        volume_like: True where the shape and scale of the grid alone (nearly) determine the value; reported apart.
        loss_weight: weight in the multi-task loss, above 0.
        classes: number of classes of a multiclass property, 0 for other kinds.
        note: one line for the dataset card.
        class_names: names of the classes, in the order of their numbers; () where they have numbers only.
        nonnegative: True where values below 0 do not exist; predictions and their intervals stop there.

    Raises:
        ValueError: a name, kind, transform, weight or set of classes that is not allowed, or a contradiction between
            them.
    """

    name: str
    symbol: str = ""
    unit: str = ""
    kind: str = "regression"
    transform: str = "identity"
    intensive: bool = True
    volume_like: bool = False
    loss_weight: float = 1.0
    classes: int = 0
    note: str = ""
    class_names: tuple[str, ...] = ()
    nonnegative: bool = False

    def __post_init__(self) -> None:
        # TOML and JSON give a list, which cannot be hashed.
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if not self.name.isidentifier():
            raise ValueError(f"property name {self.name!r} is not a plain identifier (letters, digits, underscores)")
        if self.kind not in KINDS:
            raise ValueError(f"property {self.name}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        if self.transform not in TRANSFORMS:
            raise ValueError(f"property {self.name}: transform {self.transform!r} is none of {', '.join(TRANSFORMS)}")
        if not (self.loss_weight > 0 and math.isfinite(self.loss_weight)):
            raise ValueError(
                f"property {self.name}: loss_weight must be above 0, found {self.loss_weight:g}; to learn without it, "
                "leave it out of data.properties"
            )
        if self.kind != "regression" and (self.transform != "identity" or not self.intensive or self.nonnegative):
            raise ValueError(
                f"property {self.name}: a {self.kind} property has no transform, volume scaling or lower bound"
            )
        if (self.kind == "multiclass") != (self.classes >= 2):
            raise ValueError(f"property {self.name}: multiclass needs classes >= 2, other kinds need none")
        if self.class_names and not len(self.class_names) == len(set(self.class_names)) == self.classes:
            raise ValueError(
                f"property {self.name}: {self.classes} classes need as many different names, "
                f"found {', '.join(self.class_names)}"
            )

    @property
    def is_class(self) -> bool:
        """Is it learned by classification?"""
        return self.kind != "regression"

    @property
    def class_labels(self) -> tuple[str, ...]:
        """Names of the classes; "no" and "yes" for a binary property; numbers where the classes have no names."""
        return self.class_names or (("no", "yes") if self.kind == "binary" else tuple(map(str, range(self.classes))))

    @property
    def size(self) -> int:
        """Number of outputs of its head: one per class of a multiclass property, otherwise 1."""
        return self.classes if self.kind == "multiclass" else 1

    @property
    def label(self) -> str:
        """Axis label: symbol (or name) and unit."""
        return f"{self.symbol or self.name} ({self.unit})" if self.unit else self.symbol or self.name


_KNOWN = (
    Property("bulk_modulus", "K", "GPa", transform="log"),
    Property("volume_per_atom", "V/atom", "Å³", transform="log", volume_like=True),
    Property("cell_volume", "V", "Å³", intensive=False, volume_like=True),
    Property("mass_density", "d", "g/cm³", transform="log", volume_like=True),
    Property("total_energy_per_atom", "E/atom", "eV"),
    Property("formation_energy_per_atom", "ΔE_f/atom", "eV"),
    Property("fermi_energy", "E_F", "eV"),
    Property("band_gap", "E_g", "eV", nonnegative=True),
    Property("band_width", "W", "eV", nonnegative=True),
    Property("magnetic_moment", "M", "µB", intensive=False, nonnegative=True),
    Property("is_metal", "metal", kind="binary"),
    Property("dynamically_stable", "stable", kind="binary"),
)

PROPERTIES: dict[str, Property] = {known.name: known for known in _KNOWN}


def parse_declaration(text: str) -> Property:
    """Property from a declaration `name:unit:kind`, as users write it for a column of their own.

    The unit may be empty; kind is regression, binary or multiclassN (N classes). A trailing `:log` asks for the
    logarithm, `:extensive` for learning per cell volume, `:nonnegative` for no predictions below 0. The name of a
    known property alone stands for that property.

    Raises:
        ValueError: the declaration cannot be understood; the message shows the form.

    Example:
        >>> shear = parse_declaration("shear_modulus:GPa:regression:log")
        >>> shear.unit, shear.kind, shear.transform
        ('GPa', 'regression', 'log')
    """
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1 and parts[0] in PROPERTIES:
        return PROPERTIES[parts[0]]
    form = (
        "name:unit:kind[:log][:extensive][:nonnegative], e.g. shear_modulus:GPa:regression:log or "
        "is_topological::binary"
    )
    if len(parts) < 3:
        raise ValueError(f"cannot understand the property declaration {text!r}; the form is {form}")
    name, unit, kind, *flags = parts
    if set(flags) - {"log", "extensive", "nonnegative"}:
        raise ValueError(f"property declaration {text!r}: unknown flag; the form is {form}")
    classes = 0
    if kind.startswith("multiclass"):
        count = kind.removeprefix("multiclass")
        if not count.isdigit():
            raise ValueError(f"property declaration {text!r}: say how many classes, e.g. {name}::multiclass7")
        kind, classes = "multiclass", int(count)
    return Property(
        name,
        unit=unit,
        kind=kind,
        transform="log" if "log" in flags else "identity",
        intensive="extensive" not in flags,
        classes=classes,
        nonnegative="nonnegative" in flags,
    )


def find_property(name: str, declared: Sequence[Property] = ()) -> Property:
    """Property of that name: a declared one, or else a known one.

    Raises:
        ValueError: neither exists; the message says how to declare one and names the closest known property.
    """
    for candidate in declared:
        if candidate.name == name:
            return candidate
    if name in PROPERTIES:
        return PROPERTIES[name]
    close = difflib.get_close_matches(name, PROPERTIES, n=1)
    hint = f"did you mean {close[0]!r}? If it is a property of your own, " if close else ""
    raise ValueError(
        f"unknown property {name!r}; {hint}declare it in dataset.toml as "
        f'[properties.{name}] with unit = "..." and kind = "regression", "binary" or "multiclass"'
    )
