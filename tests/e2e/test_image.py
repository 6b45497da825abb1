"""The serving image, really built and run: Dockerfile.4090 with a swapped base, on the CPU.

Where Buildah is, no engine is needed: the base is made of Debian packages, the container is a
chroot. The weights come over HTTP from this machine, as they would from the hub.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.tiny import make_run
from tools.package.pack import package
from tools.recipe.schema import Model, Publish
from tools.rehearse.rehearsal import Options, rehearse
from tools.run import provenance
from tools.run.folder import Run

NEEDED = ("buildah", "debootstrap")
MISSING = [name for name in NEEDED if not shutil.which(name)]
ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = Model("own/base", "hub", "Llama 2", "MIT", False, 1024, "<|im_end|>", "<|endoftext|>",
             revision=COMMIT)  # fmt: skip
QUICK = ["simple_mcqa", "synthetic_reasoning:mode=pattern_match"]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and the vfs store want root"),
    pytest.mark.timeout(3600),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A model's folder and the address it can be fetched from."""
    folder = save_model(tmp_path / "published", byte_level_tokenizer())
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    command = ["buildah", "--storage-driver", "vfs", "rmi", "submission_tiny"]
    subprocess.run(command, capture_output=True, check=False)  # 2.5 GB; the base stays


def finished(model: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose served folder is that model."""
    monkeypatch.setattr(provenance, "model_files", lambda model: {"model.safetensors": "a" * 64})
    run = make_run(
        Path("runs"), model=BASE, publish=Publish("url", url=address), eval__tier="quick",
        eval__tiers={"quick": QUICK},
    )  # fmt: skip
    for name in ("data", "train", "merge", "quantize"):
        with run.produce(name) as work:
            if name == "quantize":
                shutil.copytree(model, work.folder, dirs_exist_ok=True)
            work.note(by_source={})
    return run


def pip_words(folder: Path) -> tuple[str, ...]:
    """This machine's set-up of pip for the pip in the build: a proxy's certificate, wheels."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.split("=", 1) for line in listed.splitlines() if "=" in line)
    found = {}
    for key in ("cert", "find-links"):
        value = os.environ.get(f"PIP_{key.upper().replace('-', '_')}")
        value = value or values.get(f"global.{key}", "").strip("'")
        if value and Path(value).exists():
            found[key] = value
    file = folder / "pip.conf"
    lines = ["[global]", "timeout = 180", *(f"{key} = {value}" for key, value in found.items())]
    file.write_text("\n".join(lines) + "\n")
    mounts = [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in found.values())]
    return tuple(word for mount in mounts for word in ("--volume", mount))


def test_the_image_is_built_served_and_stopped(
    published: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(ROOT / ".venv-helm"))
    folder, address = published
    packed = package(finished(folder, address, monkeypatch), tmp_path / "dist")
    # The CPU build of torch is a wheel of this machine, or of the index that pip has anyway.
    words = (*pip_words(tmp_path), "--build-arg", "TORCH_INDEX=https://pypi.org/simple")
    page, passed = rehearse(packed.folder, Options(engine="buildah", build=words, minutes=5))
    print(page)
    assert passed, page
    tried = [line for line in page.splitlines() if "| not tried |" in line]
    assert [line.split(" | ")[0] for line in tried] == ["| read-only"], page
    log = (packed.folder.parent / f"{packed.folder.name}-rehearsal" / "container.log").read_text()
    assert '"level": "error"' not in log and "Traceback" not in log, log
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert weights in (packed.folder / "weights.json").read_text()
