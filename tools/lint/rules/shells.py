"""Rules on shell commands: what a RUN cannot do, and what it does in vain."""

import itertools
import re
from collections.abc import Iterator

from tools.lint.finding import Finding, finding
from tools.lint.reading import code
from tools.lint.reading.code import Module
from tools.lint.reading.image import Step
from tools.lint.reading.pip import COMMIT, installed
from tools.lint.reading.submission import Submission

_SHORT_LIVED = {"cd", "export", "source", ".", "alias", "ulimit", "unset"}
_DEVEL = re.compile(r"(?i)devel|nvcc|cuda-toolkit|cuda_toolkit|nvidia/cuda.*-devel|nemo|deepspeed")
_COMPILED = {"flash-attn", "apex", "auto-gptq", "exllamav2", "causal-conv1d"}
_ON_GPU = re.compile(
    r"\.cuda\(|\.to\(\s*f?[\"']cuda|device\s*=\s*f?[\"']cuda|device_map\s*=\s*\{[^}]*[\"']?cuda"
    r"|load_in_[48]bit\s*=\s*True|torch\.cuda\.(?:get_device|current_device|set_device|mem_get)"
    r"|assert\s+torch\.cuda\.is_available|\bLLM\(|device_map\s*=\s*[\"']cuda"
)


_CARDS = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
# Options by which scripts ask for a card, with their value; 0 is a card's number, or no cards.
_WANTS_CARD = re.compile(
    r"(?:^|\s)(?:--(?:[\w-]+[_-])?device(?:[_-]map)?[= ](?:cuda|gpu)\b"
    r"|--(?:n|num|n_proc)[_-]gpus?[= ][1-9]"
    r"|--gpus?[= ](?:all|\d)|--gpu[_-]ids?[= ]\d|--use[_-](?:gpu|cuda)(?:\s|$|[= ](?:1|[Tt]rue))"
    r"|--cuda(?:\s|$))"
)


def check(submission: Submission) -> Iterator[Finding]:
    """Every rule on commands of the build."""
    steps = submission.image.steps
    for place, step in enumerate(steps):
        if not step.command.words:
            continue
        yield from _impossible(step, submission)
        yield from _gpu(step, steps[:place])
        yield from _serving(step, steps[place + 1 :])
        yield from _compiled(step, submission)
        yield from _lists(step, steps[:place])
        if step.command.name == "git":
            yield from _clone(step, steps[place + 1 :])
    yield from _in_vain(submission)
    for module in submission.built:
        yield from _gpu_module(module, submission)


def _impossible(step: Step, submission: Submission) -> Iterator[Finding]:
    """``sudo``, and ``source`` where sh is dash."""
    command = step.command
    if "sudo" in command.wrappers and not _installs("sudo", submission):
        yield finding("needs-sudo", command.file, command.line, "sudo in RUN")
    if command.name == "source" and (command.shell or step.shell) == "sh" and _is_debian(step):
        yield finding("needs-bash", command.file, command.line, "source in RUN, which sh reads")


def _installs(name: str, submission: Submission) -> bool:
    return any(
        step.command.name in ("apt-get", "apt", "apk", "yum", "dnf") and name in step.texts()
        for step in submission.image.steps
    )


def _is_debian(step: Step) -> bool:
    """Whether /bin/sh of the base image is dash: not on Red Hat's, Arch's or Alpine's."""
    return not re.search(
        r"(?i)alpine|centos|rocky|fedora|ubi\d|alma|arch|amazon|ubi", step.stage.image
    )


def _gpu(step: Step, before: list[Step]) -> Iterator[Finding]:
    command, text = step.command, " ".join(step.texts())
    program = code.PYTHON.fullmatch(command.name) or command.name.endswith((".py", ".sh"))
    if command.name == "nvidia-smi":
        yield finding("gpu-at-build", command.file, command.line, "nvidia-smi in RUN")
    elif code.PYTHON.fullmatch(command.name) and "-c" in step.texts() and _ON_GPU.search(text):
        yield finding("gpu-at-build", command.file, command.line, "this Python needs the GPU")
    elif command.name in ("torchrun", "deepspeed") or (
        command.name == "accelerate" and "launch" in step.texts()
    ):
        yield finding("gpu-at-build", command.file, command.line, f"{command.name} in RUN trains")
    elif program and (asked := _card(step, before) or _WANTS_CARD.search(text)):
        said = asked if isinstance(asked, str) else asked[0].strip()
        yield finding("gpu-at-build", command.file, command.line, f"{said} in RUN asks for a GPU")


def _card(step: Step, before: list[Step]) -> str:
    """The variable by which a command, or its shell before it, chooses a card; empty without."""
    set_here = dict(step.command.assigned)
    for other in before:
        same = other.stage is step.stage and _instruction(other) is _instruction(step)
        if same and (other.command.name == "export" or not other.command.words):
            set_here |= other.command.assigned
            set_here |= dict(text.partition("=")[::2] for text in other.texts()[1:])
    found = {name: value for name, value in set_here.items() if name in _CARDS}
    return next((f"{name}={value}" for name, value in found.items() if value[:1].isdigit()), "")


def _instruction(step: Step) -> object:
    """The RUN that a command stands in."""
    line = step.command.line
    return next((one for one in step.stage.instructions if one.line <= line <= one.end), None)


def _serving(step: Step, after: list[Step]) -> Iterator[Finding]:
    """A server, or a training, that RUN starts."""
    command, texts = step.command, step.texts()
    # Put behind with &: RUN asks it something, and ends.
    if after and after[0].command.before == "&":
        return
    module = texts[texts.index("-m") + 1] if "-m" in texts[:-1] else ""
    server = {command.name, module} & {*code.SERVERS, "waitress-serve", "text-generation-launcher"}
    if server and not {"--version", "--help", "--check-config"} & set(texts):
        said = f"RUN {' '.join(texts)[:60]} serves"
        yield finding("server-at-build", command.file, command.line, said)
    elif word := code.training(step):
        yield finding("gpu-at-build", command.file, word.line, f"RUN {word.text} trains")


def _gpu_module(module: Module, submission: Submission) -> Iterator[Finding]:
    """A script that RUN runs and that puts a model on the GPU."""
    text = submission.folder.text(module.name) or ""
    if not module.main or not module.place or module.tree is None or code.training(module.step):
        return
    if re.search(r"cuda\.is_available|no_cuda|device_count", text) and "assert" not in text:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith("#") and _ON_GPU.search(line):
            step = module.step.command
            said = f"RUN {' '.join(step.texts[:2])} needs the GPU: {module.name}:{number}"
            yield finding("gpu-at-build", step.file, step.line, said)
            return


def _compiled(step: Step, submission: Submission) -> Iterator[Finding]:
    """Packages that are compiled with nvcc, on a base without it."""
    install = installed(step)
    if install is None or _DEVEL.search(step.stage.image) or step.starting:
        return
    if any(
        _DEVEL.search(" ".join(other.texts()))
        for other in submission.image.steps
        if other.command is not step.command
    ):
        return
    for text, word in install.packages:
        name = re.split(r"[=<>~!\[@ ]", text.lower().replace("_", "-"))[0]
        is_source = "git+" in text and re.search(
            r"(?i)flash-attention|apex|xformers|bitsandbytes", text
        )
        if (name in _COMPILED or is_source) and ".whl" not in text:
            said = f"{text} on {step.stage.image}"
            yield finding("needs-compiler", step.command.file, word.line, said)


def _lists(step: Step, before: list[Step]) -> Iterator[Finding]:
    """``apt-get install`` where no earlier line fetched the package lists."""
    texts = step.texts()
    if step.command.name not in ("apt-get", "apt") or "install" not in texts:
        return
    if any(text.startswith((".", "/")) for text in texts[1:]):
        return
    lines = {id(stage) for stage in step.stage.lineage()}
    updated = False
    for other in before:
        if id(other.stage) not in lines:
            continue
        words = other.texts()
        if other.command.name in ("apt-get", "apt", "add-apt-repository"):
            updated |= "update" in words or other.command.name == "add-apt-repository"
        elif other.command.name == "rm" and any("/var/lib/apt/lists" in one for one in words):
            updated = False
    if not updated:
        said = f"{step.command.name} install with no package lists: no update before it"
        yield finding("no-package-list", step.command.file, step.command.line, said)


def _clone(step: Step, after: list[Step]) -> Iterator[Finding]:
    """``git clone`` of a branch, with no checkout of a commit behind it."""
    texts, command = step.texts(), step.command
    if "clone" not in texts:
        return
    address = next((t for t in texts[texts.index("clone") + 1 :] if re.search(r"[:/]", t)), "")
    if re.match(r"git@|ssh://", address):
        said = f"{address} asks for your SSH key"
        yield finding("private-source", command.file, command.line, said)
        return
    named = next((t for flag, t in itertools.pairwise(texts) if flag in ("-b", "--branch")), "")
    named = named or next(
        (t.partition("=")[2] for t in texts if t.startswith(("--branch=", "--revision="))), ""
    )
    if re.search(r"\d", named) or COMMIT.fullmatch(named):
        return
    for other in after:
        words = other.texts()
        if other.command.name == "git" and {"checkout", "reset", "switch"} & set(words):
            refs = [
                t
                for t in words
                if COMMIT.fullmatch(t) or re.fullmatch(r"v?\d[\w.-]*|\w+-\d[\w.]*", t)
            ]
            if refs:
                return
        if other.command.name == "git" and "clone" in words:
            break  # a checkout behind another clone is that one's
    said = f"git clone {address} takes the branch as it is that day"
    yield finding("unpinned-git", command.file, command.line, said)


def _in_vain(submission: Submission) -> Iterator[Finding]:
    """RUN cd x, RUN export X=y and nothing else: the next RUN knows nothing of it."""
    by_run: dict[tuple[int, int], list[Step]] = {}
    for stage in submission.dockerfile.used():
        for one in stage.instructions:
            if one.name == "RUN" and not one.json:
                by_run[stage.index, one.line] = [
                    step
                    for step in submission.image.steps
                    if step.stage is stage
                    and step.command.file == "Dockerfile"
                    and one.line <= step.command.line <= one.end
                ]
    for steps in by_run.values():
        names = {step.command.name for step in steps}
        bare = [step for step in steps if step.command.words]
        if names and bare and names <= _SHORT_LIVED:
            command = bare[0].command
            said = f"RUN {' '.join(command.texts)[:60]} ends with its own shell"
            yield finding("no-effect", command.file, command.line, said)
        for step in bare:
            if step.command.name in _BUILDERS and "activate" in step.texts() and bare[-1] is step:
                said = "activating an environment ends with its own shell"
                yield finding("no-effect", step.command.file, step.command.line, said)


_BUILDERS = {"conda", "mamba", "micromamba"}
