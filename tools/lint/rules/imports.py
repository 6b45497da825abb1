"""Imports of packages that nothing installs: the server dies at its first line.

Told only where it is certain: a plain Python image, nothing fetched but packages of
the index, all of them packages whose needs are listed here.
"""

import ast
import posixpath
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import pip
from tools.lint.reading.code import Module
from tools.lint.reading.submission import Submission
from tools.lint.rules.copies import only_packages

_EMPTY = re.compile(
    r"(?:docker\.io/)?(?:library/)?(?:python|ubuntu|debian)[:@]"
    r"|(?:(?:docker|nvcr)\.io/)?nvidia/cuda[:@]"
)
_WEB = "anyio idna typing_extensions sniffio"
_HUB = "huggingface_hub filelock fsspec packaging yaml requests httpx tqdm typing_extensions"
_TORCH = "torch numpy filelock fsspec jinja2 networkx sympy typing_extensions"
_MODELS = f"transformers tokenizers safetensors numpy regex {_HUB}"
# What can be imported once a package of the index is there, with what it needs itself. Generous: a
# name too many hides a fault, one too few would tell one that is none.
_BRINGS = {
    "fastapi": f"fastapi starlette pydantic pydantic_core annotated_types {_WEB}",
    "starlette": f"starlette {_WEB}",
    "uvicorn": "uvicorn click h11 typing_extensions",
    "pydantic": "pydantic pydantic_core annotated_types typing_extensions",
    "pydantic-settings": "pydantic_settings pydantic pydantic_core dotenv typing_extensions",
    "flask": "flask werkzeug jinja2 click itsdangerous markupsafe blinker",
    "gunicorn": "gunicorn packaging",
    "waitress": "waitress",
    "requests": "requests urllib3 certifi idna charset_normalizer",
    "httpx": f"httpx httpcore h11 certifi {_WEB}",
    "numpy": "numpy",
    "scipy": "scipy numpy",
    "pandas": "pandas numpy dateutil pytz six",
    "tqdm": "tqdm",
    "pyyaml": "yaml",
    "python-dotenv": "dotenv",
    "protobuf": "google",
    "sentencepiece": "sentencepiece",
    "tiktoken": "tiktoken regex requests",
    "einops": "einops",
    "safetensors": "safetensors",
    "packaging": "packaging",
    "psutil": "psutil",
    "fire": "fire six termcolor",
    "huggingface-hub": _HUB,
    "tokenizers": f"tokenizers {_HUB}",
    "transformers": _MODELS,
    "torch": _TORCH,
    "accelerate": f"accelerate psutil safetensors {_TORCH} {_HUB}",
    "peft": f"peft accelerate psutil {_TORCH} {_MODELS}",
    "bitsandbytes": f"bitsandbytes scipy packaging {_TORCH}",
    "litserve": f"litserve fastapi starlette pydantic uvicorn httpx zmq {_WEB}",
    **dict.fromkeys(("pip", "setuptools", "wheel"), "pip setuptools pkg_resources wheel"),
}
_NAMED = {"dotenv": "python-dotenv", "yaml": "pyyaml", "google": "protobuf"}
_KNOWN = {name for names in _BRINGS.values() for name in names.split()}


def check(submission: Submission) -> Iterator[Finding]:
    """One finding a package, where the first module of the server imports it."""
    there = _there(submission)
    if there is None:
        return
    for module in submission.started:
        for name, line in _imported(module):
            if name in _KNOWN - there and not _own(name, module, submission):
                there.add(name)
                package = _NAMED.get(name, name.replace("_", "-"))
                said = f"imports {name}, and nothing installs {package}"
                yield finding("missing-package", module.name, line, said)


def _there(submission: Submission) -> set[str] | None:
    """What can be imported; None where that cannot be told."""
    base = submission.dockerfile.stages[-1].image
    if not (_EMPTY.match(base) and only_packages(submission)):
        return None
    found = set[str]()
    for step in submission.steps():
        if step.command.name.startswith("apt") and "python" in " ".join(step.texts()):
            return None
        install = pip.installed(step)
        if install is None:
            continue
        files = [step.files.get(step.path(word.text)) for word in install.files]
        if install.local or None in files:
            return None
        asked = [text for text, _ in install.packages]
        read = [pip.requirements(name, submission.folder) for name in files if name]
        asked += [line.text for lines in read for line in lines]
        for text in asked:
            name = pip.name_of(text)
            # Extras bring what they like.
            if name not in _BRINGS or "[" in text:
                return None
            found |= set(_BRINGS[name].split())
    # Of a build that installs nothing the base image may be more than its name says.
    return found | {"pip", "setuptools", "pkg_resources", "wheel"} if found else None


def _own(name: str, module: Module, submission: Submission) -> bool:
    """Whether a file of the submission has that name."""
    places = (posixpath.join(posixpath.dirname(module.place), name), f"/{name}")
    return any(
        file.startswith((f"{place}.py", f"{place}/")) or f"/{name}/" in file
        for file in submission.image.files
        for place in places
    )


def _imported(module: Module) -> Iterator[tuple[str, int]]:
    """The packages that a module imports as it is loaded, unless it says what to do without."""
    for node in module.tree.body if module.tree else []:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0], node.lineno
