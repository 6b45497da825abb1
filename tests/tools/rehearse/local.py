"""The image's command as a plain process, in place of a container."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.rehearse.engines import Mount, free_port

ROOT = Path(__file__).resolve().parents[3]


class LocalContainer:
    """See ``tools.rehearse.engines.Container``."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._words = [sys.executable, "-m", "serve.launch", "--port", str(port), *options]
        self._folder, self._log = folder, log
        self.start()

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._words, cwd=self._folder, env=env, stdout=out, stderr=out
            )

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self, seconds: float) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def logs(self) -> str:
        return self._log.read_text()

    def remove(self) -> None:
        self._process.kill()
        self._process.wait()


class LocalEngine:
    """An engine that builds nothing and starts the command here."""

    name, read_only = "local", True

    def __init__(self, model: Path) -> None:
        self.model, self.built = model, list[tuple[str, list[str]]]()

    def own_base(self, log: Path) -> str:
        return ""

    def build(self, folder: Path, tag: str, words: Sequence[str], log: Path) -> None:
        self.built.append((tag, list(words)))

    def size(self, tag: str) -> int:
        return 1_230_000_000

    def start(
        self, tag: str, mount: Mount | None, log: Path, read_only: bool = False
    ) -> LocalContainer:
        return LocalContainer(log.parent, log, "--model", str(self.model))
