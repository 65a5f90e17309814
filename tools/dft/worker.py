"""Computes references and crystals, several at the same time."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from tools.dft.abinit_run import Runner
from tools.dft.candidates import Candidate
from tools.dft.crystal import compute_crystal, compute_reference
from tools.dft.errors import CalculationFailed
from tools.dft.learned_guess import learn_guess
from tools.dft.records import CrystalRecord
from tools.dft.references import Reference, wanted_references
from tools.dft.store import Store

log = logging.getLogger("tools.dft")


@dataclass(frozen=True)
class Outcome:
    """Counts of ended calculations.

    Attributes:
        finished: calculations with a result.
        failed: calculations without one.
    """

    finished: int
    failed: int


def unfinished(wanted: Sequence[Candidate], store: Store, *, retry_failed: bool) -> list[Candidate]:
    """Crystals without a result.

    Args:
        wanted: crystals to choose from.
        store: results so far.
        retry_failed: whether crystals that failed are included.
    """
    skipped = set(store.crystals) if retry_failed else {*store.crystals, *store.failed}
    return [candidate for candidate in wanted if candidate.id not in skipped]


def missing_references(crystals: Sequence[Candidate], store: Store, *, retry_failed: bool) -> list[Reference]:
    """References of the crystals' elements whose energies are unknown.

    Args:
        crystals: to compute.
        store: results so far.
        retry_failed: whether references that failed are included.
    """
    elements = {symbol for candidate in crystals for symbol in candidate.elements} - store.known_elements()
    references = wanted_references(elements)
    return references if retry_failed else [item for item in references if item.id not in store.failed]


class Generation:
    """Computes crystals and references and writes them to a store.

    Args:
        store: for the results; must be locked.
        run: computes tasks; is called from several threads.
        workers: number of calculations at the same time.
        seconds: time limit per crystal or reference.
        stop: ends the running calculations; they raise `Interrupted`.
    """

    def __init__(self, store: Store, run: Runner, *, workers: int, seconds: float, stop: Callable[[], None]) -> None:
        self._store = store
        self._run = run
        self._workers = workers
        self._seconds = seconds
        self._stop = stop
        self._lock = threading.Lock()
        self._done = 0

    def compute(self, references: Sequence[Reference], crystals: Sequence[Candidate]) -> Outcome:
        """Computes the references, then the crystals; on KeyboardInterrupt all runs are killed, without results."""
        jobs = [self._reference_job(reference) for reference in references]
        jobs += [self._crystal_job(candidate) for candidate in crystals]
        pool = ThreadPoolExecutor(self._workers)
        futures = [pool.submit(self._attempt, name, job, len(jobs)) for name, job in jobs]
        try:
            ended = [future.result() for future in as_completed(futures)]
        except BaseException:
            # Whatever the reason, no ABINIT process may stay behind.
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop()
            raise
        finally:
            pool.shutdown()
        return Outcome(sum(ended), len(ended) - sum(ended))

    def _crystal_job(self, candidate: Candidate) -> tuple[str, Callable[[], str]]:
        def job() -> str:
            with self._lock:
                finished = list(self._store.crystals.values())
            computed = compute_crystal(
                candidate,
                self._run,
                scratch=self._store.scratch(candidate.id),
                seconds=self._seconds,
                guess=learn_guess(finished, candidate),
            )
            with self._lock:
                self._store.add_crystal(computed.record, computed.density)
            return _summary(computed.record)

        return candidate.id, job

    def _reference_job(self, reference: Reference) -> tuple[str, Callable[[], str]]:
        def job() -> str:
            scratch = self._store.scratch(reference.id)
            record = compute_reference(reference, self._run, scratch=scratch, seconds=self._seconds)
            with self._lock:
                self._store.add_reference(record)
            energies = ", ".join(f"{energy:.4f} eV/atom at {cutoff} Ha" for cutoff, energy in record.energies.items())
            return f"{energies}; {record.seconds:.0f} s"

        return reference.id, job

    def _attempt(self, name: str, job: Callable[[], str], n_jobs: int) -> bool:
        """Runs a job and logs its end; returns whether it gave a result."""
        succeeded = True
        try:
            message = job()
        except CalculationFailed as error:
            succeeded, message = False, f"failed: {error}"
            with self._lock:
                self._store.add_failure(name, str(error))
        finally:
            shutil.rmtree(self._store.scratch(name), ignore_errors=True)
        with self._lock:
            self._done += 1
            log.info("[%d/%d] %s: %s", self._done, n_jobs, name, message)
        return succeeded


def _summary(record: CrystalRecord) -> str:
    parts = [
        f"{record.volume / len(record.symbols):.2f} Å³/atom",
        f"K {record.bulk_modulus:.0f} GPa",
        f"gap {record.band_gap:.2f} eV",
        f"moment {record.moment:.2f} µB",
        *record.flags,
    ]
    return ", ".join(parts) + f"; {record.seconds:.0f} s"
