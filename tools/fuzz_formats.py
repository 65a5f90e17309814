#!/usr/bin/env python3
"""Fuzz the readers of density files with atheris (libFuzzer): every input gives a density or a FormatError.

    pip install -e ".[fuzz]"
    python tools/fuzz_formats.py --minutes 30

Starts from small valid files of every format (`tests/whole_files.py`), or from the files of `--seeds`. A finding is any
other exception, an error that does not name the file, a density that is not finite, a hang (10 s) or more than 2 GiB
of memory. Its input is kept in --out; `python tools/fuzz_formats.py --repeat FILE` reads it again. Exit code 0 means
no finding.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_INPUT_BYTES = 16_384
HANG_SECONDS = 10
MEMORY_MB = 2048
MAX_MESSAGE = 1000
# File names, as the format of a file can depend on its name; the last byte of an input selects one.
NAMES = ("rho", "CHGCAR", "rho.cube", "rho.xsf", "rho.json", "rho.den_fmt", "rho.h5", "rho.nc", "rho.hdf5", "AECCAR2")
WORDS = (
    *("augmentation occupancies 1 4", "Direct", "Cartesian", "Selective dynamics", "nan", "inf", "***", "1.0E+400"),
    *("0.123-101", "99999999999", "-1", "\\x00", "\\x0d\\x0a", "BEGIN_BLOCK_DATAGRID_3D", "BEGIN_DATAGRID_3D_rho"),
    *("END_DATAGRID_3D", "PRIMVEC", "PRIMCOORD", "CRYSTAL", "@class", "total", "diff", "NaN", "Infinity", "[[[", "{"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long (default: %(default)g)")
    parser.add_argument("--seeds", type=Path, help="folder of small files to start from, instead of our own")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="findings (default: %(default)s)")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="read one input again and show what happens")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        fuzz(options.worker)
    elif options.repeat is not None:
        sys.path.insert(0, str(REPOSITORY))
        read_input(options.repeat.read_bytes(), Path(tempfile.mkdtemp()))
        print("no finding")
    else:
        sys.exit(run(options.minutes, options.seeds, options.out))


def run(minutes: float, seeds: Path | None, out: Path) -> int:
    """Runs libFuzzer until the time is over, anew after each finding; prints a summary and returns the exit code.

    Args:
        minutes: how long.
        seeds: folder of files to start from; None for the files of the tests.
        out: folder of the findings.
    """
    out.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    n_seeds = write_seeds(corpus, seeds)
    words = corpus.with_suffix(".dict")
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    start, inputs = time.monotonic(), 0
    while (left := minutes * 60 - (time.monotonic() - start)) > 1:
        flags = [
            *(str(corpus), f"-max_total_time={int(left)}", f"-max_len={MAX_INPUT_BYTES}", f"-timeout={HANG_SECONDS}"),
            *(f"-rss_limit_mb={MEMORY_MB}", f"-dict={words}", f"-artifact_prefix={out}/", "-print_final_stats=1"),
        ]
        worker = subprocess.run(
            [sys.executable, __file__, "--worker", *flags], capture_output=True, text=True, errors="replace"
        )
        executed = re.search(r"stat::number_of_executed_units:\s+(\d+)", worker.stderr)
        inputs += int(executed[1]) if executed else 0
        if worker.returncode:
            print(worker.stderr[-3000:], file=sys.stderr)
            if executed is None and not any(out.iterdir()):
                return 2
    findings = sorted(file.name for file in out.iterdir())
    shutil.rmtree(corpus)
    words.unlink()
    elapsed = (time.monotonic() - start) / 60
    print(f"{elapsed:.1f} minutes, {n_seeds} seeds, {inputs} inputs, {len(findings)} findings {' '.join(findings)}")
    return 1 if findings else 0


def write_seeds(corpus: Path, seeds: Path | None) -> int:
    """Fills the corpus and returns the number of seed files."""
    if seeds is None:
        sys.path.insert(0, str(REPOSITORY))
        from tests.whole_files import whole_files

        contents = list(whole_files().values())
    else:
        contents = [file.read_bytes() for file in sorted(seeds.iterdir()) if file.is_file()]
    for i, content in enumerate(contents):
        for name in range(len(NAMES)):
            (corpus / f"{i}-{name}").write_bytes(content + bytes([name]))
    return len(contents)


def fuzz(flags: list[str]) -> None:
    """Runs libFuzzer in this process; ends the process."""
    import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

    sys.path.insert(0, str(REPOSITORY))
    with atheris.instrument_imports(include=["rhonet"]):  # pyright: ignore[reportAttributeAccessIssue]
        import rhonet.formats
        import rhonet.formats.table

        for row in rhonet.formats.FORMATS:
            row.load()
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    atheris.Setup([sys.argv[0], *flags], lambda data: read_input(data, folder))
    atheris.Fuzz()


def read_input(data: bytes, folder: Path) -> None:
    """Reads one input as a density file; raises if that is a finding.

    Raises:
        AssertionError: the error message does not name the file or is too long, or the density is not finite.
        Exception: any other exception of the reader.
    """
    import numpy as np

    from rhonet.core.errors import FormatError
    from rhonet.formats import read_density

    if not data:
        return
    path = folder / NAMES[data[-1] % len(NAMES)]
    path.write_bytes(data[:-1])
    try:
        density = read_density(path)
    except FormatError as error:
        if not str(error).startswith(str(path)) or len(str(error)) > MAX_MESSAGE:
            raise AssertionError(f"no proper message: {error}") from error
    else:
        if not np.isfinite(density.values).all() or not density.n_electrons > 0:
            raise AssertionError(f"no density: {density.n_electrons} electrons")
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
