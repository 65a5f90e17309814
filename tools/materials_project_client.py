"""The Materials Project's service as the download needs it: search materials, size and fetch densities.

Searches use mp-api. Densities are copied as bytes from the public bucket, under the keys of mp-api's
`MPRester.get_charge_density_from_task_id`: that function decodes a density into Python objects, which takes minutes and
gigabytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import requests
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from deltalake.exceptions import DeltaError
from emmet.core.mpid import AlphaID
from mp_api.client import MPRester, MPRestError
from mp_api.client.core.utils import validate_ids
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from tools.materials_project_labels import (
    SUMMARY_FIELDS,
    THERMO_FIELDS,
    THERMO_TYPE,
    Material,
    Task,
    is_dynamically_stable,
    read_material,
)

BUCKET = "materialsproject-parsed"
KEY = "chgcars/{}.json.gz"
# The bucket cannot be listed, so it answers 403 for a missing key.
ABSENT = {"404", "403", "NoSuchKey", "AccessDenied"}
# Waits of 1, 2, 4, ... up to 60 s, or what the server's Retry-After says: about four minutes in all.
RETRIES = 8
BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
BUSY = (429, 500, 502, 503, 504)
MAX_PAGE = 1000
IDS_PER_REQUEST = 100  # keeps the address below 2 kB

_FAILURES = (MPRestError, requests.RequestException, Boto3Error, BotoCoreError, ClientError, json.JSONDecodeError)


class ServiceError(RuntimeError):
    """The service does not answer or refuses the key; the message says in one line why and what to do."""


class RateLimitedAdapter(HTTPAdapter):
    """Sends requests at a limited rate, and again if the server is busy.

    Args:
        per_second: requests per second, at most.
    """

    def __init__(self, per_second: float) -> None:
        retry = Retry(
            total=RETRIES,
            backoff_factor=BACKOFF_SECONDS,
            backoff_max=LONGEST_WAIT_SECONDS,
            status_forcelist=BUSY,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        super().__init__(max_retries=retry)
        self._interval = 1.0 / per_second
        self._next = 0.0

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._interval
        return super().send(request, *arguments, **options)


@dataclass(frozen=True)
class Query:
    """A search for materials: either by ids, or by conditions that must all hold.

    Ranges are (lowest, highest), both included.

    Attributes:
        ids: of materials, such as "mp-149".
        chemical_systems: one of these, such as "Cl-Na".
        formulas: one of these, such as "NaCl" or "ABO3".
        elements: contains all of these.
        exclude_elements: contains none of these.
        energy_above_hull: range, eV/atom.
        band_gap: range, eV.
        n_sites: range of the number of atoms in the cell.
        n_elements: range of the number of different elements.
        has: kinds of data that the material must have besides its density, such as "elasticity".
        limit: largest number of materials, in the order of their ids.
    """

    ids: tuple[str, ...] = ()
    chemical_systems: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    exclude_elements: tuple[str, ...] = ()
    energy_above_hull: tuple[float, float] | None = None
    band_gap: tuple[float, float] | None = None
    n_sites: tuple[int, int] | None = None
    n_elements: tuple[int, int] | None = None
    has: tuple[str, ...] = ()
    limit: int = 100

    @property
    def is_empty(self) -> bool:
        return self == Query(limit=self.limit)

    def criteria(self) -> dict[str, Any]:
        """Arguments of mp-api's search for the conditions that are set."""
        criteria = {
            "chemsys": list(self.chemical_systems),
            "formula": list(self.formulas),
            "elements": list(self.elements),
            "exclude_elements": list(self.exclude_elements),
            "energy_above_hull": self.energy_above_hull,
            "band_gap": self.band_gap,
            "num_sites": self.n_sites,
            "num_elements": self.n_elements,
        }
        return {name: value for name, value in criteria.items() if value}


class Connection:
    """A session with the service.

    Args:
        key: API key; it is sent to the service and is written nowhere.
        endpoint: address of the service, "" for mp-api's default (MP_API_ENDPOINT or the public service).
        per_second: requests per second, at most.

    Raises:
        ServiceError: the key has a wrong form, or the service does not answer.
    """

    def __init__(self, key: str, *, endpoint: str, per_second: float) -> None:
        self._key = key
        session = requests.Session()
        session.headers.update({"x-api-key": key, "user-agent": f"rhonet mp-api/{versions()['mp-api']}"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, RateLimitedAdapter(per_second))
        try:
            with self._service_errors():
                self._rester = MPRester(
                    key,
                    endpoint=endpoint or None,
                    session=session,
                    use_document_model=False,
                    mute_progress_bars=True,
                )
        except KeyError as error:
            raise ServiceError(f"{endpoint or 'the Materials Project'}: its heartbeat does not tell {error}") from None
        self._materials: Any = self._rester.materials
        self._bucket: Any = self._materials.tasks.s3_client

    def close(self) -> None:
        """Close all sockets."""
        self._rester.session.close()
        self._bucket.close()

    @property
    def endpoint(self) -> str:
        return self._rester.endpoint

    @property
    def db_version(self) -> str:
        return self._rester.db_version

    def search(self, query: Query) -> list[Material]:
        """Materials of a query with their labels and calculations, in the order of its ids, or sorted by id.

        Ids that the database does not have, or has deprecated, are left out.

        Raises:
            ServiceError: an invalid id, a refused key, or no answer.
        """
        with self._service_errors():
            summaries = self._summaries(query)
            thermo: dict[str, Mapping[str, Any]] = {}
            core: dict[str, Mapping[str, Any]] = {}
            for ids in _batches(list(summaries)):
                core |= _by_id(self._materials.search(material_ids=ids, fields=["material_id", "calc_types"]))
                documents = self._materials.thermo.search(
                    material_ids=ids, thermo_types=[THERMO_TYPE], fields=list(THERMO_FIELDS)
                )
                thermo |= _by_id(documents)
        return [
            read_material(name, summary, thermo.get(name, {}), core.get(name, {}).get("calc_types") or {})
            for name, summary in summaries.items()
        ]

    def density_size(self, task: Task) -> int | None:
        """Size in bytes of a calculation's density in the bucket, None if it has no density.

        Raises:
            ServiceError: the bucket does not answer.
        """
        with self._service_errors():
            try:
                return self._bucket.head_object(Bucket=BUCKET, Key=density_key(task))["ContentLength"]
            except ClientError as error:
                if error.response["Error"]["Code"] in ABSENT:
                    return None
                raise

    def dynamical_stability(self, material: Material) -> bool | None:
        """Whether the material's phonons show a stable crystal, None without phonons.

        Raises:
            ServiceError: the table of the phonons cannot be read.
        """
        for method, phonon in material.phonons:
            try:
                states = self._materials.phonon.get_dos_from_phonon_id(phonon, method)
            except MPRestError as error:
                if "No phonon dos data" in str(error):
                    continue
                raise ServiceError(_explain(error)) from None
            except (DeltaError, OSError) as error:
                raise ServiceError(_explain(error)) from None
            return is_dynamically_stable(states["frequencies"], states["densities"])
        return None

    def fetch_density(self, task: Task, path: Path) -> None:
        """Write the density of a calculation to a file, as the bucket has it (pymatgen's Chgcar as JSON, gzip).

        Raises:
            ServiceError: the bucket does not answer, or the transfer breaks off.
        """
        with self._service_errors():
            self._bucket.download_file(BUCKET, density_key(task), str(path))

    def _summaries(self, query: Query) -> dict[str, Mapping[str, Any]]:
        search = self._materials.summary.search
        if query.ids:
            wanted = canonical_ids(query.ids)
            summaries: dict[str, Mapping[str, Any]] = {}
            for ids in _batches(wanted):
                summaries |= _by_id(search(material_ids=ids, fields=list(SUMMARY_FIELDS)))
            return {name: summaries[name] for name in wanted if name in summaries}
        page = min(query.limit, MAX_PAGE)
        documents = search(
            **query.criteria(),
            has_props=["charge_density", *query.has],
            deprecated=False,
            fields=list(SUMMARY_FIELDS),
            chunk_size=page,
            num_chunks=ceil(query.limit / page),
            _sort_fields="material_id",
        )
        return _by_id(documents[: query.limit])

    @contextmanager
    def _service_errors(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise ServiceError(_explain(error).replace(self._key, "(key)")) from None


def canonical_ids(ids: Sequence[str]) -> list[str]:
    """Ids as the Materials Project writes them, without repetitions.

    Raises:
        ServiceError: one of them is invalid.
    """
    names = []
    for name in ids:
        try:
            names += validate_ids([name])
        except ValueError:
            raise ServiceError(f"{name!r} is no id of the Materials Project; they look like mp-149") from None
    return list(dict.fromkeys(names))


def density_key(task: Task) -> str:
    """Key of a calculation's density in the bucket, as the MPRester of mp-api 0.46 makes it."""
    (name,) = validate_ids([task.id])
    return KEY.format(AlphaID(name.split("-")[-1], prefix="mp").string)


def versions() -> dict[str, str]:
    """Versions of the software that a download depends on."""
    return {name: importlib.metadata.version(name) for name in ("mp-api", "emmet-core", "pymatgen-core")}


def _by_id(documents: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {canonical_ids([str(document["material_id"])])[0]: document for document in documents}


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), IDS_PER_REQUEST):
        yield list(ids[start : start + IDS_PER_REQUEST])


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split())
    status = re.search(r"status code (\d+)", text)
    code = int(status[1]) if status else 0
    if code in (401, 403):
        return (
            f"the Materials Project refused the key in MP_API_KEY (status {code}); "
            "take a valid one from https://next-gen.materialsproject.org/api"
        )
    if code == 429:
        return "the Materials Project asks for fewer requests (status 429); try again later, with a lower --rate"
    return f"the Materials Project does not give an answer that can be used: {text}"
