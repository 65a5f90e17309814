"""Command: which places of a crystal a prediction comes from, as a field on the file's own grid and as a picture."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
from pathlib import Path

from rhonet.attribution.integrated_gradients import (
    BASELINES,
    FEWEST_STEPS,
    MOST_STEPS,
    Attribution,
    integrate_gradients,
)
from rhonet.cli.command import OK, new_parser, run_command
from rhonet.cli.inputs import FILE_HELP, add_reading_options, reader_for, report_failures
from rhonet.cli.outputs import add_output_options, check_field, check_outputs, write_field, write_picture
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import CallError
from rhonet.core.properties import Property
from rhonet.core.startup import start_tensorflow
from rhonet.serving.model_card import RELEASED, read_card, released_model

log = logging.getLogger("rhonet.explain")

# Above it the attributions are not said to explain the difference without a warning.
LARGEST_GAP = 0.02
SMOOTH = 0.3
REFERENCES = {"mean": "the same electrons spread evenly over the cell", "zero": "an empty cell"}


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "explain",
        "Say which places of a crystal make a prediction what it is: attributions on the file's own grid, which\n"
        "add up to what sets the prediction apart from that for a baseline (docs/explain.md).",
        "python -m rhonet.explain CHGCAR --property bulk_modulus --save why.cube --plot why.png",
    )
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    add_reading_options(parser)
    parser.add_argument("--property", required=True, metavar="NAME", help="the prediction to explain")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help=f"model or run folder (default: saved_models/{RELEASED})"
    )
    parser.add_argument(
        "--baseline",
        choices=BASELINES,
        help="what the prediction is compared with: the same electrons spread evenly (mean, the default), or none "
        "(zero)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"steps from the baseline to the density at most; doubled from {FEWEST_STEPS} until the attributions add "
        f"up within 1 %% (default: {MOST_STEPS})",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        metavar="ANGSTROM",
        help=f"width of the Gaussian that blurs the attributions, which keeps what they add up to; 0 for none "
        f"(default: {SMOOTH})",
    )
    add_output_options(
        parser,
        plot="draw it beside the density (png, pdf, svg)",
        save="write the field as OUT.cube or as CHGCAR (see inspect)",
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    _check_call(arguments)
    folder = arguments.model or released_model()
    if (folder / "model").is_dir():
        folder = folder / "model"
    item = _find(read_card(folder).properties, arguments.property, folder)
    density = reader_for(arguments).read(arguments.file)
    if isinstance(density, str):
        return report_failures([density], n_files=1)
    for warning in density.warnings:
        log.warning("%s: warning: %s", arguments.file, warning)
    spin = density.collinear_magnetization()  # which is what the attribution has
    check_field(dataclasses.replace(density, magnetization=spin), arguments)
    start_tensorflow()
    _explain(arguments, folder, density, item=item)
    return OK


def _check_call(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be done before anything is read.

    Raises:
        CallError, WriteError: which, and why.
    """
    if arguments.steps is not None and arguments.steps < 2:
        raise CallError(f"--steps {arguments.steps}: at least 2 are needed")
    if arguments.smooth is not None and not 0 <= arguments.smooth < math.inf:
        raise CallError(f"--smooth {arguments.smooth}: must be a width in Å, 0 or above")
    check_outputs(arguments)


def _find(properties: tuple[Property, ...], name: str, folder: Path) -> Property:
    """The property of that name.

    Raises:
        CallError: the model does not predict it.
    """
    for item in properties:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in properties)
    raise CallError(f"--property {name}: {folder} does not predict it; it predicts {known}")


def _explain(arguments: argparse.Namespace, folder: Path, density: ChargeDensity, *, item: Property) -> None:
    from rhonet.attribution.differentiable_model import DifferentiableModel

    baseline = arguments.baseline or BASELINES[0]
    prediction = DifferentiableModel(folder).prediction(item, density)
    found = integrate_gradients(density, prediction.slope_at, baseline=baseline, steps=arguments.steps or MOST_STEPS)
    found = found.smoothed(SMOOTH if arguments.smooth is None else arguments.smooth)
    what = _name_output(item, prediction.most_probable)
    print(_summary(found, what, item.unit, REFERENCES[baseline]))
    if item.nonnegative and not min(found.prediction, found.baseline) > 0:
        log.warning(
            "note: %s is never predicted below 0; where it is cut there it does not change, and nothing is attributed",
            item.name,
        )
    if found.gap > LARGEST_GAP:
        raised, lowered = found.parts
        log.warning(
            "warning: the attributions miss %.2g of the difference (%.1f %% of it, %.1f %% of what places add and take "
            "away); more --steps come closer",
            abs(found.difference - found.attributed),
            100 * found.gap,
            100 * abs(found.difference - found.attributed) / (raised - lowered),
        )
    if arguments.plot is not None:
        from rhonet.attribution.figures import attribution_figure

        title = (
            f"{_shortened(arguments.file)}\n{what}: {_number(found.prediction, item.unit)}, that is "
            f"{_number(found.difference, item.unit, sign='+')} against {REFERENCES[baseline]}"
        )
        write_picture(attribution_figure(found, item, title=title), arguments.plot)
    if arguments.save is not None:
        parts = "integrals of both fields add up to" if found.magnetization is not None else "integral"
        title = f"attribution of {what} in {item.unit or '1'} per volume, {parts} {found.attributed:.6g},"
        write_field(found.as_density(), arguments.save, overwrite=arguments.force, title=title)


def _name_output(item: Property, most_probable: int | None) -> str:
    if item.kind == "regression":
        return item.name
    return f"probability of {item.name}" + ("" if most_probable is None else f" {most_probable}")


def _number(value: float, unit: str, *, sign: str = "") -> str:
    return f"{value:{sign}.4g} {unit}".rstrip()


def _shortened(file: str, width: int = 80) -> str:
    """End of a long path: what tells files apart."""
    return file if len(file) <= width else "…" + file[1 - width :]


def _summary(found: Attribution, what: str, unit: str, reference: str) -> str:
    """What was explained, and whether it adds up, one line each."""
    raised, lowered = found.parts
    rows = [
        (what, _number(found.prediction, unit)),
        ("baseline", f"{_number(found.baseline, unit)}  ({reference})"),
        ("difference", _number(found.difference, unit)),
        ("attributed", f"{_number(found.attributed, unit)}  (gap {100 * found.gap:.2g} %, {found.steps} steps)"),
        ("  raising it", _number(raised, unit)),
        ("  lowering it", _number(lowered, unit)),
    ]
    if found.magnetization is not None:
        rows.append(("  by the spin", _number(found.attributed_to_spin, unit)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


if __name__ == "__main__":
    run_command(main, build_parser())
