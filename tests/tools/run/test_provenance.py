"""What a run was made with: complete, by content, and cheap to ask a second time."""

import dataclasses
import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run, recipe
from tools.errors import UserError
from tools.files import digest
from tools.run import provenance
from tools.run.provenance import Manifest, model_files

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "HASHES", tmp_path / "cache" / "sha256.json")


def local_model(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return recipe(model__path=str(folder)).model


def test_of_two_versions_the_one_that_is_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("first", "1.0"), ("second", "2.0")):
        info = tmp_path / folder / f"twice-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: twice\nVersion: {version}\n")
    monkeypatch.setattr("sys.path", [str(tmp_path / "first"), str(tmp_path / "second")])
    assert provenance.packages.__wrapped__() == {"twice": "1.0"}


def test_every_package_is_listed_by_its_normalized_name() -> None:
    found = provenance.packages()
    assert len(found) > 50
    assert found["torch"] == importlib.metadata.version("torch")
    assert found["typing-extensions"] == importlib.metadata.version("typing_extensions")
    assert list(found) == sorted(found)


def test_the_code_is_the_commit_and_a_hash_of_the_files() -> None:
    found = provenance.code()
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    if head.returncode:
        pytest.skip("not in a git work tree")
    assert found["commit"] == head.stdout.strip() and isinstance(found["dirty"], bool)
    assert len(found["sha256"]) == 64


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_an_edit_makes_the_commit_dirty_and_a_foreign_tree_has_none(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "a.py").write_text("1")
    assert provenance._commit(tmp_path) == {}
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    assert provenance._commit(tmp_path)["dirty"] is False
    (tmp_path / "notes.txt").write_text("not code")
    assert provenance._commit(tmp_path)["dirty"] is False
    (tmp_path / "tools" / "a.py").write_text("2")
    assert provenance._commit(tmp_path)["dirty"] is True
    assert provenance._commit(tmp_path / "tools") == {}  # installed inside another project's tree


def test_the_code_hash_follows_an_edit_of_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serve").mkdir()
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    seen = set()
    for text in ("1", "2"):
        (tmp_path / "serve" / "a.py").write_text(text)
        seen.add(provenance.code.__wrapped__()["sha256"])
    assert len(seen) == 2


def test_the_card_and_its_driver_are_asked_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 8.0, 40960 MiB, 550.54.15'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    card = {"name": "NVIDIA A100-SXM4-40GB", "capability": "8.0"}
    card |= {"memory": "40960 MiB", "driver": "550.54.15"}
    assert provenance.machine.__wrapped__("cuda")["cards"] == [card]
    assert provenance.machine.__wrapped__("cpu")["cards"] == []
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert provenance.machine.__wrapped__("cuda")["cards"] == []


def test_the_machine_is_named() -> None:
    found = provenance.machine("cpu")
    assert found["cpu"] and found["cores"] and found["python"].startswith("3.")


def test_a_model_is_known_by_the_content_of_its_files(tmp_path: Path) -> None:
    model = local_model(tmp_path / "model")
    weights = hashlib.sha256(b"weights").hexdigest()
    assert model_files(model)["model.safetensors"] == weights
    (tmp_path / "model" / "model.safetensors").write_bytes(b"Weights")
    assert model_files(model)["model.safetensors"] != weights


def test_a_model_of_the_hub_is_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr("tools.base_model.folder.local_folder", lambda model: tmp_path / "snapshot")
    found = model_files(dataclasses.replace(recipe().model, source="hub"))
    assert found == {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}


def test_a_model_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(paths: list[Path], label: str) -> dict[Path, str]:
        read.extend(path.name for path in paths)
        return {path: path.name for path in paths}

    monkeypatch.setattr(provenance, "file_digests", counted)
    model = local_model(tmp_path / "model")
    assert model_files(model) == model_files(model)
    assert read == ["config.json", "model.safetensors"]
    (tmp_path / "model" / "config.json").write_text("{ }")
    model_files(model)
    assert read[2:] == ["config.json"]


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    model = local_model(tmp_path / "model")
    model_files(model)
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / "config.json").write_text("{ }")
    model_files(model)
    assert len(json.loads(provenance.HASHES.read_text())) == 1


def test_a_record_and_its_manifest_tell_everything(tmp_path: Path) -> None:
    local_model(tmp_path / "model")
    run = make_run(tmp_path, model__path=str(tmp_path / "model"))
    with run.produce("train") as work:
        (work.folder / "adapter").write_text("x")
        (work.folder / "schedule.json").write_text('{"stop": 7}')
    manifest = Manifest(run.path)
    record = manifest.newest("train")
    assert record is not None and record == run.record("train")
    assert manifest.content(record, "recipe") == dataclasses.asdict(run.recipe)
    assert manifest.content(record, "packages") == provenance.packages()
    assert manifest.content(record, "model") == model_files(run.recipe.model)
    assert manifest.content(record, "schedule.json") == {"stop": 7}
    assert record["provenance"]["code"] == provenance.code()
    assert record["provenance"]["machine"] == provenance.machine("cpu")
    assert all(digest(value) == key for key, value in manifest.contents.items())
    assert len(json.dumps(record)) < 5000, "the long lists belong into the manifest"


def test_long_lists_are_stored_once_and_dropped_with_a_failed_attempt(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for stage in ("data", "merge"):
        with run.produce(stage) as work:
            (work.folder / "file").write_text(stage)
    assert len(Manifest(run.path).contents) == 2  # recipe and packages
    with (
        pytest.raises(ZeroDivisionError),
        make_run(tmp_path, data__seed=2).produce("data") as work,
    ):
        raise ZeroDivisionError
    assert len(Manifest(run.path).contents) == 3
    with run.produce("data") as work:
        (work.folder / "file").write_text("x")
    assert len(Manifest(run.path).contents) == 2


def test_what_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    old = {"stage": "data", "fingerprint": "f", "inputs": {"upstream": {}}, "outputs": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"run": "x", "stages": [old]}))
    manifest = Manifest(tmp_path)
    assert manifest.newest("data") == old and manifest.newest("train") is None
    assert manifest.content(old, "recipe") is None
    manifest.add({**old, "fingerprint": "g"})
    assert [record["fingerprint"] for record in Manifest(tmp_path).stages] == ["f", "g"]


def test_a_damaged_manifest_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"run": "x", "stages": [')
    with pytest.raises(UserError, match=r"manifest\.json: damaged.*put a copy of it back"):
        Manifest(tmp_path)
