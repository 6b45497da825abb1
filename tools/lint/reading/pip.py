"""What pip, uv, conda and requirement files ask for, and whether it is one version."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tools.lint.reading.folder import Folder
from tools.lint.reading.image import Step
from tools.lint.reading.shell import Word, expand

_PIP = re.compile(r"pip[\d.]*")
_PYTHON = re.compile(r"python[\d.]*")
# pip's options that take a value (pip install --help, 24.0).
_VALUES = {
    *("-r --requirement -c --constraint -i --index-url --extra-index-url -f --find-links".split()),
    *("-t --target --prefix --root --src --platform --python-version --implementation".split()),
    *("--abi --no-binary --only-binary --progress-bar --timeout --retries --trusted-host".split()),
    *("--cert --proxy --cache-dir --log --global-option --install-option".split()),
    "--config-settings",
    *("-C --upgrade-strategy --report --python -p --torch-backend --index --default-index".split()),
    *("--exclude-newer --resolution --prerelease --group --extra -e --editable".split()),
}
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?\s*(.*)")
_EXACT = re.compile(r"={2,3}\s*[\w.!+-]+")
COMMIT = re.compile(r"[0-9a-f]{7,40}")
BRANCHES = {"main", "master", "dev", "develop", "head", "trunk", "nightly", "latest", "stable"}
# GitHub's archives of a branch: archive/main.zip, archive/refs/heads/x.zip, tarball/main, and
# those of its codeload: tar.gz/main, zip/refs/heads/x.
_OF_BRANCH = re.compile(
    r"(?i)(?:codeload\.|www\.)?github\.com/[^/\s]+/[^/\s]+/(?:archive|zipball|tarball|zip|tar\.gz)/"
    rf"(?:refs/heads/[^\s#]+|(?:{'|'.join(sorted(BRANCHES))})(?=[.#\s]|$)[^\s#]*)"
)


@dataclass
class Install:
    """One ``pip install``.

    Attributes:
        packages: what is asked for by name or address, with its word.
        files: requirement files; ``constraints`` those of ``-c``.
        local: folders and files to install, with whether as editable.
        options: the rest, as written.
        indexes: the package indexes named.
    """

    packages: list[tuple[str, Word]] = field(default_factory=list)
    files: list[Word] = field(default_factory=list)
    constraints: list[Word] = field(default_factory=list)
    local: list[Word] = field(default_factory=list)
    options: list[Word] = field(default_factory=list)
    indexes: list[Word] = field(default_factory=list)


def installed(step: Step) -> Install | None:
    """The ``pip install`` that a command is, if it is one."""
    words = list(step.command.words)
    if words and words[0].text == "uv" and len(words) > 1 and words[1].text == "pip":
        words = words[1:]
    elif words and _PYTHON.fullmatch(step.command.name):
        place = next((n for n, w in enumerate(words) if w.text == "-m"), len(words))
        words = words[place + 1 :]
    if words and words[0].text == "pip-sync":
        return _synced(words[1:], step)
    if not words or not _PIP.fullmatch(words[0].text.rpartition("/")[2]):
        return None
    if [word.text for word in words[1:2]] == ["sync"]:  # uv's only
        return _synced(words[2:], step)
    place = next((n for n, w in enumerate(words) if w.text in ("install", "wheel", "download")), 0)
    return _read(words[place + 1 :], step) if place else None


def _synced(words: list[Word], step: Step) -> Install:
    """``uv pip sync FILES``: what else would be packages are requirement files."""
    found = _read(words, step)
    files = [*found.local, *(word for _, word in found.packages)]
    return replace(found, packages=[], local=[], files=[*found.files, *files])


def _read(words: list[Word], step: Step) -> Install:
    found = Install()
    while words:
        word = words.pop(0)
        option, equals, value = word.text.partition("=")
        if word.text.startswith("-"):
            given: Word | None = None
            if word.text.startswith("--") and equals:
                given = Word(value, word.raw, word.line)
            elif re.fullmatch(r"-[qUvI]+r", word.text) and words:
                option, given = "-r", words.pop(0)
            elif re.fullmatch(r"-[rcifet].+", word.text):
                option, given = word.text[:2], Word(word.text[2:], word.raw, word.line)
            elif option in _VALUES and words:
                given = words.pop(0)
            _option(found, option, given, word)
        else:
            _operand(found, word, step)
    return found


def _option(found: Install, option: str, given: Word | None, word: Word) -> None:
    if given is None:
        found.options.append(word)
    elif option in ("-r", "--requirement"):
        found.files.append(given)
    elif option in ("-c", "--constraint"):
        found.constraints.append(given)
    elif option in ("-e", "--editable"):
        is_git = given.text.startswith("git+")
        (found.packages.append((given.text, given)) if is_git else found.local.append(given))
    elif option in ("-i", "--index-url", "--extra-index-url", "--index", "-f", "--find-links"):
        found.indexes.append(given)
    else:
        found.options.append(Word(f"{option}={given.text}", word.raw, word.line))


def _operand(found: Install, word: Word, step: Step) -> None:
    text = expand(word.text, step.scope)
    plain = re.sub(r"\[[^\]]*\]$", "", text)
    is_file = plain.startswith((".", "/", "~")) or plain.endswith((".whl", ".tar.gz"))
    if is_file and "://" not in plain:
        found.local.append(Word(plain, word.raw, word.line))
    else:
        found.packages.append((text, word))


def name_of(text: str) -> str:
    """A requirement's package name, normalised as PEP 503 says; empty for an address."""
    found = _NAME.match(text)
    plain = found and not re.match(r"[\w+]*://|git\+", text)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found and plain else ""


def loose(text: str) -> str:
    """Why a requirement does not stand for one version; empty when it does."""
    text = text.partition(" --hash")[0].partition(";")[0].strip()
    if "git+" in text or re.match(r"[\w-]+\s*@\s*git", text):
        return loose_git(text)
    if branch := _OF_BRANCH.search(text):
        return f"{branch[0]} is what the branch holds that day"
    if "://" in text or re.match(r"[\w.\[\]-]+\s*@\s*\S", text):
        return ""  # an address names one file
    found = _NAME.fullmatch(text)
    if not found or "$" in text:
        return ""
    wanted = found[3]
    if not wanted:
        return f"{text} has no version"
    if "*" in wanted or not _EXACT.search(wanted):
        return f"{text} allows several versions"
    return ""


def loose_git(text: str) -> str:
    """Why an address of a git repository names no commit; empty when it does."""
    address = text[text.find("git+") :] if "git+" in text else text
    address = address.partition("#")[0].partition(";")[0].strip()
    path = address.partition("://")[2].partition("/")[2]
    ref = path.rpartition("@")[2] if "@" in path else ""
    if not ref:
        return f"{address} names no commit"
    if ref.lower() in BRANCHES:
        return f"{address} names the branch {ref}"
    return ""


@dataclass(frozen=True)
class Line:
    """A requirement in a file."""

    text: str
    file: str
    line: int


def requirements(name: str, folder: Folder, seen: frozenset[str] = frozenset()) -> Iterator[Line]:
    """The lines of a requirement file that count, those of files it includes too."""
    text = folder.text(name)
    if text is None or name in seen:
        return
    waiting, start = "", 1
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = re.sub(r"(?:^|\s)#.*", "", raw).strip()
        start = start if waiting else number
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        line, waiting = (waiting + line).strip(), ""
        if included := re.match(r"(?:-r|--requirement)[\s=]*(\S+)", line):
            below = posixpath.normpath(posixpath.join(posixpath.dirname(name), included[1]))
            yield from requirements(below, folder, seen | {name})
        elif line:
            yield Line(line, name, start)


def pinned(names: list[str], folder: Folder) -> set[str]:
    """The packages that constraint files pin."""
    return {
        name_of(line.text)
        for name in names
        for line in requirements(name, folder)
        if not line.text.startswith("-") and not loose(line.text)
    }
