"""On which address and port the container's programs listen, as far as it can be told."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.lint.reading import code
from tools.lint.reading.code import UNKNOWN, Module
from tools.lint.reading.image import Step, word_after
from tools.lint.reading.shell import expand
from tools.lint.reading.submission import Submission


@dataclass(frozen=True)
class Listener:
    """A program that listens.

    Attributes:
        program: what it is, for the message.
        host: None when it cannot be told.
        port: None when it cannot be told.
        file: where that is decided.
        line: from 1.
    """

    program: str
    host: str | None
    port: int | None
    file: str
    line: int


# Program: its options for host and port, and what they are without (each program's --help).
_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, int]] = {
    "uvicorn": (("--host",), ("--port",), "127.0.0.1", 8000),
    "granian": (("--host",), ("--port",), "127.0.0.1", 8000),
    "daphne": (("-b", "--bind"), ("-p", "--port"), "127.0.0.1", 8000),
    "flask": (("--host", "-h"), ("--port", "-p"), "127.0.0.1", 5000),
    "fastapi": (("--host",), ("--port",), "0.0.0.0", 8000),
    "waitress-serve": (("--host",), ("--port",), "0.0.0.0", 8080),
    "vllm": (("--host",), ("--port",), "0.0.0.0", 8000),
    "llama-server": (("--host",), ("--port",), "127.0.0.1", 8080),
    "text-generation-launcher": (("--hostname",), ("--port", "-p"), "0.0.0.0", 3000),
    "streamlit": (("--server.address",), ("--server.port",), "0.0.0.0", 8501),
    "jupyter": (("--ip",), ("--port",), "localhost", 8888),
    "sanic": (("--host", "-H"), ("--port", "-p"), "127.0.0.1", 8000),
}
_MODULES = {
    "vllm.entrypoints.openai.api_server": "vllm",
    "vllm.entrypoints.api_server": "vllm",
    "http.server": "http.server",
    "llama_cpp.server": "llama-server",
}
_ENVIRONMENT = {
    "uvicorn": ("UVICORN_HOST", "UVICORN_PORT"),
    "flask": ("FLASK_RUN_HOST", "FLASK_RUN_PORT"),
    "granian": ("GRANIAN_HOST", "GRANIAN_PORT"),
    "text-generation-launcher": ("HOSTNAME", "PORT"),
    "llama-server": ("LLAMA_ARG_HOST", "LLAMA_ARG_PORT"),
}
# Python's calls: positions of host and port among the arguments, and the defaults.
# 99: given by keyword only.
_CALLS: dict[str, tuple[int, int, str, int]] = {
    "uvicorn.run": (99, 99, "127.0.0.1", 8000),
    "uvicorn.Config": (99, 99, "127.0.0.1", 8000),
    "web.run_app": (99, 99, "0.0.0.0", 8080),
    "waitress.serve": (99, 99, "0.0.0.0", 8080),
    "serve": (99, 99, "0.0.0.0", 8080),
}


def listeners(submission: Submission) -> list[Listener]:
    """Those of the start commands, then those of the code they run."""
    found = [one for step in submission.image.start for one in _of_step(step)]
    for module in submission.started:
        found += list(_of_module(module, submission))
    return found


def _of_step(step: Step) -> Iterator[Listener]:
    name, texts = step.command.name, step.texts()
    if code.PYTHON.fullmatch(name) and "-m" in texts[:-1]:
        module = texts[texts.index("-m") + 1]
        name = _MODULES.get(module, module)
    if name in ("gunicorn", "hypercorn"):
        yield from _bound(step, name)
    elif name == "http.server":
        port = next((int(t) for t in texts if t.isdigit()), 8000)
        bind = word_after(step, "--bind", "-b")
        yield Listener(name, bind.text if bind else "0.0.0.0", port, *_at(step))
    elif name in _COMMANDS:
        if name in ("flask", "jupyter", "vllm", "streamlit") and not {
            *("run serve lab notebook server".split()), "vllm.entrypoints.openai.api_server",
            "vllm.entrypoints.api_server",
        } & set(texts):  # fmt: skip
            return
        hosts, ports, host, port = _COMMANDS[name]
        if name == "fastapi" and "dev" in texts:
            host = "127.0.0.1"
        if word_after(step, "--uds", "--fd"):  # a socket without a port
            return
        names = _ENVIRONMENT.get(name, ("", ""))
        yield Listener(
            name,
            _text(word_after(step, *hosts), step, names[0], host),
            _number(word_after(step, *ports), step, names[1], port),
            step.command.file,
            _line(step, ports, hosts),
        )


def _at(step: Step) -> tuple[str, int]:
    return step.command.file, step.command.line


def _line(step: Step, *options: tuple[str, ...]) -> int:
    """The line of the option that decides, else of the command."""
    words = [word_after(step, *names) for names in options]
    return next((word.line for word in words if word), step.command.line)


def _text(word: Any, step: Step, variable: str, default: str) -> str | None:
    if word is None:
        return step.scope.get(variable) or default
    text = expand(word.text, step.scope)
    return None if "$" in text else text


def _number(word: Any, step: Step, variable: str, default: int) -> int | None:
    text = str(default) if word is None else expand(word.text, step.scope)
    if word is None:
        text = step.scope.get(variable) or text
    return int(text) if text.strip().isdigit() else None


def _bound(step: Step, name: str) -> Iterator[Listener]:
    """Gunicorn's and hypercorn's ``--bind HOST:PORT``."""
    word = word_after(step, "-b", "--bind", "--insecure-bind")
    if word is None:
        if word_after(step, "-c", "--config") or step.scope.get("GUNICORN_CMD_ARGS"):
            yield Listener(name, None, None, *_at(step))
            return
        # gunicorn's setting bind is 0.0.0.0:$PORT where that is set.
        port = step.scope.get("PORT") if name == "gunicorn" else None
        host = "0.0.0.0" if port else "127.0.0.1"
        yield Listener(name, host, int(port) if port and port.isdigit() else 8000, *_at(step))
        return
    text = expand(word.text, step.scope)
    found = re.fullmatch(r"(?:https?://)?(.*?):(\d+)", text)
    if text.startswith("unix:"):
        return
    if "$" in text:
        yield Listener(name, None, None, step.command.file, word.line)
    elif found:
        yield Listener(name, found[1] or "0.0.0.0", int(found[2]), step.command.file, word.line)
    else:
        yield Listener(name, text, 8000, step.command.file, word.line)


def _of_module(module: Module, submission: Submission) -> Iterator[Listener]:
    scope = {**submission.image.scope, **module.step.scope}
    packages = {name.partition(".")[0] for name, _, _ in code.imports(module)}
    for call in (node for node in module.live() if isinstance(node, ast.Call)):
        shape = _shape(call, module, packages)
        if shape is None:
            continue
        name, host_at, port_at, host, port = shape
        given_host = _argument(call, host_at, "host", "server_name", "hostname")
        given_port = _argument(call, port_at, "port", "server_port")
        if any(one.arg is None for one in call.keywords):  # **settings
            yield Listener(name, None, None, module.name, call.lineno)
            continue
        known_host = host if given_host is None else code.value(given_host, module, scope)
        known_port = port if given_port is None else code.value(given_port, module, scope)
        line = given_port.lineno if given_port is not None else call.lineno
        yield Listener(name, _host(known_host), _port(known_port), module.name, line)


def _host(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _port(value: Any) -> int | None:
    return int(value) if value is not UNKNOWN and str(value).strip().isdigit() else None


def _argument(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    return code.keyword(call, *names) or (call.args[place] if place < len(call.args) else None)


def _shape(
    call: ast.Call, module: Module, packages: set[str]
) -> tuple[str, int, int, str, int] | None:
    """What kind of listening call it is: name, places of host and port, defaults."""
    name = code.called(call)
    if name in _CALLS and (name != "serve" or "waitress" in packages):
        return (name, *_CALLS[name])
    if name.endswith((".run", ".launch")):
        owner = module.constants.get(name.partition(".")[0])
        maker = code.called(owner) if isinstance(owner, ast.Call) else ""
        if not maker:
            maker = _local_maker(module, name.rpartition(".")[0])
        for kind, shape in _OWNERS.items():
            if maker.rpartition(".")[2] == kind:
                return (name, *shape)
    last = name.rpartition(".")[2]
    if last in ("HTTPServer", "ThreadingHTTPServer", "WSGIServer", "TCPServer") and call.args:
        pair = call.args[0]
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
            # Their address is one pair: taken apart, it reads as the others' host and port.
            call.keywords = [
                *call.keywords,
                *(ast.keyword(arg=key, value=one)
                  for key, one in zip(("host", "port"), pair.elts, strict=True)
                  if not code.keyword(call, key)),
            ]  # fmt: skip
            return (name, 99, 99, "0.0.0.0", 0)
    return None


# What an object is made by, whose .run() listens: places of host and port, defaults.
_OWNERS: dict[str, tuple[int, int, str, int]] = {
    "Flask": (0, 1, "127.0.0.1", 5000),
    "LitServer": (99, 0, "0.0.0.0", 8000),
    "Quart": (0, 1, "127.0.0.1", 5000),
    "Sanic": (0, 1, "127.0.0.1", 8000),
    "Bottle": (99, 99, "127.0.0.1", 8080),
}


def _local_maker(module: Module, owner: str) -> str:
    """By what a name inside a function was made."""
    for node in module.live():
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if any(isinstance(t, ast.Name) and t.id == owner for t in node.targets):
            return code.called(node.value)
    return ""
