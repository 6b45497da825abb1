"""The rehearse verb: what organizers do with a submission, and more strictly, before they do.

They build without arguments, run with a port and nothing else, take any HTTP reply for health, then
let HELM ask 30 questions at once. Here each of those is held against what it should be, and the
container is stopped, started again and put on a read-only disk besides. One page tells how it went.
"""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tools.console import say
from tools.errors import StageError, UserError
from tools.files import write_text
from tools.rehearse import asking, checks
from tools.rehearse.checks import UNANSWERED, Failed, NotTried
from tools.rehearse.engines import Container, Engine, Mount, find
from tools.rehearse.page import Step, render

IMAGE_MODEL = "/app/model"  # where the image has its weights
START_MINUTES = 20.0  # the organizers ask ten times, two minutes apart
# What a container that does not start, or dies amid a step, is met with.
FAULTS = (Failed, StageError, UserError, psutil.Error, subprocess.SubprocessError, *UNANSWERED)


@dataclass(frozen=True)
class Options:
    """How to rehearse.

    Attributes:
        engine: ``docker``, ``podman`` or ``buildah``; empty takes the first that works.
        base: an image in place of the Dockerfile's base; empty leaves it, but buildah, which may
            have no registry to pull from, then makes one of Debian packages.
        build: more words for the engine's build command.
        model: folder of weights put into the container in place of fetching them; None fetches.
        minutes: most that a container may take from its start to its first answer.
    """

    engine: str = ""
    base: str = ""
    build: tuple[str, ...] = ()
    model: Path | None = None
    minutes: float = START_MINUTES


@dataclass
class Rehearsal:
    """One rehearsal: the steps done so far, and what the next ones work with.

    The start step makes ``mount`` and ``container``.
    """

    folder: Path
    engine: Engine
    options: Options
    steps: list[Step] = field(default_factory=list)
    mount: Mount | None = None
    container: Container | None = None

    @property
    def logs(self) -> Path:
        """Folder of the build's, the container's and HELM's logs, made when asked for."""
        folder = self.folder.with_name(f"{self.folder.name}-rehearsal")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def copy(self) -> Path:
        """Where the weights that are put in are copied to."""
        return self.logs / "model"

    @property
    def limit(self) -> float:
        """Most seconds from a container's start to its first answer."""
        return self.options.minutes * 60

    @property
    def tag(self) -> str:
        """The image's name, made of the folder's as the organizers do."""
        return re.sub(r"[/-]", "_", self.folder.name.lower())

    def step(self, name: str, do: Callable[[], str]) -> bool:
        """Do one step and note how it went; whether it passed."""
        say(f"rehearse: {name}")
        started, verdict = time.monotonic(), "pass"
        try:
            text = do()
        except NotTried as why:
            verdict, text = "not tried", str(why)
        except FAULTS as error:
            verdict, text = "FAIL", str(error) or type(error).__name__
        self.steps.append(Step(name, verdict, text, time.monotonic() - started))
        say(f"rehearse: {name}: {verdict}: {text}")
        return verdict == "pass"

    def skip(self, names: list[str], why: str) -> None:
        """Note steps that cannot be done any more."""
        self.steps += [Step(name, "not tried", why, 0.0) for name in names]


AFTER_BUILD = ["start", "contract", "30 at once", "HELM", "SIGTERM", "restart", "read-only"]


def rehearse(folder: Path, options: Options) -> tuple[str, bool]:
    """Rehearse a submission.

    Args:
        folder: as ``make submission`` writes it, or as unzipped.
        options: how.

    Returns:
        The page, which is also beside the folder, and whether nothing failed.

    Raises:
        UserError: the folder is none, or no engine is here.
    """
    folder = folder.resolve()
    if not (folder / "Dockerfile").is_file():
        raise UserError(
            f"{folder}: has no Dockerfile; give the folder of a submission (make submission makes "
            "one)"
        )
    if options.model and not (options.model / "config.json").is_file():
        raise UserError(f"MODEL={options.model}: holds no config.json; give a model's folder")
    mine = Rehearsal(folder, find(options.engine), options)
    mine.step("folder", lambda: checks.folder(folder))
    if mine.step("build", lambda: _build(mine)):
        try:
            _serve(mine)
        finally:
            shutil.rmtree(mine.copy, ignore_errors=True)
    else:
        mine.skip(AFTER_BUILD, "there is no image")
    text, passed = render(folder, mine.engine.name, mine.steps)
    write_text(folder.with_name(f"{folder.name}-rehearsal.md"), text)
    return text, passed


def _build(mine: Rehearsal) -> str:
    """Build without arguments but those that were asked for."""
    words = list(mine.options.build)
    base = mine.options.base or mine.engine.own_base(mine.logs / "base.log")
    if base:
        words += ["--build-arg", f"BASE={base}"]
    started = time.monotonic()
    mine.engine.build(mine.folder, mine.tag, words, mine.logs / "build.log")
    took, size = time.monotonic() - started, mine.engine.size(mine.tag)
    swapped = f"; base swapped for {base}" if base else ""
    return f"image {mine.tag} in {took:.0f} s, {size / 1e9:.2f} GB unpacked{swapped}"


def _weights(mine: Rehearsal) -> Mount | None:
    """The weights, copied: the container's user may not read what one's own programs wrote."""
    if mine.options.model is None:
        return None
    shutil.rmtree(mine.copy, ignore_errors=True)
    # copyfile leaves the files' rights behind; those of the folder itself come along.
    shutil.copytree(mine.options.model, mine.copy, copy_function=shutil.copyfile)
    mine.copy.chmod(0o755)
    return Mount(mine.copy, IMAGE_MODEL)


def _serve(mine: Rehearsal) -> None:
    """Everything that needs a running container."""
    try:
        if not mine.step("start", lambda: _start(mine)):
            mine.skip(AFTER_BUILD[1:], f"it did not start; log: {mine.logs / 'container.log'}")
            return
        assert mine.container is not None
        _ask(mine, mine.container)
    finally:
        _put_away(mine)
    mine.step("read-only", lambda: _read_only(mine))


def _start(mine: Rehearsal) -> str:
    mine.mount = _weights(mine)
    mine.container = mine.engine.start(mine.tag, mine.mount, mine.logs / "container.log")
    text = checks.becomes_ready(mine.container, mine.limit)
    return text + ("; weights put in, not fetched" if mine.mount else "")


def _put_away(mine: Rehearsal) -> None:
    """Keeps the container's log and removes it; what fails at that is told, and costs no page."""
    if mine.container is None:
        return
    with _told():
        write_text(mine.logs / "container.txt", mine.container.logs())
    with _told():
        mine.container.remove()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        say(f"rehearse: {error}")


def _ask(mine: Rehearsal, container: Container) -> None:
    mine.step("contract", lambda: checks.contract(container.url))
    mine.step("30 at once", lambda: checks.together(container.url))
    mine.step("HELM", lambda: asking.helm(container.url, mine.folder, mine.logs))
    mine.step("SIGTERM", lambda: checks.drains(container))
    mine.step("restart", lambda: _restart(container, mine.limit))


def _restart(container: Container, limit: float) -> str:
    if container.running():
        raise NotTried("it was not stopped")
    container.start()
    return checks.becomes_ready(container, limit)


def _read_only(mine: Rehearsal) -> str:
    if not mine.engine.read_only:
        raise NotTried(f"{mine.engine.name} has no read-only root")
    if mine.mount is None:
        raise NotTried("it would fetch the weights once more; give MODEL= to mount them")
    log = mine.logs / "read-only.log"
    container = mine.engine.start(mine.tag, mine.mount, log, read_only=True)
    try:
        return checks.becomes_ready(container, mine.limit)
    finally:
        with _told():
            container.remove()
