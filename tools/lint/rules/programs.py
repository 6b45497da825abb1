"""Rules on programs: are git, wget, pip, python in the base image, or installed before?"""

import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import pip
from tools.lint.reading.code import PYTHON
from tools.lint.reading.image import Step
from tools.lint.reading.submission import Submission

_FETCHERS = {"git", "wget", "curl", "unzip", "conda"}
_BARE = re.compile(
    r"(?:docker\.io/)?(?:library/)?(?:ubuntu|debian)[:@]|(?:nvcr\.io/|docker\.io/)?nvidia/cuda[:@]"
)
_SLIM = re.compile(r"(?:docker\.io/)?(?:library/)?python:[\w.]*-?slim")
_PYTHONS = {"python", "python3", "pip", "pip3"}
_INSTALLERS = {"apt-get", "apt", "apk", "yum", "dnf", "conda", "mamba", "micromamba", "microdnf"}
_OTHER_WAYS = re.compile(
    r"venv|conda|mamba|pyenv|\buv\b|alternatives|\bln\b|get-pip|ensurepip|make install|deadsnakes"
)
_OTHER_PATH = re.compile(r"\bPATH\b.*(?:env|conda|mamba|local|python|opt|app|uv)", re.DOTALL)


def check(submission: Submission) -> Iterator[Finding]:
    """One finding a program, at its first use."""
    told: set[str] = set()
    steps = [*submission.image.steps, *submission.image.start]
    for place, step in enumerate(steps):
        for name in _needed(step, submission):
            if name in told or not _absent(name, step):
                continue
            if not _provided(name, step, steps[:place]):
                told.add(name)
                image = step.stage.image.partition("@")[0]
                said = f"{name} is not in {image}, and not installed before"
                yield finding("missing-tool", step.command.file, step.command.line, said)


def _needed(step: Step, submission: Submission) -> set[str]:
    """The programs that a command is or calls."""
    words = step.command.words
    found = {words[0].text} & (_FETCHERS | _PYTHONS) if words else set()
    install = pip.installed(step)
    if install:
        found |= {"pip"} if PYTHON.fullmatch(step.command.name) else set()
        texts = [text for text, _ in install.packages]
        for word in install.files:
            name = step.files.get(step.path(word.text))
            texts += [one.text for one in pip.requirements(name, submission.folder)] if name else []
        if any("git+" in text for text in texts):
            found.add("git")
    return found


def _absent(name: str, step: Step) -> bool:
    """Whether the base image is known not to have it."""
    image = step.stage.image
    if _BARE.match(image):
        return True
    return bool(_SLIM.match(image)) and name in _FETCHERS


def _provided(name: str, step: Step, before: list[Step]) -> bool:
    """Whether an earlier command of the stage, or of those below it, brings the program."""
    line = {id(stage) for stage in step.stage.lineage()}
    earlier = [one for one in before if id(one.stage) in line and not one.starting]
    installed = " ".join(
        " ".join(one.texts()) for one in earlier if one.command.name in _INSTALLERS
    )
    if name == "conda" and any("conda" in text for one in earlier for text in one.texts()):
        return True  # its installer
    if name in _FETCHERS:
        return bool(re.search(rf"\b{name}\b", installed)) or _copied(step)
    if name in ("pip", "pip3", "python"):
        plain = {"python": r"python-is-python3|python2|\bpython\b"}.get(
            name, r"pip|python3-full|virtualenv"
        )
        if re.search(plain, installed):
            return True
    elif re.search(r"python3|\bpython\b", installed):
        return True
    texts = " ".join(" ".join(one.texts()) for one in earlier)
    return bool(_OTHER_WAYS.search(texts)) or _copied(step)


def _copied(step: Step) -> bool:
    """Whether another image's files or another PATH may bring it."""
    return any(
        ("from" in one.flags and one.name == "COPY")
        or (one.name == "ENV" and _OTHER_PATH.search(one.body))
        or (one.name == "ADD" and "://" in one.body)
        for level in step.stage.lineage()
        for one in level.instructions
    )
