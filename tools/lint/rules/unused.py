"""What the build downloads and nothing uses: the sign that another model is served than meant."""

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tools.lint.finding import Finding, finding
from tools.lint.reading import code
from tools.lint.reading.fetches import PROGRAMS, output_file, output_folder
from tools.lint.reading.image import Step, word_after
from tools.lint.reading.shell import Word, expand
from tools.lint.reading.submission import Submission

_OUTPUT = (
    *("--local-dir --local_dir -O -o --output --output-document -d -P --directory --dir".split()),
    *("--out_dir --out-dir --output_dir --output-dir --checkpoint_dir --save_dir".split()),
    "--cache_dir",
)
# A name with a star, as the shell and glob.glob take it, without its folder.
_GLOB = re.compile(r"(?<![\w.?-])[\w.?-]*\*[\w.*?-]*")


@dataclass(frozen=True)
class Download:
    """What was fetched: how it may be called later, and where it was fetched."""

    names: frozenset[str]
    shown: str
    file: str
    line: int
    command: Step


def check(submission: Submission) -> Iterator[Finding]:
    """Downloads of the build that no later line, no start and no code names."""
    found = [*_commands(submission), *_code(submission)]
    for one in found:
        if not any(_named(name, one, submission) for name in one.names):
            yield finding(
                "unused-download", one.file, one.line, f"{one.shown} is fetched, never used"
            )


def _commands(submission: Submission) -> Iterator[Download]:
    for step in submission.image.steps:
        texts, command = step.texts(), step.command
        if command.name in ("huggingface-cli", "hf") and "download" in texts:
            given = [t for t in texts[texts.index("download") + 1 :] if not t.startswith("-")]
            for text in given[:1]:
                yield from _download(text, step, word_after(step, *_OUTPUT))
        elif command.name == "git" and "clone" in texts:
            yield from _clone(texts[texts.index("clone") + 1 :], step)
        elif command.name in PROGRAMS:
            yield from _fetched(step, submission)
        elif code.PYTHON.fullmatch(command.name) and any("download" in t for t in texts[1:2]):
            repo = word_after(step, "--repo_id", "--repo-id", "--model", "--model_id", "--repo")
            if repo:
                yield from _download(
                    expand(repo.text, step.scope), step, word_after(step, *_OUTPUT)
                )


def _clone(texts: list[str], step: Step) -> Iterator[Download]:
    """What ``git clone ADDRESS [FOLDER]`` leaves."""
    place = next((n for n, text in enumerate(texts) if re.search(r"[:/]", text)), None)
    if place is None:
        return
    address, into = texts[place], [t for t in texts[place + 1 :] if not t.startswith("-")][:1]
    names = frozenset([address, _base(into[0])] if into else [address, _base(address)])
    yield Download(names, address, step.command.file, step.command.line, step)


def _piped(step: Step, submission: Submission) -> bool:
    steps = submission.image.steps
    place = next(n for n, one in enumerate(steps) if one is step)
    return place + 1 < len(steps) and steps[place + 1].command.before == "|"


def _fetched(step: Step, submission: Submission) -> Iterator[Download]:
    """What ``wget ADDRESS`` and the like leave in a file."""
    address = next((t for t in step.texts()[1:] if re.match(r"https?://", t)), None)
    file = output_file(step)
    piped = any(r.operator in (">", ">>") for r in step.command.redirects)
    if address and not piped and not (file and file.text == "-") and not _piped(step, submission):
        yield from _download(address, step, file, output_folder(step))


def _download(
    text: str, step: Step, into: Word | None, folder: Word | None = None
) -> Iterator[Download]:
    names = {text} if into else {text, _base(text)}
    for word in filter(None, (into, folder)):
        place = expand(word.text, step.scope).rstrip("/")
        names |= {_base(place), place}
    yield Download(frozenset(filter(None, names)), text, step.command.file, step.command.line, step)


def _base(text: str) -> str:
    return posixpath.basename(text.partition("?")[0].rstrip("/")).removesuffix(".git")


def _code(submission: Submission) -> Iterator[Download]:
    """``snapshot_download`` in a script that RUN runs."""
    for module in submission.built:
        scope = {**submission.image.scope, **module.step.scope}
        for call in (node for node in module.live() if isinstance(node, ast.Call)):
            if not code.called(call).endswith(("snapshot_download", "hf_hub_download")):
                continue
            first = code.keyword(call, "repo_id") or (call.args[0] if call.args else None)
            repo = code.value(first, module, scope)
            place = code.keyword(call, "local_dir", "cache_dir")
            into = code.value(place, module, scope) if place is not None else None
            if not isinstance(repo, str) or isinstance(into, code.Unknown):
                continue
            names = {repo, _base(repo)} if into is None else {repo, _base(str(into)), str(into)}
            yield Download(frozenset(names), repo, module.name, call.lineno, module.step)


def _named(name: str, one: Download, submission: Submission) -> bool:
    """Whether a name stands in anything but its own download."""
    if name.lower() in ("", ".", "/"):
        return True
    texts = _texts(one, submission)
    return any(name in text or _matched(_base(name), text) for text in texts)


def _matched(name: str, text: str) -> bool:
    """Whether a glob of the text finds the file; a star alone says nothing."""
    globs = _GLOB.findall(text) if "*" in text else []
    return any(re.search(r"\w", glob) and fnmatchcase(name, glob) for glob in globs)


def _texts(one: Download, submission: Submission) -> Iterator[str]:
    """Everything that could use a download: later commands, instructions, the image's texts."""
    own = {one.file} | ({_script(one)} if _script(one) else set())
    later = False
    for step in submission.image.steps:
        if later and step.command.line != one.line:
            yield " ".join(
                [*step.texts(), *(r.target.text + r.body for r in step.command.redirects)]
            )
        elif later and step.command is not one.command.command:
            yield " ".join(step.texts())
        later = later or step.command is one.command.command
    for step in submission.image.start:
        yield " ".join([*step.texts(), *step.command.assigned.values()])
    for stage in submission.dockerfile.used():
        for instruction in stage.instructions:
            if instruction.name not in ("RUN", "LABEL", "MAINTAINER"):
                yield instruction.body
    started = {module.name for module in submission.started}
    imported = {name for module in submission.started for name, _, _ in code.imports(module)}
    for name in sorted(set(submission.image.files.values())):
        if posixpath.basename(name) in ("Dockerfile", "README.md") or name.endswith(".md"):
            continue
        module = posixpath.basename(name).removesuffix(".py")
        if name in own - started and module not in imported:
            continue
        yield submission.folder.text(name) or ""


def _script(one: Download) -> str:
    """The script that fetches, when it is given the name by its command."""
    texts = one.command.texts()
    return next((one.command.files.get(one.command.path(t), "") for t in texts[1:2]), "")
