"""What is checked before any process starts, so that a mistake costs seconds and reads plainly."""

import dataclasses
import difflib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from serve import limits, rules
from serve.config import ServeConfig
from serve.engine.base import Engine
from serve.text import TextCodec

#: Files of which a tokenizer is read, see ``serve.text.TextCodec.load``.
TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab.json")


class StartError(Exception):
    """The server cannot start; ``faults`` says why and what to do, one line each."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


def load_config(path: Path | None, overrides: dict[str, Any]) -> ServeConfig:
    """Reads a JSON file of :class:`ServeConfig` fields and lays the command line over it.

    Args:
        path: the file; None takes the defaults.
        overrides: values by field name, those that are None are not set.

    Raises:
        StartError: not readable, not JSON, unknown fields or wrong values; all of them at once.
    """
    values = _read_object(path) if path else {}
    values |= {name: value for name, value in overrides.items() if value is not None}
    where = str(path) if path else "command line"
    faults = [f"{where}: {fault}" for fault in _unknown_keys(values, ServeConfig, "")]
    try:
        config = TypeAdapter(ServeConfig).validate_python(values)  # unknown keys are ignored here
    except ValidationError as error:
        raise StartError(*faults, *(_wrong_value(where, e) for e in error.errors())) from None
    found = [
        *limits.faults(config),
        *_adapter_faults(config.adapters),
        *rules.faults(config.rules, config.adapters),
    ]
    faults += [f"{where}: {key}: {text}" for key, text in found]
    if faults:
        raise StartError(*faults)
    return config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise StartError(f"{path}: is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise StartError(f"{path}: must hold one JSON object of serve settings")
    return values


def _unknown_keys(values: Any, kind: Any, prefix: str) -> Iterator[str]:
    """What a dataclass does not know, also deeper down and in a dict of dataclasses.

    Args:
        values: what the file has at this place; of a wrong type, it is reported elsewhere.
        kind: type that belongs there.
        prefix: key of the place with a dot at its end.
    """
    if not isinstance(values, dict):
        return
    if get_origin(kind) is dict:
        kinds = dict.fromkeys(values, get_args(kind)[1])
    elif dataclasses.is_dataclass(kind):
        kinds = {field.name: field.type for field in dataclasses.fields(kind)}
    else:
        return
    for name, value in values.items():
        if name in kinds:
            yield from _unknown_keys(value, kinds[name], f"{prefix}{name}.")
        else:
            yield _unknown_key(prefix, str(name), list(kinds))


def _unknown_key(prefix: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{prefix}{near[0]}'?" if near else f"valid settings: {', '.join(known)}"
    return f"unknown setting '{prefix}{name}'; {hint}"


def _wrong_value(where: str, error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    return f"{where}: {name} = {error['input']!r}: {error['msg'].lower()}"


def _adapter_faults(adapters: dict[str, str]) -> list[tuple[str, str]]:
    """Adapter folders that are none."""
    remedy = "give a folder that peft has saved an adapter in"
    return [
        (f"adapters.{name}", f"{folder} has no adapter_config.json; {remedy}")
        for name, folder in adapters.items()
        if not (Path(folder) / "adapter_config.json").is_file()
    ]


def check_model_dir(model_dir: Path) -> None:
    """Checks that a folder looks like a self-contained model.

    Raises:
        StartError: it is not there, or files are missing; all of them are named.
    """
    if not model_dir.is_dir():
        raise StartError(f"{model_dir}: no such folder; give the folder that holds config.json")
    faults = []
    if not (model_dir / "config.json").is_file():
        remedy = "save the model with model.save_pretrained(folder)"
        faults.append(f"{model_dir}: has no config.json; {remedy}")
    if not any(any(model_dir.glob(name)) for name in TOKENIZER_FILES):
        remedy = "save a fast tokenizer with tokenizer.save_pretrained(folder)"
        faults.append(f"{model_dir}: has no tokenizer.json; {remedy}")
    if not any(model_dir.glob("*.safetensors")):
        faults.append(f"{model_dir}: has no *.safetensors file; merge or quantize the model first")
    if faults:
        raise StartError(*faults)


def load_text(model_dir: Path) -> TextCodec:
    """Reads the folder's tokenizer.

    Raises:
        StartError: its files cannot be read as a tokenizer.
    """
    try:
        return TextCodec.load(model_dir)
    except Exception as error:  # tokenizers raises bare Exception
        raise StartError(
            f"{model_dir}: its tokenizer cannot be read ({error}); write it again with"
            " tokenizer.save_pretrained(folder)"
        ) from None


def check_device(config: ServeConfig, device: str) -> None:
    """Checks that the device computes what is configured.

    Raises:
        StartError: it does not; all of it is named.
    """
    faults = limits.of_device(config, device.split(":")[0])
    if faults:
        raise StartError(*(f"serve.{key}: {text}" for key, text in faults))


def check_port(host: str, port: int) -> None:
    """Checks that nobody listens on the address yet.

    Raises:
        StartError: it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn binds
        try:
            probe.bind((host, port))
            probe.listen()  # with SO_REUSEADDR two sockets may be bound, but one may listen
        except OSError as error:
            raise StartError(
                f"{host} port {port} cannot be used: {error.strerror}; stop the other program or"
                " choose another one with --port"
            ) from None


def announce(config: ServeConfig, engine: Engine) -> None:
    """Says on stdout that requests are answered, once the HTTP port is open."""
    # All interfaces are no address that one connects to.
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    while True:
        try:
            socket.create_connection((address, config.port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    url = f"http://{f'[{address}]' if ':' in address else address}:{config.port}"
    body = '{"prompt": "The capital of France is ", "max_new_tokens": 8}'
    print(
        f"ready: {engine.info.name} on {engine.info.device} at {url}"
        f"  try: curl {url}/process -H 'Content-Type: application/json' -d '{body}'",
        flush=True,
    )
