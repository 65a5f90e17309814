"""Client of a Triton server: predictions of a rhonet model, and the card that the server holds of it."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import PackageError, RefusedError, ServerError
from rhonet.serving.answer import Answer, answer_of, inputs_of
from rhonet.serving.model_card import Card, parse_card
from rhonet.serving.triton.config import DENSITY_MODEL

PORTS = {"grpc": 8001, "grpcs": 8001, "http": 8000, "https": 8000}
TIMEOUT_SECONDS = 120.0
# Status of a bad request over gRPC and HTTP.
_REFUSED = ("StatusCode.INVALID_ARGUMENT", "400")
# Over gRPC this message comes with the same status as an unreachable server, so the text must tell them apart.
_QUEUE_IS_FULL = "Exceeds maximum queue size"


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        scheme: grpc, grpcs, http or https.
        host: name or address; IPv6 in brackets.
        port: of that protocol.
    """

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port: "localhost:8001"."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


def address_argument(text: str) -> Address:
    """Address from "grpc://host:port" or "http://host:port"; ports 8001 and 8000 may be left out.

    Raises:
        argparse.ArgumentTypeError: the text is no such address; the message shows the form.
    """
    form = "grpc://HOST:8001 or http://HOST:8000"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address of a server: {error}; the form is {form}") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise argparse.ArgumentTypeError(f"{text!r} is no address of a server; the form is {form}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(parts.scheme, host, port or PORTS[parts.scheme])


def seconds_argument(text: str) -> float:
    """Number of seconds from an option's text.

    Raises:
        argparse.ArgumentTypeError: the text is no number above 0.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


class ServerPredictor:
    """A model on a server that predicts densities one by one.

    Args:
        address: of the server.
        model: name of the model on the server.
        timeout_seconds: to wait for one response.

    Attributes:
        card: the part of the model card that the server holds: properties, units, calibration.

    Raises:
        PackageError: tritonclient is not installed.
        ServerError: the server does not respond, or has no rhonet model of this name.
    """

    def __init__(
        self, address: Address, *, model: str = DENSITY_MODEL, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._address, self._model, self._seconds = address, model, timeout_seconds
        self._client = _connect(address, timeout_seconds)
        try:
            config = self._config()
        except RefusedError as error:
            raise ServerError(f"{address}: {error}; is its model repository an export of rhonet?") from error
        text = config.get("parameters", {}).get("card", {}).get("string_value")
        if text is None:
            raise ServerError(f"{address}: model {model} was not exported by rhonet (its configuration has no card)")
        self.card: Card = parse_card(f"{address}: model {model}", lambda: json.loads(text))
        self._outputs = [item["name"] for item in config["output"]]

    def predict(self, density: ChargeDensity) -> Answer:
        """Properties of a density, with intervals and novelty if the model is calibrated.

        Raises:
            RefusedError: the server refuses this density.
            ServerError: the server does not respond, or its outputs do not match the card.
        """
        outputs = self.infer(inputs_of(density))
        try:
            return answer_of(outputs, self.card.properties)
        except (KeyError, ValueError) as error:
            raise ServerError(
                f"{self._address}: model {self._model} does not answer as its card says: {error}; export it again"
            ) from error

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the model by name, float32.

        Args:
            inputs: arrays by name; they are sent as float32.

        Raises:
            RefusedError: the server refuses these inputs.
            ServerError: the server does not respond.
        """
        module = _module(self._address)
        tensors = []
        for name, array in inputs.items():
            tensor = module.InferInput(name, list(array.shape), "FP32")
            tensor.set_data_from_numpy(np.ascontiguousarray(array, np.float32))
            tensors.append(tensor)
        options = {"client_timeout": self._seconds} if self._address.scheme.startswith("grpc") else {}
        result = self._ask(lambda: self._client.infer(self._model, tensors, **options))
        return {name: result.as_numpy(name) for name in self._outputs}

    def _config(self) -> dict[str, Any]:
        if self._address.scheme.startswith("grpc"):
            options = {"as_json": True, "client_timeout": self._seconds}
            return self._ask(lambda: self._client.get_model_config(self._model, **options))["config"]
        return self._ask(lambda: self._client.get_model_config(self._model))

    def _ask(self, request: Callable[[], Any]) -> Any:
        """Result of a request; RefusedError blames the request, ServerError the server or the network."""
        from tritonclient.utils import InferenceServerException

        try:
            return request()
        except InferenceServerException as error:
            status, message = str(error.status()), str(error.message()).strip()
            if status in _REFUSED or status in ("StatusCode.NOT_FOUND", "404"):
                raise RefusedError(message) from error
            if status in ("StatusCode.DEADLINE_EXCEEDED", "499"):
                raise ServerError(f"{self._address}: no answer within {self._seconds:g} s") from error
            if _QUEUE_IS_FULL in message:
                raise ServerError(f"{self._address}: is busy, its queue is full; ask again later") from error
            if status == "StatusCode.UNAVAILABLE":
                raise self._unreachable(message) from error
            raise ServerError(f"{self._address}: {message or status}") from error
        except TimeoutError as error:
            raise ServerError(f"{self._address}: no answer within {self._seconds:g} s") from error
        except (OSError, EOFError) as error:
            raise self._unreachable(getattr(error, "strerror", None) or error) from error

    def _unreachable(self, reason: object) -> ServerError:
        return ServerError(f"{self._address}: cannot be reached: {reason}; is the server running?")


def _module(address: Address) -> Any:
    """tritonclient.grpc or tritonclient.http, which have the same classes."""
    return importlib.import_module(f"tritonclient.{address.scheme.removesuffix('s')}")


def _connect(address: Address, seconds: float) -> Any:
    secure = address.scheme.endswith("s")
    try:
        module = _module(address)
    except ImportError as error:
        raise PackageError(
            f"asking a server needs tritonclient: pip install 'tritonclient[grpc,http]' ({error})"
        ) from error
    if address.scheme.startswith("grpc"):
        # On clusters with a proxy, gRPC would use the proxy even for this machine.
        is_local = address.host in ("localhost", "127.0.0.1", "::1")
        return module.InferenceServerClient(
            address.netloc, ssl=secure, channel_args=[("grpc.enable_http_proxy", 0)] if is_local else None
        )
    return module.InferenceServerClient(address.netloc, ssl=secure, connection_timeout=seconds, network_timeout=seconds)
