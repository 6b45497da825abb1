"""Paths of the author's machine in what the image runs: home folders, mounts, cloud notebooks."""

import itertools
import posixpath
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import code, fetches
from tools.lint.reading.dockerfile import pairs
from tools.lint.reading.image import Step
from tools.lint.reading.shell import expand
from tools.lint.reading.submission import Submission

_HOME = re.compile(
    r"(?<![\w.~/\\$}:-])(?P<path>~[\w-]*/[^\s\"'`:;,|&<>()]*"
    r"|/(?:home|Users)/[^/\s\"'`:;,|&<>()$*]+[^\s\"'`:;,|&<>()]*"
    r"|/root(?:/[^\s\"'`:;,|&<>()]+)"
    r"|/(?:mnt|scratch|nfs\d*|gpfs|lustre|fsx|kaggle|Volumes|data\d+|content/drive|dbfs)/[^\s\"'`:;,|&<>()]+"
    r"|[A-Za-z]:\\+(?:Users|home|data)\\[^\s\"']*)"
)
# Folders too wide to be made by one file in them.
_ROOTS = {"", "/", "/root", "/home", "/Users", "/mnt"}
_CONFIG = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf")
_DOTENV = re.compile(r"\.env(?:\.\w+)?")
# Part of a base image's name, and the user whose home it has.
_BASE_USERS = {
    "jupyter": "jovyan",
    "mamba": "mambauser",
    "vscode": "vscode",
    "circleci": "circleci",
}
_MAKERS = {
    "mkdir",
    "useradd",
    "adduser",
    "chown",
    "ln",
    "tar",
    "unzip",
    "install",
    "virtualenv",
    "touch",
}
_TARGETS = (
    "--local-dir",
    "-O",
    "-o",
    "-P",
    "--output",
    "-d",
    "-C",
    "--target",
    "-t",
    "--prefix",
    "-p",
)


def check(submission: Submission) -> Iterator[Finding]:
    """One finding a path."""
    made = _made(submission)
    told: set[tuple[str, str]] = set()
    for file, line, text in _texts(submission):
        for found in _HOME.finditer(text):
            path = found["path"].rstrip("/.")
            if _fine(path, made) or (file, path) in told:
                continue
            told.add((file, path))
            said = f"{path} is a folder of the author's machine"
            yield finding("home-path", file, line, said)


def _fine(path: str, made: set[str]) -> bool:
    """Whether the image has the folder: the build makes it, or it is a cache below the home."""
    if re.match(
        r"~?[\w-]*/\.|/root/\.|~/?$|~/(?:bin|go|miniconda|anaconda|mambaforge|miniforge)", path
    ):
        return True
    plain = re.sub(r"^~(?=/)", "/root", path)
    return any(
        plain == one or plain.startswith(f"{one}/") or one.startswith(f"{plain}/")
        for one in made | {re.sub(r"^~(?=/)", "/root", m) for m in made}
    )


def _made(submission: Submission) -> set[str]:
    """The folders that the build makes."""
    found = {_up(path) for path in submission.image.files}
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            if one.name == "WORKDIR":
                found.add(one.path(one.words[0].text) if one.words else "/")
            elif one.name in ("COPY", "ADD") and one.words:
                found.add(one.path(one.words[-1].text))
            elif one.name == "VOLUME":
                found |= {word.text for word in one.words}
            elif one.name == "ENV":
                found |= {expand(w.text, one.scope) for k, w in pairs(one) if k == "HOME"}
            elif one.name == "USER" and one.words:
                found |= _user(expand(one.words[0].text, one.scope))
    for step in submission.image.steps:
        found |= set(_by_command(step))
    for module in submission.built + submission.started:
        found |= set(_by_code(module))
    for name, user in _BASE_USERS.items():
        if any(name in stage.image for stage in submission.dockerfile.stages):
            found.add("/home/" + user)
    return {path.rstrip("/") for path in found} - (_ROOTS - {"/root"})


def _user(text: str) -> set[str]:
    name = text.partition(":")[0]
    return {"/home/" + name} if not name.isdigit() and name != "root" else set()


def _by_command(step: Step) -> Iterator[str]:
    texts, name = step.texts(), step.command.name
    if name in ("useradd", "adduser"):
        yield from ("/home/" + text for text in texts[1:] if re.fullmatch(r"[a-z_][\w-]*", text))
    if name in _MAKERS or (name == "git" and "clone" in texts) or "venv" in texts:
        yield from (step.path(text) if text[:1] != "~" else text for text in texts[1:])
    if name == "git" and "clone" in texts:
        yield from (step.path(_cloned(text)) for text in texts[1:] if re.search(r"://|@", text))
    if written := fetches.output_file(step):
        yield _up(step.path(written.text))
    for option, value in itertools.pairwise(texts):
        if option in _TARGETS and value.startswith(("/", "~")):
            yield value if name in ("hf", "huggingface-cli", "unzip", "tar", "pip") else _up(value)
    for text in texts:
        if text.startswith(("--local-dir=", "--prefix=", "--target=")):
            yield text.partition("=")[2]
    for redirect in step.command.redirects:
        if redirect.operator.startswith(">"):
            yield _up(redirect.target.text)
    if name in ("cp", "mv") and len(texts) > 2:
        yield texts[-1]


def _up(path: str) -> str:
    """The folder of a file; the file itself where that folder is a root."""
    folder = posixpath.dirname(path)
    return path if folder in _ROOTS else folder


def _cloned(address: str) -> str:
    """The folder that ``git clone`` makes without being told."""
    return posixpath.basename(address.rstrip("/")).removesuffix(".git")


def _by_code(module: code.Module) -> Iterator[str]:
    """``os.makedirs("/mnt/x")``."""
    import ast

    for call in (node for node in module.live() if isinstance(node, ast.Call)):
        if code.called(call).endswith(("makedirs", "mkdir")):
            for node in ast.walk(call):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _texts(submission: Submission) -> Iterator[tuple[str, int, str]]:
    """What the image runs or reads: file, line, text."""
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            if one.name == "ENV":
                for _, word in pairs(one):
                    yield "Dockerfile", word.line, word.text
            elif one.name == "ARG":
                for word in one.words:
                    yield "Dockerfile", word.line, word.text.partition("=")[2]
    for step in submission.steps():
        for word in step.command.words:
            if "\n" not in word.text:
                yield step.command.file, word.line, re.sub(r"^--?[\w-]+=", "", word.text)
    named = [" ".join(step.texts()) for step in submission.steps()]
    for module in submission.modules():
        for node in code.strings(module):
            named.append(str(node.value))
            if len(str(node.value)) < 500:
                yield module.name, node.lineno, str(node.value)
    # A library that reads .env wherever it lies is told no name.
    named += [".env" for one in submission.modules() if any(_reads_env(one))]
    joined = "\n".join(named)
    for name in sorted(set(submission.image.files.values())):
        base = posixpath.basename(name)
        if (name.endswith(_CONFIG) or _DOTENV.fullmatch(base)) and base in joined:
            text = submission.folder.text(name) or ""
            for number, line in enumerate(text.splitlines()[:2000], start=1):
                if not line.lstrip().startswith("#"):
                    yield name, number, line


def _reads_env(module: code.Module) -> Iterator[bool]:
    for name, level, _ in code.imports(module):
        yield not level and name.partition(".")[0] in ("dotenv", "decouple", "environs")
