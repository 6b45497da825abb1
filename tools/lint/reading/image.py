"""What a build would put where: the image's files, the shell commands run, the code started."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tools.lint.reading import bases
from tools.lint.reading.dockerfile import Dockerfile, Instruction, Scope, Stage, environment
from tools.lint.reading.folder import Folder
from tools.lint.reading.shell import SHELLS, Command, Word, commands, expand, of_words

_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_DEEP = 4  # scripts that call scripts


@dataclass(frozen=True, eq=False)
class Step:
    """A shell command at its place in the build, or at the start.

    Attributes:
        command: the command.
        stage: in which stage.
        scope: the variables that Docker knows there.
        workdir: the folder it begins in, ``cd`` before it followed.
        files: the image's files at this point: path in the image to path in the folder.
        starting: whether CMD or ENTRYPOINT runs it, not the build.
        shell: what reads it; empty for the JSON form.
    """

    command: Command
    stage: Stage
    scope: Scope
    workdir: str
    files: dict[str, str]
    starting: bool = False
    shell: str = "sh"

    def path(self, text: str) -> str:
        """An absolute path in the image."""
        return posixpath.normpath(posixpath.join(self.workdir, expand(text, self.scope)))

    def texts(self) -> list[str]:
        """The command's words, variables put in."""
        return [expand(word.text, self.scope) for word in self.command.words]


@dataclass
class Image:
    """The last stage, and what led to it.

    Attributes:
        files: its files by their path in the image; the value is the path in the folder.
        steps: the shell commands of the stages used, in order, those of scripts included.
        start: the commands that CMD and ENTRYPOINT run, those of scripts included.
        scope: the variables that a container starts with.
        starters: the CMD and ENTRYPOINT instructions that count.
    """

    files: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    start: list[Step] = field(default_factory=list)
    scope: Scope = field(default_factory=dict)
    starters: list[Instruction] = field(default_factory=list)


def build(folder: Folder, dockerfile: Dockerfile) -> Image:
    """Follow the stages that a build without ``--target`` builds."""
    image = Image()
    contents: dict[int, dict[str, str]] = {}
    for stage in dockerfile.used():
        files = dict(contents.get(stage.parent.index, {})) if stage.parent else {}
        contents[stage.index] = files
        for one in stage.instructions:
            if one.name in ("COPY", "ADD"):
                _copy(one, folder, dockerfile, contents, files)
            elif one.name == "RUN":
                image.steps += _run(one, stage, folder, files)
    if dockerfile.stages:
        last = dockerfile.stages[-1]
        image.files = contents[last.index]
        base = bases.known(last)
        image.scope = {**(base.environment if base else {}), **environment(last)}
        image.starters = starters(last)
        image.start += _started(last, folder, image)
    return image


def starters(stage: Stage) -> list[Instruction]:
    """ENTRYPOINT and CMD as they hold for a stage: the last of each, ENTRYPOINT first."""
    last: dict[str, Instruction] = {}
    for level in stage.lineage():
        own = [one for one in level.instructions if one.name in ("ENTRYPOINT", "CMD")]
        if any(one.name == "ENTRYPOINT" for one in own):
            last.pop("CMD", None)  # a new ENTRYPOINT resets the CMD that was inherited
        last.update({one.name: one for one in own})
    found = [last[name] for name in ("ENTRYPOINT", "CMD") if name in last]
    if len(found) == 2 and not found[0].json:
        return found[:1]
    return found


def _copy(
    one: Instruction,
    folder: Folder,
    dockerfile: Dockerfile,
    contents: dict[int, dict[str, str]],
    files: dict[str, str],
) -> None:
    texts = [expand(word.text, one.scope) for word in one.words]
    if one.documents and texts:
        _written(one, folder, one.path(texts[-1]), texts[-1].endswith("/"), files)
    if len(texts) < 2:
        return
    target, sources = texts[-1], texts[:-1]
    into = len(sources) > 1 or target.endswith("/") or target in (".", "./")
    place = one.path(target)
    into = into or any(path.startswith(f"{place}/") for path in files) or place == one.workdir
    if "from" in one.flags:
        stage = dockerfile.stage(expand(one.flags["from"], one.scope))
        for source in sources if stage else []:
            _graft(contents.get(stage.index, {}) if stage else {}, source, place, into, files)
        return
    for source in sources:
        _place(folder, source, place, into, files)


def _written(
    one: Instruction, folder: Folder, place: str, into: bool, files: dict[str, str]
) -> None:
    """COPY <<EOF: the document as a file whose lines are the Dockerfile's."""
    for document in one.documents:
        path = posixpath.join(place, document.target.text) if into else place
        name = f"Dockerfile<{document.target.line}>/{posixpath.basename(path)}"
        folder.add(name, "\n" * (document.target.line - 1) + document.body)
        files[path] = name


def _graft(
    given: dict[str, str], source: str, place: str, into: bool, files: dict[str, str]
) -> None:
    """COPY --from: the files of another stage below ``source``."""
    root = posixpath.normpath(posixpath.join("/", source))
    for path, name in list(given.items()):
        if path == root:
            files[posixpath.join(place, posixpath.basename(path)) if into else place] = name
        elif root == "/" or path.startswith(f"{root}/"):
            files[posixpath.normpath(posixpath.join(place, path[len(root) :].lstrip("/")))] = name


def _place(folder: Folder, source: str, place: str, into: bool, files: dict[str, str]) -> None:
    """COPY from the folder: of a folder its content, of a file or a glob each match."""
    wanted = posixpath.normpath(source.lstrip("/") or ".")
    for name in folder.matching(source):
        if wanted in folder.folders:
            below = name if wanted == "." else name[len(wanted) + 1 :]
            files[posixpath.join(place, below)] = name
        elif name == wanted:
            files[posixpath.join(place, posixpath.basename(name)) if into else place] = name
        else:  # of a glob: a file itself, or a file in a folder that matches
            depth = wanted.count("/")
            parts = name.split("/")
            below = "/".join(parts[depth + 1 :]) or parts[-1]
            files[posixpath.join(place, below) if into or below != parts[-1] else place] = name


def _run(one: Instruction, stage: Stage, folder: Folder, files: dict[str, str]) -> Iterator[Step]:
    found = of_words(one.words) if one.json else commands(_strip_flags(one.body), one.line)
    base = Step(Command((), one.line), stage, one.scope, one.workdir, dict(files), shell=one.shell)
    yield from _steps(found, base, folder, 0)


def _strip_flags(body: str) -> str:
    """A RUN without its ``--mount=…``; blanks keep the lines."""
    flags = re.match(r"(?:(?:\s|\\\n)*--[a-z]+=\S+)+", body)
    return body if not flags else re.sub(r"[^\n\\]", " ", flags.group()) + body[flags.end() :]


def _started(stage: Stage, folder: Folder, image: Image) -> Iterator[Step]:
    """The steps of CMD or ENTRYPOINT; CMD after an ENTRYPOINT is the latter's arguments."""
    first = image.starters[0] if image.starters else None
    line = first.line if first else stage.lineage()[0].instructions[0].line
    shell = first.shell if first and not first.json else ""
    if first and shell:
        found = commands(first.body, line)
    else:
        words = [word for one in image.starters for word in one.words]
        brought = bases.inherited(stage)
        if brought and (not first or bases.fits(brought, first)):
            words = [*(Word(text, text, line) for text in brought), *words]
        found = of_words(words)
    base = Step(Command((), line), stage, image.scope, stage.workdir, image.files, True, shell)
    yield from _steps(found, base, folder, 0)


def _steps(found: list[Command], base: Step, folder: Folder, depth: int) -> Iterator[Step]:
    """Commands as steps: ``cd`` and assignments are followed, scripts are opened."""
    scope, workdir = dict(base.scope), base.workdir
    for command in found:
        step = replace(base, command=command, scope=dict(scope), workdir=workdir)
        yield step
        for key, value in _assigned(command).items():
            scope[key] = expand(value, scope)
        if command.name == "cd" and len(command.words) > 1:
            workdir = step.path(command.words[1].text)
        script = script_of(step, folder)
        if script and depth < _DEEP and (text := folder.text(script)):
            inner = commands(text.replace("\r\n", "\n"), 1, script)
            inner = [one for given in inner for one in _given(given, command)]
            inside = replace(step, shell=_interpreter(text, step))
            yield from _steps(inner, inside, folder, depth + 1)


def _assigned(command: Command) -> dict[str, str]:
    """The variables that a command sets for those after it."""
    found = dict(command.assigned) if not command.words else {}
    if command.name in ("export", "declare", "local", "readonly"):
        for word in command.words[1:]:
            name, equals, value = word.text.partition("=")
            if equals:
                found[name] = value
    return found


def _given(command: Command, caller: Command) -> list[Command]:
    """A script's command; of `exec "$@"` the command that the script was given."""
    if command.words and command.words[0].text == "$@":
        at = next((n for n, w in enumerate(caller.words) if w.text.endswith("sh")), 0)
        rest = caller.words[at + 1 :]
        return of_words(rest, caller.file)
    return [command]


def _interpreter(text: str, step: Step) -> str:
    """What reads a script: the shell that is given it, or its first line's."""
    if step.command.name in SHELLS:
        return step.command.name
    first = text.lstrip("\n").partition("\n")[0]
    return re.split(r"[\s/]", first.strip())[-1] if first.startswith("#!") else "sh"


def script_of(step: Step, folder: Folder) -> str | None:
    """The folder's shell script that a command runs, if it runs one."""
    words = step.command.words
    if not words:
        return None
    if step.command.name in SHELLS | {"source", "."}:
        named = [w.text for w in words[1:] if not w.text.startswith("-")][:1]
        if any(re.fullmatch(r"-[a-z]*c", w.text) for w in words[1:]):
            return None
    else:
        first = words[0].text
        named = [first] if "/" in first else [f"{place}/{first}" for place in _PATH]
    for text in named:
        source = step.files.get(step.path(text))
        if source and not source.endswith(".py") and _is_shell(folder.text(source) or ""):
            return source
    return None


def _is_shell(text: str) -> bool:
    first = text.lstrip("\n").partition("\n")[0]
    return not first.startswith("#!") or bool(re.search(r"\b(?:ba|da|z|k|a)?sh\b", first))


def word_after(step: Step, *options: str) -> Word | None:
    """The value of the first of the options that is there, as ``--port 80`` or ``--port=80``."""
    words = step.command.words
    for place, word in enumerate(words):
        for option in options:
            if word.text == option and place + 1 < len(words):
                return words[place + 1]
            if word.text.startswith(f"{option}=") and option.startswith("--"):
                return Word(word.text[len(option) + 1 :], word.raw, word.line)
    return None
