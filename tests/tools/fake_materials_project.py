"""A local server that answers mp-api 0.46 like the Materials Project: searches, heartbeat, bucket."""

from __future__ import annotations

import gzip
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow
from deltalake import write_deltalake
from pymatgen.core import Lattice, Structure

from rhonet.core.density import ChargeDensity

KEY = "0123456789abcdef0123456789abcdef"
BUCKET = "/materialsproject-parsed"
PHONONS = "phonon/electronic-structure/dos/"
STAMPS = {"ETag": '"0"', "Last-Modified": "Thu, 01 Oct 2026 00:00:00 GMT"}
RANGES = {"nsites", "energy_above_hull", "band_gap", "nelements"}
KNOWN = {
    "material_ids", "thermo_types", "elements", "exclude_elements", "chemsys", "formula", "has_props", "deprecated",
    "_fields", "_limit", "_skip", "_sort_fields",
    *(f"{name}_{end}" for name in RANGES for end in ("min", "max")),
}  # fmt: skip


@dataclass
class FakeService:
    """What the service holds, and what it was asked.

    documents: per collection ("summary", "core", "thermo"), the documents by material id.
    objects: content of the bucket by key.
    asked: path of every request, in order.
    failures: statuses (and the headers with them) that the next searches get instead of an answer.
    stall: key of an object of which only half is sent, then nothing; `stalled` is set then.
    broken: key of an object that breaks off after half of it, every time.
    """

    documents: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {"summary": {}, "core": {}, "thermo": {}}
    )
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    stall: str = ""
    broken: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    largest_page: int = 1000

    def add(self, name: str, density: ChargeDensity | None, **summary: Any) -> None:
        """A material with one static calculation, named task-like (mp-1 has mp-1001), and its density, if any."""
        task = f"mp-{1000 + int(name.removeprefix('mp-'))}"
        volume = density.volume if density is not None else 40.0
        about = {"formula_pretty": "NaCl", "chemsys": "Cl-Na", "elements": ["Cl", "Na"], "nsites": 2, "volume": volume}
        about |= {"symmetry": {"symbol": "Fm-3m", "number": 225}, "density": 2.1, "has_props": {"charge_density": True}}
        self.documents["summary"][name] = {"material_id": name, **about, **summary}
        self.documents["core"][name] = {
            "material_id": name,
            "calc_types": {task: "GGA Static", "mp-9": "GGA NSCF Line"},
        }
        if density is not None:
            self.objects[f"chgcars/{task}.json.gz"] = delivered(density, task)

    def add_phonons(self, densities: Mapping[str, tuple[list[float], list[float]]]) -> None:
        """Phonon densities of states by phonon id: frequencies (THz) and states; a Delta table in the bucket."""
        states = [{"frequencies": grid, "densities": values} for grid, values in densities.values()]
        table = pyarrow.table({"identifier": list(densities), "phonon_method": ["dfpt"] * len(states), "dos": states})
        with tempfile.TemporaryDirectory() as folder:
            write_deltalake(folder, table)
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            self.objects |= {PHONONS + str(path.relative_to(folder)): path.read_bytes() for path in files}

    def fetched(self) -> list[str]:
        """Keys of the objects that were asked for with GET, in order."""
        return [path.removeprefix(f"GET {BUCKET}/") for path in self.asked if path.startswith(f"GET {BUCKET}/")]


def delivered(density: ChargeDensity, task: str) -> bytes:
    """A density as the bucket holds it: pymatgen's Chgcar as JSON within the task's record, gzip."""
    assert density.atoms is not None
    structure = Structure(
        Lattice(density.lattice), density.atoms.get_chemical_symbols(), density.atoms.get_scaled_positions()
    )
    fields = {"total": density.values, "diff": density.magnetization}
    chgcar = {
        "@module": "pymatgen.io.vasp.outputs",
        "@class": "Chgcar",
        "@version": None,
        "poscar": {
            "@module": "pymatgen.io.vasp.inputs",
            "@class": "Poscar",
            "structure": structure.as_dict(),
            "comment": "fake",
        },
        "data": {name: _array(values * density.volume) for name, values in fields.items() if values is not None},
        "data_aug": {},
    }
    record = {"fs_id": "0", "maggma_store_type": "S3Store", "compression": "zlib", "data": chgcar, "task_id": task}
    return gzip.compress(json.dumps(record).encode(), mtime=0)


@contextmanager
def serve(service: FakeService) -> Iterator[FakeService]:
    """The service on a free port, its address in `service.address`."""

    class Handler(_Handler):
        state = service

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeService
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        address = urlsplit(self.path)
        self.state.asked.append(f"{method} {address.path}")
        if address.path == "/heartbeat":
            self._send_json(
                200, {"db_version": "2026.10.1", "version": "0.87.3", "access_controlled_batch_ids": ["gnome"]}
            )
        elif address.path == BUCKET:
            self._list_objects(dict(parse_qsl(address.query))["prefix"])
        elif address.path.startswith(BUCKET):
            self._send_object(address.path.removeprefix(f"{BUCKET}/"), with_body=method == "GET")
        else:
            self._search(address.path.strip("/").removeprefix("materials/"), dict(parse_qsl(address.query)))

    def _search(self, collection: str, wanted: Mapping[str, str]) -> None:
        if self.state.failures:
            status, headers = self.state.failures.pop(0)
            self._send_json(status, {"detail": "come back later"}, headers)
        elif self.headers.get("x-api-key") != KEY:
            self._send_json(401, {"message": f"Unauthorized: {self.headers.get('x-api-key')}"})
        elif collection not in self.state.documents or set(wanted) - KNOWN:
            self._send_json(400, {"detail": f"{collection}: {sorted(set(wanted) - KNOWN)}"})
        else:
            matching = [one for one in self.state.documents[collection].values() if _fits(one, wanted)]
            if wanted.get("_sort_fields"):
                matching.sort(key=lambda one: one[wanted["_sort_fields"]])
            skip, limit = int(wanted.get("_skip", 0)), min(int(wanted["_limit"]), self.state.largest_page)
            fields = wanted["_fields"].split(",")
            page = [{name: one[name] for name in fields if name in one} for one in matching[skip : skip + limit]]
            self._send_json(200, {"data": page, "meta": {"total_doc": len(matching)}})

    def _send_object(self, key: str, *, with_body: bool) -> None:
        content = self.state.objects.get(key)
        if content is None or "Authorization" in self.headers:
            self._send(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", {}, with_body=with_body)
        elif with_body and key in (self.state.stall, self.state.broken):
            self._start(200, len(content), STAMPS)
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if key == self.state.stall:
                self.state.stalled.set()
            while self.state.stall == key:
                time.sleep(0.01)
            self.close_connection = True
        elif wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            start = int(first) if first else len(content) - int(last)
            part = content[start : int(last) + 1 if first and last else None]
            place = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}
            self._send(206, part, {**STAMPS, **place}, with_body=with_body)
        else:
            self._send(200, content, STAMPS, with_body=with_body)

    def _list_objects(self, prefix: str) -> None:
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-10-01T00:00:00.000Z</LastModified><ETag>0</ETag>"
            f"<Size>{len(content)}</Size></Contents>"
            for key, content in sorted(self.state.objects.items())
            if key.startswith(prefix)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        self._send(200, text.encode(), {"Content-Type": "application/xml"})

    def _send_json(self, status: int, tree: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(tree).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], *, with_body: bool = True) -> None:
        self._start(status, len(body), headers)
        if with_body:
            self.wfile.write(body)

    def _start(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _array(values: np.ndarray) -> dict[str, Any]:
    return {"@module": "numpy", "@class": "array", "dtype": "float64", "data": values.tolist()}


def _fits(document: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Does a document fulfil the conditions that mp-api sent?"""
    ids = wanted.get("material_ids")
    if ids and document["material_id"] not in ids.split(","):
        return False
    if not set(filter(None, wanted.get("elements", "").split(","))) <= set(document.get("elements", ())):
        return False
    has = document.get("has_props", {})
    if not all(has.get(name) for name in filter(None, wanted.get("has_props", "").split(","))):
        return False
    return all(
        float(wanted.get(f"{name}_min", "-inf")) <= document[name] <= float(wanted.get(f"{name}_max", "inf"))
        for name in RANGES
        if name in document
    )
