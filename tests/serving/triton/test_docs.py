"""The examples of docs/serving.md run unchanged, and the compose files are valid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.crystals import REPOSITORY, run_code, smooth_density
from tests.serving.triton.handmade import expected
from tests.synthetic import chgcar_text

pytest_plugins = ("tests.serving.triton.servers",)

PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
COMPOSE = REPOSITORY / "docs" / "compose"


def block(language: str, start: str) -> str:
    """The only code block of the page in that language that begins with `start`."""
    (text,) = (code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if code.startswith(start))
    return text


@pytest.mark.server
def test_curl_example_works(server):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    text = block("bash", "curl").replace("127.0.0.1:8000", server.http)
    done = subprocess.run(
        ["bash", "-c", f"curl --silent --show-error {text.removeprefix('curl')}"], capture_output=True
    )
    outputs = {item["name"]: item["data"] for item in json.loads(done.stdout)["outputs"]}
    density = np.array([0.5, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.1])
    values = expected(density.reshape(2, 2, 2), np.zeros((0, 0, 0)), 3 * np.eye(3))
    assert set(outputs) == set(values)
    for name, value in values.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.server
def test_python_example_works(server, tmp_path):
    file = tmp_path / "CHGCAR"
    file.write_text(chgcar_text(smooth_density(3, spin=True)))
    code = block("python", "import numpy").replace("127.0.0.1:8001", server.grpc).replace('"CHGCAR"', repr(str(file)))
    done = run_code(code)
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} >= {"bulk_modulus", "phase", "novelty"}


@pytest.mark.parametrize("path", sorted(COMPOSE.glob("*.yml")), ids=lambda path: path.name)
def test_compose_file_mounts_read_only_and_listens_on_this_machine(path: Path):
    (service,) = yaml.safe_load(path.read_text(encoding="utf-8"))["services"].values()
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"])
    assert not service["image"].endswith(":latest")
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert path.name in PAGE


def test_metrics_are_served_by_the_container():
    (service,) = yaml.safe_load((COMPOSE / "triton.yml").read_text(encoding="utf-8"))["services"].values()
    assert any(port.endswith(":8002") for port in service["ports"])
