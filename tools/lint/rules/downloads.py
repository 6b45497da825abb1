"""Rules on downloads: may the organizers have it, is it the same again, does anything use it?"""

import ast
import posixpath
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import code
from tools.lint.reading.code import Module
from tools.lint.reading.dockerfile import pairs
from tools.lint.reading.image import Step, word_after
from tools.lint.reading.pip import BRANCHES
from tools.lint.reading.shell import expand, variables
from tools.lint.reading.submission import Submission
from tools.lint.rules.variables import around, provided

# Repositories that ask for an accepted licence and a token, or are gone (the hub's model pages).
_GATED = re.compile(
    r"(?i)(?:https?://(?:huggingface\.co|hf\.co)/)?(?P<id>"
    r"meta-llama/[\w.-]+|google/(?:gemma|codegemma|recurrentgemma|paligemma|medgemma|shieldgemma)[\w.-]*"
    r"|bigcode/starcoder(?:base|plus)?(?:-\w+)?|tiiuae/falcon-180b[\w-]*|databricks/dbrx[\w-]*"
    r"|(?:cohereforai|coherelabs)/c4ai-[\w.-]+|mistralai/(?:mistral-large|codestral|mixtral-8x22b)[\w.-]*"
    r"|decapoda-research/[\w.-]+|nvidia/nemotron-4[\w.-]*)"
    r"(?:/resolve/.*|/?)"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# A model's name in these is a folder or a message: nothing is fetched.
_QUIET = {
    "mkdir",
    "echo",
    "printf",
    "cd",
    "rm",
    "ls",
    "mv",
    "cp",
    "export",
    "test",
    "[",
    "du",
    "find",
}
_PERSONAL = re.compile(
    r"(?i)drive\.google\.com|docs\.google\.com|dropbox(?:usercontent)?\.com|1drv\.ms|onedrive\.live|"
    r"sharepoint\.com|mega\.nz|wetransfer\.com|we\.tl/|pan\.baidu\.com|mediafire\.com|icloud\.com|"
    r"file\.io|transfer\.sh|gofile\.io|ngrok|trycloudflare|pcloud\.|disk\.yandex"
)
_PRIVATE = re.compile(
    r"(?i)^(?:https?|ftp|rsync)://(?:[^/@]*@)?(?:localhost|127\.|10\.\d|192\.168\.|host\.docker|"
    r"172\.(?:1[6-9]|2\d|3[01])\.|[\w.-]+\.(?:local|internal|lan|corp)(?:[:/]|$))"
)
_BRANCH = re.compile(
    r"(?i)huggingface\.co/.*/(?:resolve|raw|blob)/(?:main|master)/|"
    r"raw\.githubusercontent\.com/[^/]+/[^/]+/(?:main|master|refs/heads)/|"
    r"github\.com/[^/]+/[^/]+/"
    r"(?:archive/(?:refs/heads/)?(?:main|master)|releases/latest|raw/(?:main|master))|"
    r"repo\.anaconda\.com/\S*-latest-"
)
_FETCH = {"wget", "curl", "aria2c", "axel", "gdown"}
_HUB_CALLS = ("snapshot_download", "hf_hub_download", "from_pretrained", "cached_download")
_CREDENTIAL = re.compile(r"(?i)token|key|secret|passw")
_LOGINS = ("login", "huggingface_hub.login", "interpreter_login", "notebook_login")


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on downloads."""
    told: set[str] = set()
    steps = list(submission.steps())
    for place, step in enumerate(steps):
        after = steps[place + 1] if place + 1 < len(steps) else None
        yield from _gated_step(step, after, told)
        yield from _logins(step, after, submission)
        yield from _addresses(step, steps[place:])
        yield from _hub(step)
    yield from _gated_env(submission, told)
    for module in submission.modules():
        yield from _gated_code(module, submission, told)
        yield from _calls(module, submission)
    yield from _adds(submission)


def _fallback(after: Step | None) -> bool:
    return after is not None and after.command.before == "||"


def _gated_step(step: Step, after: Step | None, told: set[str]) -> Iterator[Finding]:
    if step.command.name in _QUIET or _fallback(after):
        return
    for word in step.command.words:
        text = expand(word.text, step.scope)
        found = _GATED.fullmatch(text.rpartition("=")[2])
        if found and found["id"] not in told:
            told.add(found["id"])
            said = f"{found['id']} is gated and has no fallback"
            yield finding("gated-model", step.command.file, word.line, said)


def _gated_env(submission: Submission, told: set[str]) -> Iterator[Finding]:
    """ENV MODEL=meta-llama/…: the code reads the name from there."""
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            for _, word in pairs(one) if one.name == "ENV" else []:
                found = _GATED.fullmatch(word.text)
                if found and found["id"] not in told:
                    told.add(found["id"])
                    said = f"{found['id']} is gated and has no fallback"
                    yield finding("gated-model", "Dockerfile", word.line, said)


def _gated_code(module: Module, submission: Submission, told: set[str]) -> Iterator[Finding]:
    if module.tree is None:
        return
    caught = {
        id(node)
        for one in ast.walk(module.tree)
        if isinstance(one, ast.Try) and _tries_another(one)
        for part in one.body
        for node in ast.walk(part)
    }
    for node in code.strings(module):
        found = _GATED.fullmatch(str(node.value))
        if not found or found["id"] in told or id(node) in caught:
            continue
        if _is_default(node, module, submission):
            continue
        told.add(found["id"])
        said = f"{found['id']} is gated and has no fallback"
        yield finding("gated-model", module.name, node.lineno, said)


def _tries_another(node: ast.Try) -> bool:
    """Whether a handler loads something else."""
    return any(
        isinstance(call, ast.Call) and code.called(call).endswith(_HUB_CALLS)
        for handler in node.handlers
        for call in ast.walk(handler)
    )


def _is_default(node: ast.Constant, module: Module, submission: Submission) -> bool:
    """Whether a name is only the default of something that is set: ``getenv("MODEL", name)``."""
    scope = submission.image.scope
    for call in (one for one in module.live() if isinstance(one, ast.Call)):
        if node in call.args[1:] and code.called(call).endswith(("environ.get", "getenv")):
            name = code.value(call.args[0], module, scope)
            return isinstance(name, str) and scope.get(name) is not None
        if code.called(call).endswith("add_argument") and node is code.keyword(call, "default"):
            names = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
            return word_after(module.step, *names) is not None
    return False


def _tested(step: Step, submission: Submission) -> bool:
    """Whether it runs only where there is a token: ``if [ -n "$HF_TOKEN" ]; then … login``."""
    text = submission.folder.text(step.command.file) or ""
    names = {name for name in provided(around(step, text)) if not step.scope.get(name)}
    used = {name for word in step.command.words for name, _ in variables(word.raw)}
    return bool(names & used or any(_CREDENTIAL.search(name) for name in names))


def _logins(step: Step, after: Step | None, submission: Submission) -> Iterator[Finding]:
    """``huggingface-cli login``, ``wandb login``: with whose token?"""
    texts = step.texts()
    name = step.command.name
    if code.PYTHON.fullmatch(name) and "-m" in texts:
        texts = texts[texts.index("-m") + 1 :]
        name = texts[0] if texts else ""
    asks = (
        (name in ("huggingface-cli", "hf") and "login" in texts)
        or (name == "wandb" and "login" in texts)
        or (name == "docker" and "login" in texts)
    )
    if asks and not _fallback(after) and not _tested(step, submission):
        said = f"{name} login needs a token"
        yield finding("needs-token", step.command.file, step.command.line, said)
    if name in ("aws", "gsutil", "gcloud", "azcopy", "s3cmd", "scp", "rsync", "sftp", "dvc"):
        public = {"--no-sign-request", "--version"} & set(texts) or "install" in texts
        if not public and (
            name != "rsync" or any(re.match(r"[\w.-]+@?[\w.-]*:", t) for t in texts[1:])
        ):
            said = f"{name} asks for your credentials"
            yield finding("private-source", step.command.file, step.command.line, said)


def _addresses(step: Step, rest: list[Step]) -> Iterator[Finding]:
    """What wget, curl and their like fetch."""
    command = step.command
    if command.name == "gdown":
        said = "gdown fetches from somebody's Google Drive"
        yield finding("personal-storage", command.file, command.line, said)
        return
    for word in command.words:
        text = expand(word.text, step.scope)
        if _PERSONAL.search(text) and "://" in text:
            yield finding(
                "personal-storage", command.file, word.line, f"{text} is personal storage"
            )
        elif command.name in _FETCH and _PRIVATE.match(text) and not step.starting:
            yield finding(
                "private-source", command.file, word.line, f"{text} is reached by you only"
            )
        elif command.name in _FETCH and _BRANCH.search(text) and not _verified(rest):
            said = f"{text} is what is there that day"
            yield finding("unpinned-download", command.file, word.line, said)
    if command.name in ("curl", "wget") and len(rest) > 1:
        after = rest[1].command
        if after.before == "|" and after.name in ("sh", "bash", "python", "python3"):
            said = f"{command.name} … | {after.name}"
            yield finding("piped-install", command.file, command.line, said)


def _verified(rest: list[Step]) -> bool:
    return any(re.fullmatch(r"sha\d+sum|shasum|md5sum|gpg", step.command.name) for step in rest)


def _hub(step: Step) -> Iterator[Finding]:
    """``huggingface-cli download`` without --revision."""
    texts = step.texts()
    if step.command.name not in ("huggingface-cli", "hf") or "download" not in texts:
        return
    given = word_after(step, "--revision")
    if why := _moving(expand(given.text, step.scope) if given else None):
        name = texts[texts.index("download") + 1 :][:1]
        said = f"{step.command.name} download {' '.join(name)} {why}"
        yield finding("unpinned-model", step.command.file, step.command.line, said)


def _moving(revision: str | None) -> str:
    """What is wrong with a revision; empty for a commit or a tag."""
    if not revision:
        return "names no revision"
    return f"names the branch {revision}" if revision.lower() in BRANCHES else ""


def _calls(module: Module, submission: Submission) -> Iterator[Finding]:
    """The hub's functions in the code that runs: revision, token, login."""
    scope = {**submission.image.scope, **module.step.scope}
    guarded = _guarded(module)
    for call in (node for node in module.live() if isinstance(node, ast.Call)):
        name = code.called(call)
        if name in _LOGINS and id(call) not in guarded:
            yield from _login(call, name, module, submission)
        if not name.endswith(_HUB_CALLS):
            continue
        token = code.keyword(call, "token", "use_auth_token")
        if token is not None and code.value(token, module, scope) is True:
            said = f"{name} wants a token that is stored nowhere"
            yield finding("needs-token", module.name, call.lineno, said)
        yield from _revision(call, name, module, submission)


def _guarded(module: Module) -> set[int]:
    """The nodes below an ``if`` or ``try``."""
    return {
        id(below)
        for node in module.live()
        if isinstance(node, ast.If | ast.Try)
        for below in ast.walk(node)
    }


def _login(call: ast.Call, name: str, module: Module, submission: Submission) -> Iterator[Finding]:
    given = code.keyword(call, "token") or (call.args[0] if call.args else None)
    known = code.value(given, module, {**submission.image.scope, **module.step.scope})
    imported = any(one.startswith("huggingface_hub") for one, _, _ in code.imports(module))
    if imported and not isinstance(known, str):
        said = f"{name}() needs a token, which organizers do not have"
        yield finding("needs-token", module.name, call.lineno, said)


def _revision(
    call: ast.Call, name: str, module: Module, submission: Submission
) -> Iterator[Finding]:
    """A hub id without a revision; what the image or a folder holds needs none."""
    if any(one.arg is None for one in call.keywords):
        return
    scope = {**submission.image.scope, **module.step.scope}
    revision = code.value(code.keyword(call, "revision"), module, scope)
    why = _moving(revision if isinstance(revision, str) else None)
    if not why or (code.keyword(call, "revision") and not isinstance(revision, str | None)):
        return
    given = call.args[0] if call.args else None
    given = code.keyword(call, "repo_id", "pretrained_model_name_or_path") or given
    known = code.value(given, module, scope)
    if (
        isinstance(known, code.Unknown) and len(call.args) > 1
    ):  # PeftModel.from_pretrained(model, x)
        known = code.value(call.args[1], module, scope)
    if not isinstance(known, str) or not _HUB_ID.fullmatch(known):
        return
    if code.keyword(call, "local_files_only") or submission.image.scope.get("HF_HUB_OFFLINE"):
        return
    place = posixpath.normpath(posixpath.join(module.step.workdir, known))
    if any(path.startswith(place) for path in submission.image.files) or _made(known, submission):
        return
    said = f"{name} of {known} {why}"
    yield finding("unpinned-model", module.name, call.lineno, said)


def _made(path: str, submission: Submission) -> bool:
    """Whether the build makes a folder of this name: ``--local-dir checkpoints/x``."""
    return any(
        path in text.split("=")[-1] and text.split("=")[-1] != path
        for step in submission.image.steps
        for text in step.texts()
    ) or any(
        step.texts()[place]
        in ("--local-dir", "--out", "-O", "-o", "--output", "-P", "-d", "-p", "mkdir")
        and path in text
        for step in submission.image.steps
        for place, text in enumerate(step.texts()[1:])
    )


def _adds(submission: Submission) -> Iterator[Finding]:
    """ADD of an address."""
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            for word in one.words if one.name == "ADD" else []:
                text = expand(word.text, one.scope)
                if _PERSONAL.search(text):
                    said = f"{text} is personal storage"
                    yield finding("personal-storage", "Dockerfile", word.line, said)
                elif _BRANCH.search(text) and "checksum" not in one.flags:
                    said = f"{text} is what the branch holds that day"
                    yield finding("unpinned-download", "Dockerfile", word.line, said)
