"""What builds and runs images here: Docker or Podman, or Buildah, which needs no engine.

Buildah runs a container in a chroot of this machine: no ports are mapped, so the command is given
one, and the root cannot be made read-only. The rest is the image's own: user, folder, environment.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tools.errors import StageError, UserError
from tools.rehearse import base
from tools.rehearse.programs import call, printed

START_S = 30.0  # until a container's process is there
KILL_S = 30.0


@dataclass(frozen=True)
class Mount:
    """A folder of this machine in the container, read-only."""

    source: Path
    target: str


class Container(Protocol):
    """A container that was started.

    Attributes:
        url: where its port 80, or the port it was given, is reached.
    """

    url: str

    def running(self) -> bool:
        """Whether its main process is there."""
        ...

    def start(self) -> None:
        """Start it again, with what it has written."""
        ...

    def stop(self, seconds: float) -> int:
        """SIGTERM to its main process, SIGKILL after so many seconds; the exit code."""
        ...

    def logs(self) -> str:
        """What it has printed."""
        ...

    def remove(self) -> None:
        """End it and forget it."""
        ...


class Engine(Protocol):
    """Builds images and starts containers.

    Attributes:
        name: the program.
        read_only: whether a container's root can be made read-only.
    """

    name: str
    read_only: bool

    def own_base(self, log: Path) -> str:
        """An image to build on where none can be pulled; empty where the Dockerfile's is meant."""
        ...

    def build(self, folder: Path, tag: str, words: Sequence[str], log: Path) -> None:
        """Build the folder's last target."""
        ...

    def size(self, tag: str) -> int:
        """Bytes of an image, unpacked."""
        ...

    def start(self, tag: str, mount: Mount | None, log: Path, read_only: bool = False) -> Container:
        """Start an image's own command."""
        ...


def find(name: str) -> Engine:
    """The engine of that name, or the first that works here.

    Raises:
        UserError: there is none.
    """
    if name not in ("", "docker", "podman", "buildah"):
        raise UserError(f"ENGINE={name}: no such engine; it is docker, podman or buildah")
    for program in ("docker", "podman"):
        if name in ("", program) and shutil.which(program) and _works(program):
            return Docker(program)
    if name in ("", "buildah") and shutil.which("buildah"):
        return Buildah()
    raise UserError(
        f"{name or 'docker, podman, buildah'}: none works here; start the Docker engine, or "
        "install buildah and debootstrap (apt-get install buildah debootstrap), which need none"
    )


def _works(program: str) -> bool:
    """Whether there is an engine behind the client."""
    done = subprocess.run([program, "info"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Docker:
    """Docker, or Podman, whose commands are the same."""

    name: str
    read_only: bool = True

    def own_base(self, log: Path) -> str:
        """See :class:`Engine`: it pulls the Dockerfile's own."""
        return ""

    def build(self, folder: Path, tag: str, words: Sequence[str], log: Path) -> None:
        """See :class:`Engine`."""
        log.unlink(missing_ok=True)
        call([self.name, "build", "-t", tag, *words, str(folder)], log)

    def size(self, tag: str) -> int:
        """See :class:`Engine`."""
        return int(printed(self.name, "image", "inspect", "--format", "{{.Size}}", tag))

    def start(
        self, tag: str, mount: Mount | None, log: Path, read_only: bool = False
    ) -> "DockerContainer":
        """See :class:`Engine`."""
        log.touch()
        port = free_port()
        words = [self.name, "create", "-p", f"{port}:80", *self._card(tag)]
        words += ["-v", f"{mount.source}:{mount.target}:ro"] if mount else []
        words += ["--read-only", "--tmpfs", "/tmp:exec"] if read_only else []
        made = DockerContainer(self.name, printed(*words, tag), f"http://127.0.0.1:{port}")
        try:
            made.start()
        except StageError:  # it is made, though no card or port is to be had for it
            made.remove()
            raise
        return made

    def _card(self, tag: str) -> list[str]:
        """The organizers' ``--gpus``, for an image that is for a card."""
        env = printed(self.name, "image", "inspect", "--format", "{{.Config.Env}}", tag)
        return ["--gpus", "device=0"] if "ONEDAY_DEVICE=cuda" in env else []


@dataclass
class DockerContainer:
    """See :class:`Container`."""

    engine: str
    id: str
    url: str

    def running(self) -> bool:
        """See :class:`Container`."""
        return self._state("Running") == "true"

    def _state(self, what: str) -> str:
        return printed(self.engine, "inspect", "--format", f"{{{{.State.{what}}}}}", self.id)

    def start(self) -> None:
        """See :class:`Container`."""
        printed(self.engine, "start", self.id)

    def stop(self, seconds: float) -> int:
        """See :class:`Container`."""
        printed(self.engine, "stop", "-t", str(int(seconds)), self.id)
        return int(self._state("ExitCode"))

    def logs(self) -> str:
        """See :class:`Container`."""
        words = [self.engine, "logs", self.id]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def remove(self) -> None:
        """See :class:`Container`."""
        subprocess.run([self.engine, "rm", "-f", "-v", self.id], capture_output=True, check=False)


# No daemon, no overlay: what runs inside a container, too.
_BUILDAH = ("buildah", "--storage-driver", "vfs")
_CHROOT = ("--isolation", "chroot", "--network", "host")


@dataclass
class Buildah:
    """Buildah in a chroot."""

    name: str = "buildah"
    read_only: bool = False

    def own_base(self, log: Path) -> str:
        """See :class:`Engine`."""
        return base.image(_BUILDAH, log)

    def build(self, folder: Path, tag: str, words: Sequence[str], log: Path) -> None:
        """See :class:`Engine`."""
        log.unlink(missing_ok=True)
        # HEALTHCHECK is Docker's: the OCI format has none.
        how = ["build", *_CHROOT, "--format", "docker", "--tag", tag]
        call([*_BUILDAH, *how, *words, str(folder)], log)

    def size(self, tag: str) -> int:
        """See :class:`Engine`."""
        name = printed(*_BUILDAH, "from", "--pull=never", tag)
        try:
            root = Path(printed(*_BUILDAH, "mount", name))
            # lstat: links would lead out of the mounted root, into this machine's.
            files = (path.lstat() for path in root.rglob("*") if not path.is_dir())
            return sum(found.st_size for found in files)
        finally:
            printed(*_BUILDAH, "rm", name)

    def start(
        self, tag: str, mount: Mount | None, log: Path, read_only: bool = False
    ) -> "BuildahContainer":
        """See :class:`Engine`."""
        config = json.loads(printed(*_BUILDAH, "inspect", "--type", "image", tag))
        command = config["Docker"]["config"]["Cmd"]
        name = printed(*_BUILDAH, "from", "--pull=never", tag)
        made = BuildahContainer(name, command, mount, log)
        made.start()
        return made


class BuildahContainer:
    """See :class:`Container`.

    Args:
        name: Buildah's name of it.
        command: the image's; a port is put behind it.
        mount: the weights.
        log: its output is added to it.
    """

    def __init__(self, name: str, command: list[str], mount: Mount | None, log: Path) -> None:
        self._name, self._log = name, log
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        volume = ["--volume", f"{mount.source}:{mount.target}:ro"] if mount else []
        self._inner = [*command, "--port", str(port)]
        self._words = [*_BUILDAH, "run", *_CHROOT, *volume, name, "--", *self._inner]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """See :class:`Container`."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # for killpg; and Ctrl+C is not for it
            )

    def running(self) -> bool:
        """See :class:`Container`."""
        return self._process is not None and self._process.poll() is None

    def stop(self, seconds: float) -> int:
        """See :class:`Container`."""
        assert self._process is not None
        self._main().send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            return -signal.SIGKILL

    def _main(self) -> Any:
        """The image's own process, as psutil has it: buildah's child's child, told by its words."""
        import psutil

        assert self._process is not None
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                    if child.cmdline()[1:] == self._inner[1:]:
                        return child
            time.sleep(0.1)
        raise StageError(f"{self._name}: no process of {' '.join(self._inner)}; {self._log}")

    def _kill(self) -> None:
        """Ends all that is left: of the worker's processes each dies with its parent."""
        import psutil

        if self._process is None:
            return
        if self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(KILL_S)

    def logs(self) -> str:
        """See :class:`Container`."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def remove(self) -> None:
        """See :class:`Container`."""
        self._kill()
        subprocess.run([*_BUILDAH, "rm", self._name], capture_output=True, check=False)
