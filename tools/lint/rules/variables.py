"""Rules on variables: organizers give the build no arguments and the container no environment."""

import ast
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import code
from tools.lint.reading.code import Module
from tools.lint.reading.dockerfile import PLATFORM, PREDEFINED, Dockerfile, Instruction, pairs
from tools.lint.reading.image import Step
from tools.lint.reading.shell import variables
from tools.lint.reading.submission import Submission

# What shells and common base images (python, nvidia/cuda, pytorch, conda) set themselves.
_GIVEN = {
    *("PATH HOME PWD OLDPWD USER LOGNAME HOSTNAME SHELL UID EUID GID TERM LANG LC_ALL".split()),
    *("SHLVL IFS RANDOM SECONDS LINENO BASH_SOURCE BASH_VERSION OSTYPE TMPDIR _ OPTARG".split()),
    *("OPTIND REPLY PPID PYTHON_VERSION PYTHON_SHA256 PYTHON_PIP_VERSION GPG_KEY".split()),
    *("LD_LIBRARY_PATH LIBRARY_PATH PYTHONPATH CPATH PKG_CONFIG_PATH LD_PRELOAD".split()),
    *("CUDA_HOME CUDA_VERSION CUDA_PATH CONDA_DIR CONDA_PREFIX MAMBA_ROOT_PREFIX".split()),
    *("MAMBA_USER ID VERSION_CODENAME VERSION_ID NB_USER NB_UID PYTORCH_VERSION".split()),
    *("VIRTUAL_ENV UV_PROJECT_ENVIRONMENT".split()),
}
_GIVEN_FAMILY = re.compile(r"(?:NVIDIA|NV|CUDA|NCCL|CUDNN)_\w+|PYTHON\w*|PIP_\w+|LC_\w+")
_USED_IN = {"FROM", "COPY", "ADD", "WORKDIR", "ENV", "EXPOSE", "USER", "VOLUME", "ARG"}
_IF = re.compile(r"\bif\s((?:\[|test\s).*?)[;\n\\\s]\s*then\b(.*?)\b(?:else|elif|fi)\b", re.DOTALL)
_EMPTY = re.compile(r"-z\s|!\s|=\s*(?:\"\"|'')")
_PLACEHOLDER = re.compile(
    r"(?i)<[a-z][\w -]*>|\b(?:change|replace)[_-]?me\b|\bTODO\b|\bxxx+\b|\bINSERT_\w+"
    r"|(?<![a-z])your[_-]?(?:user_?name|org|repo|token|model|name|hf|key|api|team)\w*"
)


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on variables."""
    dockerfile = submission.dockerfile
    required = set(_required(dockerfile))
    for name, line in sorted(required, key=lambda one: one[1]):
        yield finding("required-argument", "Dockerfile", line, f"ARG {name} has no default")
    names = {name for name, _ in required}
    yield from _in_instructions(dockerfile, names)
    for step in submission.steps():
        yield from _in_step(step, dockerfile, names, submission)
    yield from _in_code(submission)
    yield from _placeholders(dockerfile)
    yield from _secrets(submission)


def _required(dockerfile: Dockerfile) -> Iterator[tuple[str, int]]:
    """Arguments without a default that something uses without one."""
    used = {stage.index for stage in dockerfile.used()}
    instructions = [
        *dockerfile.before,
        *(one for s in dockerfile.stages if s.index in used for one in s.instructions),
    ]
    for place, one in enumerate(instructions):
        for word in one.words if one.name == "ARG" else []:
            name = word.text
            if "=" in name or name in PREDEFINED | PLATFORM:
                continue
            if one.scope.get(name) is not None or _global(dockerfile, name, one):
                continue
            if any(_needs(later, name) for later in instructions[place + 1 :]):
                yield name, word.line


def _global(dockerfile: Dockerfile, name: str, one: Instruction) -> bool:
    """Whether a stage's bare ARG takes the default of the one before FROM."""
    if one in dockerfile.before:
        return False
    return any(
        word.text == name or word.text.startswith(f"{name}=")
        for early in dockerfile.before
        for word in early.words
    )


def _needs(one: Instruction, name: str) -> bool:
    if one.name in ("ARG", "LABEL") or (one.name == "RUN" and name in provided(one.body)):
        return False
    return any(found == name and default is None for found, default in variables(one.body))


def provided(text: str) -> set[str]:
    """The variables that a shell text gives a value, or does without: ``:=``, ``if [ -n "$X" ]``.

    A test that ends in ``exit`` where the variable is empty is none: the build stops there.
    """
    found = set(re.findall(r"\$\{(\w+):?=", text))
    for condition, branch in _IF.findall(text):
        if not (_EMPTY.search(condition) and re.search(r"\b(?:exit|return|false)\b", branch)):
            found |= {name for name, _ in variables(condition)}
    for condition in re.findall(r"\[\s+-z\s+([^\]]*)\]\s*\|\|", text):
        found |= {name for name, _ in variables(condition)}
    return found


def _given(name: str) -> bool:
    return name in _GIVEN or bool(_GIVEN_FAMILY.fullmatch(name))


def _in_instructions(dockerfile: Dockerfile, required: set[str]) -> Iterator[Finding]:
    """Variables that Docker expands itself."""
    used = {id(one) for stage in dockerfile.used() for one in stage.instructions}
    for one in dockerfile:
        if one.name not in _USED_IN or (id(one) not in used and one not in dockerfile.before):
            continue
        own = dict(pairs(one)) if one.name == "ENV" else {}
        for word in one.words:
            for name, default in variables(word.raw):
                if default is not None or one.scope.get(name) is not None or name in required:
                    continue
                if _given(name) or (name in own and ":" in word.raw.partition("=")[2]):
                    continue
                yield _unresolved(name, "Dockerfile", word.line, dockerfile, one.name == "FROM")


def _unresolved(
    name: str, file: str, line: int, dockerfile: Dockerfile, in_from: bool = False
) -> Finding:
    before = {word.text.partition("=")[0] for one in dockerfile.before for word in one.words}
    if name in before and not in_from:
        said = f"${name} is an ARG before FROM, which ends at FROM"
        return finding("argument-out-of-scope", file, line, said)
    return finding("unresolved-variable", file, line, f"${name} is set nowhere")


def _in_step(
    step: Step, dockerfile: Dockerfile, required: set[str], submission: Submission
) -> Iterator[Finding]:
    """Variables that a shell expands: in RUN, CMD, ENTRYPOINT and the scripts they run."""
    own = _set_in(step, submission)
    for word in step.command.words:
        if step.command.name in ("[", "test", "[["):
            continue
        if word.raw.startswith("'") or (
            step.command.name in ("sh", "bash", "eval") and "\n" in word.raw
        ):
            continue
        for name, default in variables(word.raw):
            known = step.scope.get(name) is not None or name in step.command.assigned
            if default is None and not known and name not in own and not _given(name):
                if name in required:
                    continue
                yield _unresolved(name, step.command.file, word.line, dockerfile)


def _set_in(step: Step, submission: Submission) -> set[str]:
    """Names that the text around a command sets in a way that is not followed."""
    text = submission.folder.text(step.command.file) or ""
    found = set(re.findall(r"(?:^|[\s;&|({\"'])([A-Za-z_]\w*)\+?=", text, re.MULTILINE))
    found |= set(re.findall(r"\b(?:for|read(?:\s+-\w+)*|select|getopts\s+\S+)\s+(\w+)", text))
    if re.search(r"(?:^|[\s;&])(?:source|\.)\s+\S+", text):
        found |= set(_dotenv(submission))
    if step.command.file == "Dockerfile":  # there ENV and ARG lines of other stages look the same
        found -= {
            word.text.partition("=")[0]
            for one in submission.dockerfile
            if one.name in ("ENV", "ARG", "LABEL")
            for word in one.words
        }
    return found | provided(around(step, text))


def around(step: Step, text: str) -> str:
    """The script that a command stands in; in the Dockerfile, its instruction."""
    if step.command.file != "Dockerfile":
        return text
    line = step.command.line
    own = (one.body for one in step.stage.instructions if one.line <= line <= one.end)
    return next(own, "")


def _dotenv(submission: Submission) -> list[str]:
    names = [name for name in submission.image.files.values() if name.endswith(".env")]
    text = "\n".join(submission.folder.text(name) or "" for name in names)
    return re.findall(r"^\s*(?:export\s+)?(\w+)=", text, re.MULTILINE)


def _in_code(submission: Submission) -> Iterator[Finding]:
    """``os.environ["NAME"]`` in what the container runs, where nothing sets NAME."""
    known = set(submission.image.scope) | set(_dotenv(submission))
    for step in submission.image.start:
        known |= set(step.scope) | set(step.command.assigned)
    for module in submission.started:
        known |= set(_set_by(module))
    told: set[str] = set()
    for module in submission.started:
        for name, line, guarded in reads(module):
            if name in known or name in told or _given(name) or guarded:
                continue
            told.add(name)
            said = f"os.environ[{name!r}] is read, and nothing sets {name}"
            yield finding("missing-variable", module.name, line, said)


def _set_by(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree) if module.tree else ():
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            if ast.unparse(node.value).endswith("environ") and isinstance(node.slice, ast.Constant):
                yield str(node.slice.value)
        elif (
            isinstance(node, ast.Call)
            and node.args
            and code.called(node).endswith(("environ.setdefault", "putenv"))
        ):
            yield str(code.value(node.args[0], module, {}))


def reads(module: Module) -> Iterator[tuple[str, int, bool]]:
    """The variables that a module takes for granted: name, line, whether guarded."""
    guarded: set[int] = set()
    for node in module.live():
        if isinstance(node, ast.Try) or (
            isinstance(node, ast.If | ast.IfExp) and "environ" in ast.unparse(node.test)
        ):
            guarded.update(id(one) for one in ast.walk(node))
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) in ("os.environ", "environ")
            and isinstance(node.slice, ast.Constant)
        ):
            yield str(node.slice.value), node.lineno, id(node) in guarded


def _placeholders(dockerfile: Dockerfile) -> Iterator[Finding]:
    used = [one for stage in dockerfile.used() for one in stage.instructions]
    for one in used:
        if one.name != "ENV":
            continue
        for name, word in pairs(one):
            if found := _PLACEHOLDER.search(word.text):
                said = f"ENV {name} still holds {found.group()}"
                yield finding("placeholder", "Dockerfile", word.line, said)


def _secrets(submission: Submission) -> Iterator[Finding]:
    """RUN --mount=type=secret and type=ssh."""
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            if one.name == "RUN" and (
                found := re.search(r"--mount=\S*\btype=(secret|ssh)\b", one.body)
            ):
                line = one.line + one.body.count("\n", 0, found.start())
                said = f"RUN --mount=type={found[1]} needs what only you have"
                yield finding("build-secret", "Dockerfile", line, said)
