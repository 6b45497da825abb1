"""What is checked before any process starts, so that a mistake costs seconds and reads plainly."""

import dataclasses
import difflib
import json
import socket
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve.config import ServeConfig
from serve.text import TextCodec


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
    known = [field.name for field in dataclasses.fields(ServeConfig)]
    faults = [_unknown_field(where, name, known) for name in values if name not in known]
    try:
        config = TypeAdapter(ServeConfig).validate_python(
            {name: value for name, value in values.items() if name in known}
        )
    except ValidationError as error:
        raise StartError(*faults, *(_wrong_value(where, e) for e in error.errors())) from None
    faults += _out_of_range(where, config)
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


def _unknown_field(where: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"valid settings: {', '.join(known)}"
    return f"{where}: unknown setting '{name}'; {hint}"


def _wrong_value(where: str, error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    return f"{where}: {name} = {error['input']!r}: {error['msg'].lower()}"


def _out_of_range(where: str, config: ServeConfig) -> list[str]:
    """Faults that the types do not show."""
    rules = [
        (1024 <= config.port <= 65535, f"port = {config.port}: must be 1024 to 65535"),
        (config.context >= 2, f"context = {config.context}: must be at least 2 tokens"),
        (config.deadline_s > 0, f"deadline_s = {config.deadline_s}: must be more than 0 seconds"),
        (config.threads >= 0, f"threads = {config.threads}: must be 0 (automatic) or more"),
    ]
    return [f"{where}: {message}" for holds, message in rules if not holds]


def check_model_dir(model_dir: Path) -> None:
    """Checks that a folder looks like a self-contained model.

    Raises:
        StartError: it is not there, or files are missing; all of them are named.
    """
    if not model_dir.is_dir():
        raise StartError(f"{model_dir}: no such folder; give the folder that holds config.json")
    remedy = {
        "config.json": "save the model with model.save_pretrained(folder)",
        "tokenizer.json": "save a fast tokenizer with tokenizer.save_pretrained(folder)",
    }
    faults = [
        f"{model_dir}: has no {name}; {cure}"
        for name, cure in remedy.items()
        if not (model_dir / name).is_file()
    ]
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
            probe.listen()
        except OSError as error:
            raise StartError(
                f"{host} port {port} cannot be used: {error.strerror}; stop the other program or"
                " choose another one with --port"
            ) from None
