"""Rules on files: is what COPY names there, and what RUN and CMD use in the image?"""

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

from tools.lint.finding import Finding, finding
from tools.lint.reading import code, pip
from tools.lint.reading.code import Module
from tools.lint.reading.dockerfile import Instruction
from tools.lint.reading.image import Step, script_of
from tools.lint.reading.shell import SHELLS, Word, expand
from tools.lint.reading.submission import Submission
from tools.lint.rules.instructions import PLAIN
from tools.recipe.faults import nearest

_REMOTE = re.compile(r"(?:https?|git|ftp|ssh)://|git@")
_ELSEWHERE = ("/usr/", "/opt/", "/etc/", "/bin/", "/tmp/", "/proc/", "/dev/", "/sys/")
_SUFFIXES = (".py", ".sh")
# Commands that put no model anywhere, whatever folder they name.
_BARREN = {
    *("mkdir chmod chown rm useradd adduser groupadd addgroup apt-get apt apk yum dnf".split()),
    *("update-alternatives cd export set".split()),
}


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on files."""
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            if one.name in ("COPY", "ADD"):
                yield from _sources(one, submission)
            elif one.name == "RUN":
                yield from _mounts(one, submission)
    for step in submission.image.steps:
        yield from _before(step, submission)
        yield from _script(step, submission)
    for step in submission.image.start:
        yield from _program(step, submission)
        yield from _script(step, submission)
    for module in submission.started:
        yield from _modules(module, submission)
        yield from _artifacts(module, submission)
        if module.error:
            line = module.error.lineno or 1
            yield finding("python-syntax", module.name, line, f"no Python: {module.error.msg}")


def _sources(one: Instruction, submission: Submission) -> Iterator[Finding]:
    """COPY and ADD without --from, whose sources are files of the folder."""
    if split := next((w for w in one.words if not one.json and re.search(r"[ \t]", w.raw)), None):
        said = f"{split.raw}: {one.name} splits at blanks, whatever the quotes"
        remedy = f'write {one.name} ["{split.text}", …], the JSON form'
        yield finding("missing-source", "Dockerfile", split.line, said, remedy=remedy)
        return
    if "from" in one.flags or len(one.words) < 2:
        return
    *given, target = one.words
    given = [word for word in given if not word.raw.startswith("<")]
    place = expand(target.text, one.scope)
    for word in given:
        if found := _source(word, one, submission):
            others = [expand(w.text, one.scope) for w in given if w is not word]
            yield from _weighed(found, word, others, submission)
    several = len(given) > 1 or any(
        re.search(r"[*?]", w.text) and len(submission.folder.matching(w.text)) > 1 for w in given
    )
    if several and not place.endswith("/") and place not in (".", "..") and "$" not in place:
        said = f"several sources and the destination {place}, which does not end with /"
        yield finding("destination-not-folder", "Dockerfile", target.line, said)


def _weighed(
    found: Finding, word: Word, others: list[str], submission: Submission
) -> Iterator[Finding]:
    """A glob without a match stops no build beside another source; alone, that of old builders."""
    if found.rule not in ("missing-source", "ignored-source") or not re.search(
        r"[*?\[]", word.text
    ):
        yield found
    elif not any(submission.folder.matching(text) or _REMOTE.match(text) for text in others):
        yield replace(found, severity="warning")


def _source(word: Word, one: Instruction, submission: Submission) -> Finding | None:
    folder, text = submission.folder, expand(word.text, one.scope)
    if "$" in text or (one.name == "ADD" and _REMOTE.match(text)):
        return None
    if _REMOTE.match(text):
        said = f"COPY takes no address: {text}"
        return finding(
            "missing-source", "Dockerfile", word.line, said, remedy="use ADD or RUN curl"
        )
    if re.match(r"~|[A-Za-z]:\\|/(?:home|Users)/", text):
        said = f"{text} is a path of your machine, not of the folder"
        return finding("home-path", "Dockerfile", word.line, said)
    if posixpath.normpath(text).startswith(".."):
        said = f"{text} lies outside of the folder"
        return finding("outside-context", "Dockerfile", word.line, said)
    if folder.matching(text):
        return None
    if folder.hidden(text):
        return finding("ignored-source", "Dockerfile", word.line, f".dockerignore hides {text}")
    path = folder.root / text.lstrip("/")
    if not re.search(r"[*?\[]", text) and path.is_dir():
        said = f"{text} is an empty folder, which git does not keep"
        return finding("missing-source", "Dockerfile", word.line, said)
    known = [*folder.context, *folder.folders]
    hint = nearest(text.removeprefix("./").strip("/"), known)
    return finding("missing-source", "Dockerfile", word.line, f"{text}: no such file{hint}")


def _mounts(one: Instruction, submission: Submission) -> Iterator[Finding]:
    """RUN --mount=type=bind,source=…: the source is a file of the folder."""
    for found in re.finditer(r"--mount=(\S*\btype=bind\S*)", one.body):
        options = dict(part.partition("=")[::2] for part in found[1].split(","))
        source = options.get("source") or options.get("src")
        if source and "from" not in options and not submission.folder.matching(source):
            line = one.line + one.body.count("\n", 0, found.start())
            said = f"--mount: {source}: no such file"
            yield finding("missing-source", "Dockerfile", line, said)


def _before(step: Step, submission: Submission) -> Iterator[Finding]:
    """RUN python x.py or bash x.sh, where x comes later or never."""
    for word, path in _operands(step):
        if not (word.text.startswith("/") or step.stage.settled()):
            continue
        if path in step.files or any(one.startswith(f"{path}/") for one in step.files):
            continue
        base = posixpath.basename(path)
        if _made(base, step, submission):
            continue
        where = [name for name in submission.folder.sizes if posixpath.basename(name) == base]
        if not where and (path.startswith(_ELSEWHERE) or step.command.file != "Dockerfile"):
            continue
        said = f"{word.text} is not in the image when this line runs"
        yield finding("used-before-copied", step.command.file, word.line, said)


def _operands(step: Step) -> Iterator[tuple[Word, str]]:
    """The script that a command names, with its path in the image."""
    name, words = step.command.name, step.command.words
    if code.PYTHON.fullmatch(name) or name in SHELLS | {"source", "."}:
        rest = [word for word in words[1:] if not word.text.startswith("-")]
        if any(word.text in ("-m", "-c") or re.fullmatch(r"-[a-z]*c", word.text) for word in words):
            return
        if rest and rest[0].text.endswith(_SUFFIXES) and "$" not in rest[0].text:
            yield rest[0], step.path(rest[0].text)
    elif words and words[0].text.startswith("./") and words[0].text.endswith(_SUFFIXES):
        yield words[0], step.path(words[0].text)


def _made(base: str, step: Step, submission: Submission) -> bool:
    """Whether an earlier command may have put a file of this name there."""
    for other in submission.image.steps:
        if other.command is step.command:
            break
        if other.stage is step.stage or other.stage in step.stage.lineage():
            texts = " ".join([*other.texts(), *(r.target.text for r in other.command.redirects)])
            if base in texts or re.search(r"\bclone\b|\btar\b|\bunzip\b|\bsubmodule\b", texts):
                return True
    return any(  # COPY <<EOF file, ADD of an address, COPY --from an image
        one.name in ("COPY", "ADD")
        and (
            "<<" in one.body
            or _REMOTE.search(one.body)
            or "from" in one.flags
            or _misses_a_folder(one, submission)  # which is said already
        )
        for level in step.stage.lineage()
        for one in level.instructions
    )


def _misses_a_folder(one: Instruction, submission: Submission) -> bool:
    given = [expand(word.text, one.scope) for word in one.words[:-1]]
    return any(
        "." not in posixpath.basename(text.rstrip("/")) and not submission.folder.matching(text)
        for text in given
    )


def _program(step: Step, submission: Submission) -> Iterator[Finding]:
    """What CMD starts: a script or a module that the image does not hold."""
    places = code.entries(step)
    named = [*((word.text, word.line, [path]) for word, path in _operands(step))]
    if places and not named and not _installs_folder(submission):
        target = places[0][0]
        named = [(posixpath.basename(target), step.command.line, [p for p, _ in places])]
    for text, line, paths in named:
        if not (text.startswith("/") or step.stage.settled()):
            continue
        if any(path in submission.image.files for path in paths):
            continue
        if paths[0].startswith(_ELSEWHERE) or _somewhere(paths, submission):
            continue
        if found := _absent(text, paths, step, submission):
            yield finding("missing-program", step.command.file, line, found)


def _installs_folder(submission: Submission) -> bool:
    """Whether pip installs a folder or a wheel, whose modules are then found anywhere."""
    found = (pip.installed(step) for step in submission.image.steps)
    return any(install and install.local for install in found)


def _somewhere(paths: list[str], submission: Submission) -> bool:
    """Whether the build fetches or installs files that cannot be told."""
    bases = {posixpath.basename(path) for path in paths}
    for step in submission.image.steps:
        texts = [*step.texts(), *(r.target.text for r in step.command.redirects)]
        joined = " ".join(texts)
        if any(base in joined for base in bases) or re.search(r"\bclone\b|\btar\b|unzip", joined):
            return True
    return any(
        one.name in ("COPY", "ADD")
        and (
            "<<" in one.body
            or _REMOTE.search(one.body)
            or ("from" in one.flags and not submission.dockerfile.stage(one.flags["from"]))
        )
        for stage in submission.dockerfile.used()
        for one in stage.instructions
    )


def _absent(text: str, paths: list[str], step: Step, submission: Submission) -> str:
    """Why the program is not there; empty when a package may bring it."""
    base = posixpath.basename(paths[0])
    if base in ("__init__.py", "__main__.py"):
        base = posixpath.basename(posixpath.dirname(paths[0]))
    there = [p for p in submission.image.files if posixpath.basename(p) == base]
    if there:
        return f"{text} is at {there[0]}, CMD looks at {paths[0]}"
    words = [word.text for word in step.command.words]
    package = posixpath.relpath(paths[0], step.workdir).split("/")[0].removesuffix(".py")
    if "-m" in words and not _in_folder(package, submission):
        return ""  # a package that pip installs
    if base.endswith(".py") or base.endswith(".sh"):
        return f"{paths[0]} is not in the image"
    return ""


def _in_folder(package: str, submission: Submission) -> bool:
    return package in submission.folder.folders or f"{package}.py" in submission.folder.sizes


def _script(step: Step, submission: Submission) -> Iterator[Finding]:
    """A script that is started: line ends; by its path, also rights and first line."""
    words = step.command.words
    if not words or step.command.file != "Dockerfile":
        return
    name = script_of(step, submission.folder) or step.files.get(step.path(words[0].text))
    text = submission.folder.text(name) if name else None
    if not name or text is None:
        return
    text = text.lstrip("\n")
    if "\r\n" in text and not _mended(name, submission):
        yield finding("windows-line-ends", name, 1, f"{name} has Windows line ends")
    by_path = step.starting or "/" in words[0].text
    direct = by_path and step.files.get(step.path(words[0].text)) == name
    if not direct:
        return
    path = submission.folder.root / name
    rights = path.stat().st_mode if path.exists() else 0  # a here document has no rights
    if not rights & 0o111 and not _chmod(name, submission):
        said = f"{words[0].text} is started, and {name} is not executable"
        yield finding("not-executable", step.command.file, step.command.line, said)
    if not text.startswith("#!") and not step.shell and not step.command.shell:
        yield finding("no-shebang", name, 1, f"{name} does not begin with #!")


def _mended(name: str, submission: Submission) -> bool:
    return any(step.command.name in ("dos2unix", "sed", "tr") for step in submission.image.steps)


def _chmod(name: str, submission: Submission) -> bool:
    """Whether the build makes a file executable."""
    base = posixpath.basename(name)
    for step in submission.image.steps:
        texts = step.texts()
        if step.command.name == "find" and "chmod" in texts:
            return True
        if step.command.name == "chmod" and any(
            base in text or text.endswith((".sh", "/*", ".", "/")) or "-R" in texts
            for text in texts[1:]
        ):
            return True
        if step.command.name == "install" and base in " ".join(texts):
            return True
    copied = [
        one
        for stage in submission.dockerfile.used()
        for one in stage.instructions
        if one.name in ("COPY", "ADD") and "chmod" in one.flags
    ]
    return any(base in one.body or "." in [w.text for w in one.words] for one in copied)


def _artifacts(module: Module, submission: Submission) -> Iterator[Finding]:
    """A folder that the server loads a model from, and that nothing puts there."""
    scope = {**submission.image.scope, **module.step.scope}
    for call in (node for node in module.live() if isinstance(node, ast.Call)):
        if not code.called(call).endswith(("from_pretrained", "load_adapter")):
            continue
        given = [code.value(one, module, scope) for one in call.args[:2]]
        for path in (one for one in given if isinstance(one, str)):
            if not re.match(r"\.{0,2}/|(?:checkpoints?|models?|outputs?|results|weights)/", path):
                continue
            if _unheard(path, module, submission):
                said = f"{path} is loaded, and nothing puts it there"
                yield finding("missing-artifact", module.name, call.lineno, said)


def _unheard(path: str, module: Module, submission: Submission) -> bool:
    """Whether nothing but the code that loads it speaks of a folder."""
    place = posixpath.normpath(posixpath.join(module.step.workdir, path))
    if any(one == place or one.startswith(f"{place}/") for one in submission.image.files):
        return False
    steps, silent = list(submission.steps()), {"ENV", "ARG", "LABEL", "WORKDIR", "VOLUME"}
    if only_packages(submission):  # then nothing fills a folder by the name of one above it
        path = posixpath.relpath(place, posixpath.commonpath([place, module.step.workdir]))
        steps = [step for step in steps if not _barren(step)]
        silent.add("RUN")
    parts = {part for part in path.split("/") if part not in ("", ".", "..")}
    texts = [" ".join(step.texts()) for step in steps]
    texts += [str(node.value) for one in submission.built for node in code.strings(one)]
    texts += [
        one.body
        for stage in submission.dockerfile.used()
        for one in stage.instructions
        if one.name not in silent
    ]
    fetches = any(
        isinstance(node, ast.Call)
        and code.called(node).endswith(("snapshot_download", "hf_hub_download", "urlretrieve"))
        for one in submission.started
        for node in one.live()
    )
    return not fetches and not any(part in text for part in parts for text in texts)


def only_packages(submission: Submission) -> bool:
    """Whether the build fetches packages, and nothing else but what COPY takes from the folder."""
    foreign = any(
        one.name == "ADD" or "from" in one.flags
        for stage in submission.dockerfile.used()
        for one in stage.instructions
        if one.name in ("ADD", "COPY")
    )
    known = PLAIN.match(submission.dockerfile.stages[-1].image)
    return bool(known) and not foreign and all(map(_barren, submission.image.steps))


def _barren(step: Step) -> bool:
    return step.command.name in _BARREN or pip.installed(step) is not None


def _modules(module: Module, submission: Submission) -> Iterator[Finding]:
    """An import of a file that lies beside its importer in the folder but not in the image."""
    if not module.place:
        return
    told: set[str] = set()
    pip_names = _installed(submission)
    for name, level, line in code.imports(module):
        parts = name.split(".")
        if level > 1 or not name or parts[0] in sys.stdlib_module_names:
            continue
        for path in dict.fromkeys((parts[0], "/".join(parts))):
            if path in told or (not level and parts[0] in pip_names):
                break
            if lies := _left_behind(path, level, module, submission):
                told.add(path)
                said = f"imports {path.replace('/', '.')}, and {lies} is not copied"
                yield finding("missing-module", module.name, line, said)
                break


def _installed(submission: Submission) -> set[str]:
    """Names that pip was asked for, as an import may spell them."""
    found: set[str] = set()
    for step in submission.image.steps:
        if install := pip.installed(step):
            found |= {pip.name_of(text) for text, _ in install.packages}
            files = [step.files.get(step.path(word.text)) for word in install.files]
            lines = [pip.requirements(name, submission.folder) for name in files if name]
            found |= {pip.name_of(one.text) for file in lines for one in file}
    return {name.replace("-", "_") for name in found}


def _left_behind(path: str, level: int, module: Module, submission: Submission) -> str:
    """The folder's file of a module that the image lacks; empty where there is none."""
    beside = posixpath.dirname(module.name)
    folders = [beside]  # of ``import app.model`` in app/main.py also those above
    while "/" in path and not level and folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    there = any(
        place.endswith(f"/{path}.py") or f"/{path}/" in place for place in submission.image.files
    )
    if there or _made(f"{posixpath.basename(path)}.py", module.step, submission):
        return ""
    names = [
        posixpath.join(folder, file)
        for folder in folders
        for file in (f"{path}.py", f"{path}/__init__.py")
    ]
    return next((name for name in names if name in submission.folder.sizes), "")
