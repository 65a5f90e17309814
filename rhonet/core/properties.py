"""Which properties there are: names, units, kinds and how each is scaled for learning."""

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

    Args:
        name: column name, a Python identifier.
        symbol: short symbol for plots.
        unit: physical unit of the column, "" if it has none.
        kind: "regression", "binary" (labels 0 and 1) or "multiclass" (labels 0 ... classes-1).
        transform: what is standardised: the value itself or its natural logarithm (values above 0 only).
        intensive: False for properties that grow with the cell; they are learned per cell volume.
        nonnegative: True where no value below 0 exists; predictions and their intervals stop there.
        volume_like: True where the grid's shape and scale alone give (nearly) the answer; reported apart.
        loss_weight: weight in the multi-task loss, above 0.
        classes: number of classes of a multiclass property, else 0.
        class_names: what they are called, in the order of their numbers; () where they have numbers only.
        note: one line for the dataset card.

    Raises:
        ValueError: a kind, transform or name that does not exist, or a weight that is none.
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
        # Files give it back as a list, which could not be hashed.
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
        return self.kind != "regression"

    @property
    def class_labels(self) -> tuple[str, ...]:
        """What its classes are called: their names, "no" and "yes" of a binary property, else their numbers."""
        return self.class_names or (("no", "yes") if self.kind == "binary" else tuple(map(str, range(self.classes))))

    @property
    def size(self) -> int:
        """Width of the network's output for it."""
        return self.classes if self.kind == "multiclass" else 1

    @property
    def label(self) -> str:
        """Axis label: symbol and unit."""
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
    logarithm, `:extensive` for learning per cell volume, `:nonnegative` for no predictions below 0. A known name
    without anything else is that property.

    Raises:
        ValueError: the declaration cannot be understood; the message shows the form.
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
    """Property of that name: a declared one first, then a known one.

    Raises:
        ValueError: nobody declared it; the message says how to and names the closest known one.
    """
    for candidate in declared:
        if candidate.name == name:
            return candidate
    if name in PROPERTIES:
        return PROPERTIES[name]
    near = difflib.get_close_matches(name, PROPERTIES, n=1)
    hint = f"did you mean {near[0]!r}? If it is a property of your own, " if near else ""
    raise ValueError(
        f"unknown property {name!r}; {hint}declare it in dataset.toml as "
        f'[properties.{name}] with unit = "..." and kind = "regression", "binary" or "multiclass"'
    )
