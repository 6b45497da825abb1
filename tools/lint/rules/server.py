"""Rules on serving: port 80 on every address, the three routes, ready in twenty minutes."""

import ast
import contextlib
import re
from collections.abc import Iterator

from tools.lint.catalogue import Severity
from tools.lint.finding import Finding, finding
from tools.lint.reading import code
from tools.lint.reading.dockerfile import pairs
from tools.lint.reading.folder import without_remarks
from tools.lint.reading.image import Step, word_after
from tools.lint.reading.shell import expand
from tools.lint.reading.submission import Submission
from tools.lint.rules.instructions import PLAIN
from tools.lint.rules.listeners import Listener, listeners

_LOCAL = {"127.0.0.1", "localhost", "::1", "[::1]"}
# Not the port of import, export, report, support; not the end of a slice, [:80].
_EIGHTY = re.compile(
    r"(?i)(?:(?<!im)(?<!ex)(?<!re)(?<!sup)port|listen|bind|expose)[^\d\n]{0,24}\b80\b(?![.\d])"
    r"|(?<!\[):80\b(?!\])"
)
_SERVING = re.compile(
    r"(?i)uvicorn|gunicorn|hypercorn|granian|daphne|flask|fastapi|litserve|waitress|http\.server|"
    r"httpserver|aiohttp|tornado|sanic|starlette|bottle|cherrypy|vllm|text-generation|tritonserver|"
    r"llama[-_]server|nginx|caddy|haproxy|socat|\bserve\b|server|bentoml|socketserver|wsgi|asgi|node\b|"
    r"torchserve|lmdeploy|sglang|mlc|ollama|gradio|quart|falcon|robyn|blacksheep|grpc"
)
_FRAMEWORK = re.compile(
    r"\b(?:from|import)\s+(?:fastapi|flask|litserve|starlette|aiohttp|sanic|quart|bottle|tornado|http\.server)\b"
)
_RUNS = re.compile(
    r"\.run\(|\bserve\w*\(|run_app|start_server|Popen|subprocess|os\.(?:system|exec)|Server\(|cli\("
    r"|\bmain\(|launch\("
)
_SHELLS = re.compile(r"(?:ba|da|z|k|a)?sh")
_SETS = (ast.Assign, ast.AnnAssign, ast.Call, ast.Dict, ast.arguments)
_PLAIN = {
    *("bash sh echo ls cat sleep true exit set cd export mkdir tail wait test [".split()),
    "",
}
# Servers with routes of their own, none of which is /process.
_READY = {"vllm", "text-generation-launcher", "llama-server", "http.server", "streamlit", "jupyter"}
# What registers a route, and the method it then answers where it is given none.
_ROUTERS = {
    **dict.fromkeys(
        ("get", "route", "api_route", "add_api_route", "add_url_rule", "add_get"), "GET"
    ),
    **dict.fromkeys(("post", "add_post"), "POST"),
}
_READY_BASE = re.compile(r"vllm/vllm-openai|huggingface/text-generation-inference|/llama\.cpp")


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on serving."""
    found = listeners(submission)
    yield from _ports(found, submission)
    yield from _exposed(submission, found)
    yield from _starts(submission, found)
    for step in submission.image.start:
        yield from _workers(step)
        yield from _training(step)
    yield from _behind(submission)
    yield from _devices(submission)
    yield from _ready_made(submission, found)
    yield from _routes(submission)


def _ports(found: list[Listener], submission: Submission) -> Iterator[Finding]:
    eighty = [one for one in found if one.port == 80]
    known = [one for one in found if one.port is not None]
    if not eighty and known and len(known) == len(found) and not _mentioned(submission):
        for one in known:
            said = f"{one.program} listens on port {one.port}"
            yield finding("wrong-port", one.file, one.line, said)
    reached = [one for one in eighty if one.host not in _LOCAL]
    for one in eighty if not reached else []:
        said = f"{one.program} listens on {one.host} only"
        yield finding("local-only", one.file, one.line, said)
    if not eighty and known and not _mentioned(submission):
        for one in known:
            if one.host in _LOCAL:
                said = f"{one.program} listens on {one.host} only"
                yield finding("local-only", one.file, one.line, said)


def _mentioned(submission: Submission) -> bool:
    """Whether something of the start speaks of port 80: a proxy, a setting that is not followed."""
    texts = [" ".join(step.texts()) for step in submission.image.start]
    texts += ["\n".join(_settings(module, submission)) for module in submission.started]
    files = {step.command.file for step in submission.image.start} - {"Dockerfile"}
    texts += [submission.folder.text(name) or "" for name in files]
    texts += [
        submission.folder.text(name) or ""
        for name in submission.image.files.values()
        if re.search(r"(?i)nginx|caddy|haproxy|supervisor|gunicorn|\.conf$|\.ya?ml$|\.toml$", name)
    ]
    return any(
        _EIGHTY.search(re.sub(r"(?m)#.*$", "", text)) or re.search(r"-LISTEN:80\b", text)
        for text in texts
    )


def _settings(module: code.Module, submission: Submission) -> Iterator[str]:
    """What in a module may set a port: texts that are values, names, arguments; no slices."""
    if module.tree is None:
        yield submission.folder.text(module.name) or ""
        return
    yield from (str(node.value) for node in code.strings(module))
    for node in module.live():
        said = isinstance(node, ast.Call) and code.called(node).endswith(("print", "log", "info"))
        if isinstance(node, _SETS) and not said:
            with contextlib.suppress(RecursionError):  # an expression nested by a machine
                yield ast.unparse(node)


def _exposed(submission: Submission, found: list[Listener]) -> Iterator[Finding]:
    """EXPOSE of other ports only."""
    ports, last = [], None
    for level in submission.dockerfile.stages[-1].lineage():
        for one in level.instructions:
            if one.name == "EXPOSE":
                ports += [expand(word.text, one.scope).partition("/")[0] for word in one.words]
                last = one
    if last and "80" not in ports and not any("$" in port or "-" in port for port in ports):
        said = f"EXPOSE {' '.join(ports)} without 80"
        listening = any(one.port == 80 for one in found) or _mentioned(submission)
        severity: Severity | None = None if listening or found else "error"
        yield finding("wrong-expose", "Dockerfile", last.line, said, severity)


def _starts(submission: Submission, found: list[Listener]) -> Iterator[Finding]:
    """A start that was followed to its end and has no server in it."""
    if found or not submission.image.start or not submission.image.starters:
        return
    texts = [" ".join(step.texts()) for step in submission.image.start]
    texts += [submission.folder.text(module.name) or "" for module in submission.started]
    if not _followed(submission) or (
        any(_SERVING.search(text) for text in texts) and not _only_defined(submission)
    ):
        return
    one = submission.image.starters[-1]
    said = f"{one.name} {' '.join(w.text for w in one.words)[:60]} starts no server"
    yield finding("no-server", "Dockerfile", one.line, said)


def _only_defined(submission: Submission) -> bool:
    """Whether a Python program makes an application and never runs it."""
    commands = [step.command for step in submission.image.start if step.command.words]
    if not all(code.PYTHON.fullmatch(one.name) for one in commands):
        return False
    texts = [submission.folder.text(one.name) or "" for one in submission.started]
    makes = any(re.search(r"=\s*(?:\w+\.)?(?:FastAPI|Flask)\(", text) for text in texts)
    return makes and not any(_RUNS.search(text) for text in texts)


def _followed(submission: Submission) -> bool:
    """Whether every program of the start is known: a script of the folder, or a plain tool."""
    opened = {step.command.file for step in submission.image.start} - {"Dockerfile"}
    for step in submission.image.start:
        name = step.command.name
        if code.PYTHON.fullmatch(name) or name in ("accelerate", "torchrun", "deepspeed"):
            places = code.entries(step)
            ran = [place for place, _ in places if place in submission.image.files]
            if len(step.command.words) > 1 and not ran:
                return False
        elif _SHELLS.fullmatch(name):
            given = [word for word in step.command.words[1:] if not word.text.startswith("-")]
            if given and not opened and "\n" not in given[0].text and "-c" not in step.texts():
                return False
        elif name not in _PLAIN:
            return False
    return True


def _workers(step: Step) -> Iterator[Finding]:
    """More than one process, each with a model of its own."""
    texts = step.texts()
    if not {"uvicorn", "gunicorn", "hypercorn", "fastapi"} & {t.rpartition("/")[2] for t in texts}:
        return
    word = word_after(step, "--workers", "-w")
    if word and word.text.isdigit() and int(word.text) > 1:
        said = f"{word.text} workers, each with the whole model"
        yield finding("several-workers", step.command.file, word.line, said)


def _training(step: Step) -> Iterator[Finding]:
    """Training before the server, in the same start."""
    if word := code.training(step):
        said = f"the start runs {word.text}"
        yield finding("training-at-start", step.command.file, word.line, said)


def _behind(submission: Submission) -> Iterator[Finding]:
    """A start whose last command is put behind with &: the container ends with it."""
    one = submission.image.starters[0] if submission.image.starters else None
    if one is None:
        return
    text = one.body if not one.json else next((w.text for w in one.words if " " in w.text), "")
    if re.search(r"[^&]&\s*$", text):
        yield finding("ends-at-once", "Dockerfile", one.line, f"{one.name} ends with &")
    for name in {step.command.file for step in submission.image.start} - {"Dockerfile"}:
        lines = [
            (number, line)
            for number, line in without_remarks(submission.folder.text(name) or "")
            if not re.match(r"\s*(?:echo|done|fi)\b", line)
        ]
        if lines and re.search(r"[^&]&$", lines[-1][1]) and not _last_waits(submission, name):
            yield finding("ends-at-once", name, lines[-1][0], "the script ends with &")


def _last_waits(submission: Submission, name: str) -> bool:
    """Whether what called the script goes on after it."""
    files = [step.command.file for step in submission.image.start if step.command.words]
    return bool(files) and files[-1] != name


def _devices(submission: Submission) -> Iterator[Finding]:
    """Other GPUs than number 0, and more than one."""
    for stage in submission.dockerfile.stages[-1].lineage():
        for one in stage.instructions:
            for key, word in pairs(one) if one.name == "ENV" else []:
                if key == "CUDA_VISIBLE_DEVICES" and re.match(r"[1-9]", word.text):
                    said = f"CUDA_VISIBLE_DEVICES={word.text}"
                    yield finding("wrong-device", "Dockerfile", word.line, said)
    for step in submission.image.start:
        asked = word_after(step, "--tensor-parallel-size", "-tp", "--num-shard", "--tp-size")
        if asked and re.fullmatch(r"[2-9]|\d\d", asked.text):
            said = f"{asked.text} GPUs are asked for"
            yield finding("wrong-device", step.command.file, asked.line, said)
    for module in submission.started:
        for node in code.strings(module):
            if re.fullmatch(r"cuda:[1-9]\d*", str(node.value)):
                yield finding("wrong-device", module.name, node.lineno, f"the GPU {node.value!s}")


def _ready_made(submission: Submission, found: list[Listener]) -> Iterator[Finding]:
    """Nothing but servers that are known to have no /process, as their makers built them."""
    steps = [one for one in submission.image.start if one.command.name not in _PLAIN]
    started = [one for one in submission.started if one.step.command.name != "streamlit"]
    others = started or len(steps) > len(found) or {one.program for one in found} - _READY
    if found and not others and not _own_routes(submission):
        said = f"{found[0].program} has no route /process"
        yield finding("no-process-route", found[0].file, found[0].line, said)


def _own_routes(submission: Submission) -> bool:
    """Whether the image may hold a changed server: of an unknown base, from git, patched."""
    image = submission.dockerfile.stages[-1].image
    texts = [" ".join(step.texts()) for step in submission.steps()]
    texts += [submission.folder.text(name) or "" for name in set(submission.image.files.values())]
    known = PLAIN.match(image) or _READY_BASE.search(image)
    changed = re.compile(r"[\"'/]process\b|\bgit\b|\bpatch\b|--middleware|--api-prefix")
    return not known or any(changed.search(text) for text in texts)


def _routes(submission: Submission) -> Iterator[Finding]:
    """The three routes, in the code that the container runs."""
    texts = {m.name: submission.folder.text(m.name) or "" for m in submission.started if m.place}
    serving = [name for name, text in texts.items() if _FRAMEWORK.search(text)]
    if not serving:
        return
    everything = "\n".join(
        submission.folder.text(name) or "" for name in set(submission.image.files.values())
        if not name.endswith((".md", ".ipynb", ".json"))
    )  # fmt: skip
    file = next(
        (n for n in serving if re.search(r"@\w+\.(?:post|route|get)|LitServer", texts[n])),
        serving[0],
    )
    line = next(
        (n for n, text in enumerate(texts[file].splitlines(), start=1)
         if re.search(r"FastAPI\(|Flask\(|LitServer\(|Starlette\(|Sanic\(|Application\(", text)), 1,
    )  # fmt: skip
    if not re.search(r"[\"'/]process\b", everything):
        yield finding("no-process-route", file, line, "no route /process in the server's code")
    else:
        yield from _process(submission)
    for route in ("tokenize", "decode"):
        if not re.search(rf"[\"'/]{route}\b", everything):
            yield finding("missing-route", file, line, f"no route /{route} in the server's code")


def _process(submission: Submission) -> Iterator[Finding]:
    """/process by GET only, or below another path, in all places that name such a route."""
    faults = []
    for module in submission.started:
        for call in (node for node in module.live() if isinstance(node, ast.Call)):
            path = code.value(call.args[0], module, {}) if call.args else None
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method not in _ROUTERS or not re.fullmatch(r"(?:/[^:]*)?/process", str(path)):
                continue
            methods = next((one.value for one in call.keywords if one.arg == "methods"), None)
            asked = ast.unparse(methods).upper() if methods else _ROUTERS[method]
            if path != "/process":
                said = f"the route is {path}, not /process"
            elif re.fullmatch(r"[\[({]?'?(?:GET|HEAD)'?,?[\])}]?", asked):
                said = "/process answers GET only"
            else:
                return
            faults.append(finding("no-process-route", module.name, call.lineno, said))
    yield from faults[:1]
