"""Rules on what is installed: the same versions again in a year?"""

import ast
import configparser
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import pip
from tools.lint.reading.image import Step
from tools.lint.reading.pip import Install
from tools.lint.reading.shell import Command, expand
from tools.lint.reading.submission import Submission

_TOOLS = {"pip", "setuptools", "wheel", "uv", "poetry", "pipenv", "virtualenv", "packaging"}
_UNSTABLE = re.compile(r"(?i)nightly|test\.pypi\.org|/dev/|prerelease")
_PRIVATE = re.compile(
    r"(?i)(?:https?|ftp)://(?:[^/@]*@)?(?:localhost|127\.|10\.\d|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|"
    r"[\w.-]+\.(?:local|internal|lan|corp)\b|host\.docker\.internal)|file://"
)
_BUILT_BY_CONDA = {"conda", "mamba", "micromamba"}


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on packages, in the build and at the start."""
    told: set[tuple[str, int, str]] = set()
    for step in submission.steps():
        for one in _step(step, submission):
            key = (one.file, one.line, one.message)
            if key not in told:
                told.add(key)
                yield one


def _step(step: Step, submission: Submission) -> Iterator[Finding]:
    if install := pip.installed(step):
        yield from _redirected(step)
        yield from _pip(install, step, submission)
    elif step.command.name in _BUILT_BY_CONDA:
        yield from _redirected(step)
        yield from _conda(step, submission)
    elif step.command.name in ("uv", "poetry", "pipenv", "pdm"):
        yield from _locked(step, submission)
    elif step.command.name in ("apt-get", "apt", "apk", "yum", "dnf", "add-apt-repository"):
        yield from _system(step)


def _redirected(step: Step) -> Iterator[Finding]:
    """``torch>=2.0`` without quotes: the shell writes a file named =2.0."""
    for redirect in step.command.redirects:
        target = redirect.target.text
        version = re.match(r"=|[\d.]+(?:,.*)?$", target)
        if redirect.operator in (">", "<", ">|", "<>", ">>") and version:
            behind = redirect.behind.text if redirect.behind else ""
            said = f"{behind}{redirect.operator}{target} without quotes"
            yield finding("shell-redirect", step.command.file, redirect.target.line, said)


def _pip(install: Install, step: Step, submission: Submission) -> Iterator[Finding]:
    file = step.command.file
    constraints = _files(install.constraints, step, submission)
    held = pip.pinned([name for name in constraints if name], submission.folder)
    redirected = {id(one.behind) for one in step.command.redirects if one.behind}
    reasons: dict[tuple[str, int], list[str]] = {}
    for text, word in install.packages:
        why = "" if pip.name_of(text) in held else pip.loose(text)
        if why and id(word) not in redirected:
            reasons.setdefault((_rule(text), word.line), []).append(why)
        if re.search(r"(?i)==[\d.]*(?:\.?dev|a|b|rc)\d", text) or "nightly" in text.lower():
            yield finding("nightly", file, word.line, f"{text} is a pre-release")
    for (rule, line), whys in reasons.items():
        yield finding(rule, file, line, "; ".join(whys))
    yield from _unstable(install, step)
    yield from _requirement_files(install, step, submission, held)
    for word in install.local:
        yield from _local(word.text, word.line, step, submission, install)


def _rule(text: str) -> str:
    if "git+" in text or "://" in text:
        return "unpinned-git"
    return "unpinned-tool" if pip.name_of(text) in _TOOLS else "unpinned-package"


def _unstable(install: Install, step: Step) -> Iterator[Finding]:
    for word in install.options:
        if word.text in ("--pre", "--prerelease=allow"):
            said = f"{word.text} takes pre-releases"
            yield finding("nightly", step.command.file, word.line, said)
    for word in install.indexes:
        yield from _index(expand(word.text, step.scope), step.command.file, word.line)


def _index(address: str, file: str, line: int) -> Iterator[Finding]:
    if _UNSTABLE.search(address):
        yield finding("nightly", file, line, f"{address} holds builds that are deleted")
    elif _PRIVATE.match(address):
        yield finding("private-source", file, line, f"{address} is reached by you only")


def _files(words: list[pip.Word], step: Step, submission: Submission) -> list[str | None]:
    """The folder's files that requirement options name; None where the image has no such file."""
    found: list[str | None] = []
    for word in words:
        name = step.files.get(step.path(word.text))
        found.append(name or _bound(expand(word.text, step.scope), step, submission))
    return found


def _bound(text: str, step: Step, submission: Submission) -> str | None:
    """The folder's file that RUN --mount=type=bind brings; empty for one of another image."""
    path, line = step.path(text), step.command.line
    for one in step.stage.instructions:
        if one.name != "RUN" or not one.line <= line <= one.end:
            continue
        for given in re.findall(r"--mount=(\S+)", one.body):
            keys = dict(part.partition("=")[::2] for part in given.split(","))
            names = ("target", "dst", "destination")
            target = one.path(next((keys[name] for name in names if name in keys), "/"))
            if keys.get("type", "bind") != "bind" or posixpath.commonpath([path, target]) != target:
                continue
            if "from" in keys:
                return ""
            source = (keys.get("source") or keys.get("src") or ".").lstrip("/")
            name = posixpath.normpath(posixpath.join(source, posixpath.relpath(path, target)))
            if name in submission.folder.sizes or name in submission.folder.folders:
                return name
    return None


def _requirement_files(
    install: Install, step: Step, submission: Submission, held: set[str]
) -> Iterator[Finding]:
    words = [*install.files, *install.constraints]
    for word, name in zip(words, _files(words, step, submission), strict=True):
        text = expand(word.text, step.scope)
        if re.match(r"https?://", text):
            if re.search(r"/(?:main|master|HEAD)/", text):
                said = f"{text} is a branch's file"
                yield finding("unpinned-download", step.command.file, word.line, said)
        elif name is None:
            if not _elsewhere(text, step, submission):
                said = f"{text} is not in the image when this line runs"
                yield finding("missing-package-file", step.command.file, word.line, said)
        elif word in install.files:
            yield from _lines(name, submission, held)


def _elsewhere(text: str, step: Step, submission: Submission) -> bool:
    """Whether something before may have made the file: a clone, an export, a redirection."""
    base = posixpath.basename(text)
    if text in ("-", "/dev/stdin") or "$" in text:
        return True
    for other in submission.image.steps:
        if other.command is step.command:
            break
        words = [*other.texts(), *(r.target.text for r in other.command.redirects)]
        joined = " ".join(words)
        if base in joined and other.command.name not in ("pip", "pip3", "python", "python3"):
            return True
        if re.search(r"\bclone\b|\btar\b|\bunzip\b", joined):
            return True
    copies = [
        one
        for level in step.stage.lineage()
        for one in level.instructions
        if one.name in ("COPY", "ADD")
    ]
    for one in copies:  # said already: the source is missing
        for word in one.words[:-1]:
            source = expand(word.text, one.scope)
            name = posixpath.basename(source.rstrip("/"))
            if (name == base or "." not in name) and not submission.folder.matching(source):
                return True
    return any(
        ("<<" in one.body or "from" in one.flags or "://" in one.body) for one in copies
    ) and not any(name for name in submission.folder.sizes if posixpath.basename(name) == base)


def _lines(name: str, submission: Submission, held: set[str]) -> Iterator[Finding]:
    """The lines of a requirement file."""
    lines = list(pip.requirements(name, submission.folder))
    own = [m[1] for one in lines if (m := re.match(r"(?:-c|--constraint)[\s=]*(\S+)", one.text))]
    here = posixpath.dirname(name)
    held = held | pip.pinned(
        [posixpath.normpath(posixpath.join(here, one)) for one in own], submission.folder
    )
    for one in lines:
        option = re.match(
            r"(-i|--index-url|--extra-index-url|-f|--find-links)[\s=]+(\S+)", one.text
        )
        if option:
            yield from _index(option[2], one.file, one.line)
        elif one.text.startswith("--pre"):
            yield finding("nightly", one.file, one.line, "--pre takes pre-releases")
        elif re.match(r"-e\s*git\+", one.text):
            if why := pip.loose_git(one.text):
                yield finding("unpinned-git", one.file, one.line, why)
        elif re.search(r"@\s*file://|^(?:-e\s*)?/", one.text):
            said = f"{one.text} is a file of the author's machine"
            yield finding("missing-package-file", one.file, one.line, said)
        elif not one.text.startswith(("-", ".", "/")):
            why = "" if pip.name_of(one.text) in held else pip.loose(one.text)
            if why and ("git+" in one.text or "://" in one.text):
                yield finding("unpinned-git", one.file, one.line, why)
            elif why and pip.name_of(one.text) not in _TOOLS:
                yield finding("unpinned-requirement", one.file, one.line, why)
            elif why:
                yield finding("unpinned-tool", one.file, one.line, why)


def _local(
    text: str, line: int, step: Step, submission: Submission, install: Install
) -> Iterator[Finding]:
    """``pip install .`` or a wheel: is it in the image, are its needs pinned?"""
    if "$" in text or "*" in text or re.match(r"https?:|git\+", text):
        return
    path = step.path(re.sub(r"\[[^\]]*\]$", "", text))
    inside = [p for p in step.files if p == path or p.startswith(f"{path.rstrip('/')}/")]
    if not inside:
        if not _elsewhere(text, step, submission) and _bound(text, step, submission) is None:
            said = f"{text} is not in the image when this line runs"
            yield finding("missing-package-file", step.command.file, line, said)
        return
    projects = {posixpath.join(path, name) for name in ("pyproject.toml", "setup.py", "setup.cfg")}
    if path not in inside and not projects & set(inside):
        if not _elsewhere(text, step, submission) and _bound(text, step, submission) is None:
            said = f"{text} has neither pyproject.toml nor setup.py when this line runs"
            yield finding("missing-package-file", step.command.file, line, said)
        return
    frozen = any(w.text in ("--no-deps", "--require-hashes") for w in install.options)
    if frozen or install.constraints or install.files:
        return
    there = _installed_before(step, submission)
    for file, wanted in _NEEDS.items():
        if name := step.files.get(posixpath.join(path, file)):
            yield from _project(name, wanted, submission, there)


def _installed_before(step: Step, submission: Submission) -> set[str]:
    """The packages of which one version is there already, so that pip takes no other."""
    found: set[str] = set()
    for other in submission.image.steps:
        if other.command is step.command:
            break
        if install := pip.installed(other):
            files = [name for name in _files(install.files, other, submission) if name]
            found |= pip.pinned(files, submission.folder)
            texts = [text for text, _ in install.packages]
            found |= {pip.name_of(text) for text in texts if not pip.loose(text)}
    return found


def _project(
    name: str, wanted: Callable[[str], list[str]], submission: Submission, there: set[str]
) -> Iterator[Finding]:
    """The dependencies of a project that is installed without a lock."""
    text = submission.folder.text(name) or ""
    for one in wanted(text):
        why = "" if pip.name_of(one) in there else pip.loose(one)
        if why:
            line = text.count("\n", 0, max(text.find(one), 0)) + 1
            yield finding("unpinned-requirement", name, line, why)


def _of_pyproject(text: str) -> list[str]:
    try:
        found = tomllib.loads(text).get("project", {}).get("dependencies", [])
    except (tomllib.TOMLDecodeError, AttributeError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def _of_setup_cfg(text: str) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    found = parser.get("options", "install_requires", fallback="")
    return [line.strip() for line in found.splitlines() if line.strip()]


def _of_setup_py(text: str) -> list[str]:
    """``setup(install_requires=[…])`` or ``= NAME``, as far as it is written out."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    known = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            value = known.get(node.value.id) if isinstance(node.value, ast.Name) else node.value
            items = value.elts if isinstance(value, ast.List | ast.Tuple) else []
            texts = [one.value for one in items if isinstance(one, ast.Constant)]
            found += [one for one in texts if isinstance(one, str)]
    return found


_NEEDS = {
    "pyproject.toml": _of_pyproject,
    "setup.cfg": _of_setup_cfg,
    "setup.py": _of_setup_py,
}


def _conda(step: Step, submission: Submission) -> Iterator[Finding]:
    texts, command = step.texts(), step.command
    if len(texts) < 2:
        return
    verb = texts[2] if texts[1] == "env" and len(texts) > 2 else texts[1]
    if verb in ("create", "install", "update"):
        if "env" not in texts[1:2] and not {"-y", "--yes", "-yq", "-qy"} & set(texts):
            yield finding("interactive", command.file, command.line, "conda without -y asks")
        yield from _conda_words(step, submission)


def _conda_words(step: Step, submission: Submission) -> Iterator[Finding]:
    words = list(step.command.words[2:])
    while words:
        word = words.pop(0)
        text = expand(word.text, step.scope)
        if text in ("-f", "--file") and words:
            name = step.files.get(step.path(words.pop(0).text))
            yield from _environment(name, submission) if name else ()
        elif text in ("-c", "-n", "-p", "--channel", "--name", "--prefix") and words:
            given = words.pop(0)
            if "nightly" in given.text:
                said = f"the channel {given.text} holds builds that are deleted"
                yield finding("nightly", step.command.file, given.line, said)
        elif not text.startswith("-") and text not in ("create", "update") and "=" not in text:
            said = f"{text} has no version"
            yield finding("unpinned-package", step.command.file, word.line, said)


def _environment(name: str, submission: Submission) -> Iterator[Finding]:
    """Conda's environment.yml: ``name=version`` a line, pip's lines below ``pip:``."""
    below_pip = False
    for number, line in enumerate((submission.folder.text(name) or "").splitlines(), start=1):
        found = re.match(r"(\s*)-\s*['\"]?([^'\"#]+?)['\"]?\s*(?:#.*)?$", line)
        if not found:
            continue
        if found[2].rstrip() == "pip:":
            below_pip = True
        elif below_pip and len(found[1]) > 2:
            if (why := pip.loose(found[2])) and not found[2].startswith("-"):
                rule = "unpinned-git" if "/" in why else "unpinned-requirement"
                yield finding(rule, name, number, why)
        elif re.fullmatch(r"[\w.-]+(?:\s*[<>].*)?", found[2]) and _is_dependency(
            name, number, submission
        ):
            yield finding("unpinned-requirement", name, number, f"{found[2]} has no version")


def _is_dependency(name: str, number: int, submission: Submission) -> bool:
    """Whether a line of environment.yml stands below ``dependencies:``."""
    lines = (submission.folder.text(name) or "").splitlines()[: number - 1]
    heads = [line for line in lines if re.match(r"\w+:", line)]
    return bool(heads) and heads[-1].startswith("dependencies")


def _locked(step: Step, submission: Submission) -> Iterator[Finding]:
    """Uv sync, poetry install, pipenv install: with the lock file in the image?"""
    texts, command = step.texts(), step.command
    locks = {"uv": "uv.lock", "poetry": "poetry.lock", "pipenv": "Pipfile.lock", "pdm": "pdm.lock"}
    if len(texts) < 2 or texts[1] not in ("sync", "install", "add"):
        return
    lock = locks[command.name]
    if texts[1] == "add":
        for word in command.words[2:]:
            if not word.text.startswith("-") and (why := pip.loose(word.text)):
                yield finding("unpinned-package", command.file, word.line, why)
    elif (
        not any(posixpath.basename(path) == lock for path in step.files)
        and _bound(lock, step, submission) is None
    ):
        said = f"{command.name} {texts[1]} without {lock} in the image"
        yield finding("unlocked-environment", command.file, command.line, said)


def _system(step: Step) -> Iterator[Finding]:
    """Apt and its like: no questions, a fresh package list, no wholesale upgrade."""
    command, texts = step.command, step.texts()
    verb = next((text for text in texts[1:] if not text.startswith("-")), "")
    if command.name == "apk":
        return
    asks = ("install", "upgrade", "dist-upgrade", "full-upgrade", "remove", "purge", "autoremove")
    if verb in asks and command.name != "add-apt-repository" and not _answers(texts, step):
        said = f"{command.name} {verb} without -y asks"
        yield finding("interactive", command.file, command.line, said)
    if verb in ("upgrade", "dist-upgrade", "full-upgrade", "update") and (
        verb != "update" or command.name in ("yum", "dnf")
    ):
        yield finding("moving-system", command.file, command.line, f"{command.name} {verb}")
    if command.name == "add-apt-repository" and any("ppa:" in text for text in texts):
        said = f"{' '.join(texts)}: a PPA keeps the newest version only"
        yield finding("moving-system", command.file, command.line, said)


def _answers(texts: list[str], step: Step) -> bool:
    yes = any(
        text in ("--yes", "--assume-yes", "--assumeyes", "-y", "--force-yes")
        or re.fullmatch(r"-[a-zA-Z]*y[a-zA-Z]*|-qq+", text)
        or "Assume-Yes" in text
        for text in texts[1:]
    )
    return yes or _piped_yes(step.command)


def _piped_yes(command: Command) -> bool:
    return command.before == "|"
