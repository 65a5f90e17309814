"""Command: attribution of a prediction to places in the crystal, as a field on the file's own grid and as a picture."""

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

# Relative difference of attributed and actual change of the prediction above which a warning is given.
LARGEST_GAP = 0.02
SMOOTH = 0.3
REFERENCES = {"mean": "the same electrons spread evenly over the cell", "zero": "an empty cell"}


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "explain",
        "Show which places of a crystal contribute to a prediction: attributions on the file's own grid, whose sum\n"
        "is the difference to the prediction for a baseline density (docs/explain.md).",
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
        help="baseline density: the same electrons spread evenly (mean, the default), or no electrons (zero)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"largest number of steps from the baseline to the density; it is doubled from {FEWEST_STEPS} until the "
        f"attributions add up within 1 %% (default: {MOST_STEPS})",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        metavar="ANGSTROM",
        help=f"width of the Gaussian that blurs the attributions and keeps their sum; 0 for none (default: {SMOOTH})",
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
    spin = density.collinear_magnetization()  # as in the attribution
    check_field(dataclasses.replace(density, magnetization=spin), arguments)
    start_tensorflow()
    _explain(arguments, folder, density, item=item)
    return OK


def _check_call(arguments: argparse.Namespace) -> None:
    """Refuses options that cannot be used, before anything is read.

    Raises:
        CallError: a number is out of range, or --plot cannot be written.
        WriteError: --save cannot be written.
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
    attribution = integrate_gradients(
        density, prediction.slope_at, baseline=baseline, steps=arguments.steps or MOST_STEPS
    )
    attribution = attribution.smoothed(SMOOTH if arguments.smooth is None else arguments.smooth)
    output = _name_output(item, prediction.most_probable)
    print(_summary(attribution, output, item.unit, REFERENCES[baseline]))
    if item.nonnegative and not min(attribution.prediction, attribution.baseline) > 0:
        log.warning(
            "note: %s is never predicted below 0; where it is clipped it does not change, and nothing is attributed",
            item.name,
        )
    if attribution.gap > LARGEST_GAP:
        raised, lowered = attribution.parts
        log.warning(
            "warning: the attributions miss %.2g of the difference (%.1f %% of it, %.1f %% of all raising and lowering "
            "parts); more --steps reduce this",
            abs(attribution.difference - attribution.attributed),
            100 * attribution.gap,
            100 * abs(attribution.difference - attribution.attributed) / (raised - lowered),
        )
    if arguments.plot is not None:
        from rhonet.attribution.figures import attribution_figure

        title = (
            f"{_shortened(arguments.file)}\n{output}: {_number(attribution.prediction, item.unit)}, that is "
            f"{_number(attribution.difference, item.unit, sign='+')} against {REFERENCES[baseline]}"
        )
        write_picture(attribution_figure(attribution, item, title=title), arguments.plot)
    if arguments.save is not None:
        parts = "integrals of both fields add up to" if attribution.magnetization is not None else "integral"
        title = f"attribution of {output} in {item.unit or '1'} per volume, {parts} {attribution.attributed:.6g},"
        write_field(attribution.as_density(), arguments.save, overwrite=arguments.force, title=title)


def _name_output(item: Property, most_probable: int | None) -> str:
    if item.kind == "regression":
        return item.name
    return f"probability of {item.name}" + ("" if most_probable is None else f" {most_probable}")


def _number(value: float, unit: str, *, sign: str = "") -> str:
    return f"{value:{sign}.4g} {unit}".rstrip()


def _shortened(file: str, width: int = 80) -> str:
    """End of a long path, which distinguishes files better than its start."""
    return file if len(file) <= width else "…" + file[1 - width :]


def _summary(attribution: Attribution, output: str, unit: str, reference: str) -> str:
    """Prediction, baseline, and whether the attributions add up to the difference, one line each."""
    raised, lowered = attribution.parts
    rows = [
        (output, _number(attribution.prediction, unit)),
        ("baseline", f"{_number(attribution.baseline, unit)}  ({reference})"),
        ("difference", _number(attribution.difference, unit)),
        (
            "attributed",
            f"{_number(attribution.attributed, unit)}  (gap {100 * attribution.gap:.2g} %, {attribution.steps} steps)",
        ),
        ("  raising it", _number(raised, unit)),
        ("  lowering it", _number(lowered, unit)),
    ]
    if attribution.magnetization is not None:
        rows.append(("  by the spin", _number(attribution.attributed_to_spin, unit)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


if __name__ == "__main__":
    run_command(main, build_parser())
