"""The Python that an image runs: which files, what they import, and what values they use."""

import ast
import posixpath
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tools.lint.reading.dockerfile import Scope
from tools.lint.reading.folder import Folder
from tools.lint.reading.image import Image, Step, word_after
from tools.lint.reading.shell import SHELLS, Redirect, Word, expand

PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
SERVERS = {"uvicorn", "gunicorn", "hypercorn", "granian", "daphne"}
_TARGET = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?:\(.*\))?")
_LAUNCHERS = {"accelerate", "torchrun", "deepspeed", "streamlit", "mlflow", "ray"}
_TRAINS = re.compile(
    r"(?i)(?:^|[/_-])(?:train|finetune|fine_tune|fine-tune|sft|qlora|lora)(?:ing)?[\w-]*\.(?:py|sh)$"
)
_NO_TRAINING = re.compile(
    r"(?i)merge|convert|download|prepare|serve|export|inference|generate|test"
)
_OPTIONS_WITH_VALUE = {"-X", "-W", "-Q"}
# Syntax that Python has from 3.12 on: this one may not read it, that of the image may.
_NEWER = re.compile(
    r"\b[rbRB]?[fFtT][rbRB]?[\"']|^\s*(?:type\s+\w+.*=|(?:async\s+)?def\s+\w+\[|class\s+\w+\[|except\b.*,)"
)
_VERSION = re.compile(r"py(?:thon)?[:-]?3\.?(\d+)")


class Unknown:
    """A value that cannot be told from the text."""


UNKNOWN = Unknown()


@dataclass
class Module:
    """A Python file of the image.

    Attributes:
        name: its path in the folder.
        place: its path in the image.
        tree: None when it is not Python.
        step: the command that runs it, itself or by importing it.
        main: whether it is run as the main program.
        error: why it is not Python, if no Python that the image may have would read it.
        constants: what its names are set to, outside of functions.
        defaults: argparse's defaults by the options' dest.
        options: argparse's option strings by their dest.
    """

    name: str
    place: str
    tree: ast.Module | None
    step: Step
    main: bool
    error: SyntaxError | None = None
    constants: dict[str, ast.expr] = field(default_factory=dict)
    defaults: dict[str, ast.expr] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        if self.tree is None:
            return []
        try:
            return list(_walk(self.tree, self.main))
        except RecursionError:  # an expression nested by a machine
            return list(ast.walk(self.tree))

    def live(self) -> Iterator[ast.AST]:
        """The nodes that run, or may: without ``if __name__ == "__main__"`` unless it is main."""
        return iter(self._nodes)


def started(image: Image, folder: Folder) -> list[Module]:
    """The modules that the container runs, each once, importers before what they import."""
    return _closure([step for step in image.start if step.command.name != ""], image, folder)


def built(image: Image, folder: Folder) -> list[Module]:
    """The modules that RUN runs."""
    return _closure(image.steps, image, folder)


def _closure(steps: list[Step], image: Image, folder: Folder) -> list[Module]:
    found: dict[tuple[str, bool], Module] = {}
    for step in steps:
        waiting = [(place, main) for place, main in entries(step)]
        files = image.files if step.starting else step.files
        while waiting:
            place, main = waiting.pop(0)
            name = files.get(place)
            if name is None or (name, main) in found or (name, True) in found:
                continue
            module = _module(name, place, step, main, folder)
            found[name, main] = module
            waiting += [(below, False) for below in _imported(module, files)]
    return list(found.values())


def _module(name: str, place: str, step: Step, main: bool, folder: Folder) -> Module:
    text = folder.text(name)
    module = Module(name, place, None, step, main)
    if text is None:
        return module
    return _parse(module, text)


def _parse(module: Module, text: str) -> Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in others' code are not ours
            module.tree = ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # ValueError: a null byte; the last two: nested deeper than the parser bears.
        if not _newer(module, text, error):
            module.error = error if isinstance(error, SyntaxError) else SyntaxError(str(error))
        return module
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                module.constants[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            module.constants[node.target.id] = node.value
    for call in (n for n in ast.walk(module.tree) if isinstance(n, ast.Call)):
        if called(call).endswith("add_argument"):
            _argument(call, module)
    return module


def _newer(module: Module, text: str, error: Exception) -> bool:
    """Whether it may be the syntax of a Python that is newer than this one."""
    version = _VERSION.search(module.step.stage.image)
    if not isinstance(error, SyntaxError) or (version and int(version[1]) < 12):
        return False
    lines, number = text.splitlines(), error.lineno or 1
    line = lines[number - 1] if number <= len(lines) else ""
    return "f-string" in error.msg or bool(_NEWER.search(line))


def _argument(call: ast.Call, module: Module) -> None:
    """An argparse option: its strings and its default, by its dest."""
    texts = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
    # argparse names the dest after the first long option.
    names = sorted((text for text in texts if text.startswith("-")), key=_is_short)
    if not names:
        return
    given, default = keyword(call, "dest"), keyword(call, "default")
    named = given.value if isinstance(given, ast.Constant) else names[0].lstrip("-")
    dest = str(named).replace("-", "_")
    module.options.setdefault(dest, []).extend(names)
    if default:
        module.defaults[dest] = default


def _is_short(name: str) -> bool:
    return not name.startswith("--")


def _given(name: str, module: Module) -> str | None:
    """What the command gives an option: ``--port 80``, ``--port=80``, ``-p 80``, ``-p80``."""
    words, options = module.step.command.words, module.options[name]
    if PYTHON.fullmatch(module.step.command.name):  # its own -m and -u stand before the script
        words = words[next((n for n, w in enumerate(words) if n and w.text[:1] != "-"), 0) :]
    own = replace(module.step, command=replace(module.step.command, words=words))
    short = [option for option in options if len(option) == 2]
    glued = [w.text[2:] for w in words if w.text[:2] in short and len(w.text) > 2]
    word = word_after(own, *options)
    found = word.text if word else next(iter(glued), None)
    return None if found is None else expand(found, module.step.scope)


def inline(step: Step) -> list[Module]:
    """Python text in the command itself: ``python -c`` and here documents."""
    found = []
    words = step.command.words
    if not words or not PYTHON.fullmatch(step.command.name):
        return []
    for place, word in enumerate(words[:-1]):
        if word.text == "-c":
            found.append((words[place + 1].text, words[place + 1].line))
    given: list[Redirect] = [one for one in step.command.redirects if one.body]
    found += [(one.body, one.target.line) for one in given]
    modules = []
    for text, line in found:
        module = _parse(Module(step.command.file, "", None, step, True), text)
        if module.tree:
            ast.increment_lineno(module.tree, line - 1)
        modules.append(module)
    return modules


def entries(step: Step) -> list[tuple[str, bool]]:
    """Where in the image the Python lies that a command runs; whether as the main program."""
    words = [word.text for word in step.command.words]
    name = step.command.name
    if not words:
        return []
    if PYTHON.fullmatch(name):
        return _of_python(words[1:], step)
    if name in SERVERS:
        return _of_server(step, words)
    if name == "flask":
        app = word_after(step, "--app", "-A")
        named = expand(app.text, step.scope) if app else step.scope.get("FLASK_APP") or "app.py"
        return _places(named.partition(":")[0].removesuffix(".py"), step, False)
    if name == "fastapi" and len(words) > 1:
        path = next((w for w in words[2:] if w.endswith(".py")), "main.py")
        return [(step.path(path), False)]
    if name in _LAUNCHERS:
        return [(step.path(w), True) for w in words[1:] if w.endswith(".py")][:1]
    return [(step.path(words[0]), True)] if words[0].endswith(".py") else []


def _of_python(words: list[str], step: Step) -> list[tuple[str, bool]]:
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c", "-"):
        words = words[2 if words[0] in _OPTIONS_WITH_VALUE else 1 :]
    if not words or words[0] in ("-c", "-"):
        return []
    if words[0] != "-m":
        path = step.path(words[0])
        return [(path, True), (posixpath.join(path, "__main__.py"), True)]
    if len(words) < 2:
        return []
    if words[1] in SERVERS:
        return _of_server(step, words[1:])
    if words[1] in ("torch.distributed.run", "accelerate.commands.launch"):
        return [(step.path(w), True) for w in words[2:] if w.endswith(".py")][:1]
    return _places(words[1], step, True)


def _of_server(step: Step, words: list[str]) -> list[tuple[str, bool]]:
    for word in words[1:]:
        if found := _TARGET.fullmatch(expand(word, step.scope)):
            if found[1] in ("unix", "fd", "localhost"):  # the address of --bind
                continue
            return _places(found[1], step, False)
    return []


def roots(step: Step) -> list[str]:
    """The folders in the image where Python looks for modules."""
    folder = word_after(step, "--app-dir", "--chdir")
    listed = (step.scope.get("PYTHONPATH") or "").split(":")
    return [
        step.path(folder.text) if folder else step.workdir,
        *(posixpath.normpath(posixpath.join(step.workdir, one)) for one in listed if one),
    ]


def _places(module: str, step: Step, main: bool) -> list[tuple[str, bool]]:
    path = module.replace(".", "/")
    ends = ("__main__.py",) if main else ("__init__.py",)
    return [
        (posixpath.join(root, end), main)
        for root in roots(step)
        for end in (f"{path}.py", *(f"{path}/{one}" for one in ends))
    ]


def imports(module: Module) -> Iterator[tuple[str, int, int]]:
    """The modules that a module imports: dotted name, level of a relative import, line."""
    for node in module.live():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base, node.level, node.lineno
            for alias in node.names:
                yield f"{base}.{alias.name}".lstrip("."), node.level, node.lineno


def _imported(module: Module, files: dict[str, str]) -> Iterator[str]:
    here = posixpath.dirname(module.place)
    for name, level, _ in imports(module):
        bases = [here] if not level else [posixpath.normpath(f"{here}/{'../' * (level - 1)}")]
        for base in [*bases, *([] if level else roots(module.step))]:
            path = posixpath.join(base, name.replace(".", "/")) if name else base
            for place in (f"{path}.py", f"{path}/__init__.py"):
                if place in files:
                    yield place


def _walk(node: ast.AST, main: bool) -> Iterator[ast.AST]:
    """Every node below, without what only a main program runs, and without ``TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If):
            test = ast.unparse(child.test)
            if ("__name__" in test and not main) or "TYPE_CHECKING" in test:
                for other in child.orelse:
                    yield other
                    yield from _walk(other, main)
                continue
        yield child
        yield from _walk(child, main)


def training(step: Step) -> Word | None:
    """The training script that a command runs, by its name."""
    runs = PYTHON.fullmatch(step.command.name) or step.command.name in SHELLS | _LAUNCHERS
    for place, word in enumerate(step.command.words):
        if (
            (runs or place == 0)
            and _TRAINS.search(word.text)
            and not _NO_TRAINING.search(word.text)
        ):
            return word
    return None


def called(call: ast.Call) -> str:
    """The dotted name of what is called, as far as it is a name."""
    parts, node = [], call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((one.value for one in call.keywords if one.arg in names), None)


def value(node: ast.expr | None, module: Module, scope: Scope, depth: int = 0) -> Any:
    """What an expression is, or :data:`UNKNOWN`: constants, environment, argparse's defaults."""
    if isinstance(node, ast.Constant):
        return node.value
    if node is None or depth > 5:  # constants may name each other
        return UNKNOWN
    if isinstance(node, ast.Name) and node.id in module.constants:
        return value(module.constants[node.id], module, scope, depth + 1)
    if isinstance(node, ast.Attribute) and node.attr in module.options:
        given = _given(node.attr, module)
        default = module.defaults.get(node.attr)
        return value(default, module, scope, depth + 1) if given is None else given
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        found = [value(one, module, scope, depth + 1) for one in node.values]
        return next((one for one in found if one), found[-1])
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
        return _known(value(node.slice, module, scope, depth + 1), scope, UNKNOWN)
    if isinstance(node, ast.Call):
        return _of_call(node, module, scope, depth)
    return UNKNOWN


def _of_call(node: ast.Call, module: Module, scope: Scope, depth: int) -> Any:
    name = called(node)
    if name.endswith(("environ.get", "getenv", "environ.setdefault")) and node.args:
        default: Any = None
        if len(node.args) > 1 or keyword(node, "default"):
            given = node.args[1] if len(node.args) > 1 else keyword(node, "default")
            default = value(given, module, scope, depth + 1)
        return _known(value(node.args[0], module, scope, depth + 1), scope, default)
    if name in ("int", "str", "Path", "pathlib.Path") and node.args:
        inner = value(node.args[0], module, scope, depth + 1)
        if name == "int" and str(inner).strip().isdigit():
            return int(str(inner))
        return inner if name != "int" else UNKNOWN
    return UNKNOWN


def _known(name: Any, scope: Scope, default: Any) -> Any:
    found = scope.get(name) if isinstance(name, str) else None
    return found if found is not None else default


def strings(module: Module) -> Iterator[ast.Constant]:
    """The texts in a module that are values: no docstrings, nothing that is only compared with."""
    if module.tree is None:
        return
    # live() gives parents first, so what they pass over is known in time.
    passed: set[int] = set()
    for node in module.live():
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        elif isinstance(node, ast.Compare):
            passed.update(id(one) for one in [node.left, *node.comparators])
        elif isinstance(node, ast.Call) and called(node).endswith(("help", "print", "log", "info")):
            passed.update(id(one) for one in node.args)
        elif isinstance(node, ast.keyword) and node.arg in ("help", "description", "title"):
            passed.add(id(node.value))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in passed
        ):
            yield node
