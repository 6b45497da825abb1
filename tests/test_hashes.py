"""requirements/hashes.py: pip's report becomes lines that pip takes, wherever a file came from."""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[1] / "requirements" / "hashes.py"


@pytest.fixture
def hashes(tmp_path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("hashes", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module)["HERE"] = tmp_path
    return module


def item(name: str, version: str, url: str, **archive: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": url, "archive_info": archive},
    }


def test_a_file_of_the_index_has_its_hash(hashes: Any) -> None:
    found = item("My_Package.x", "1.0", "https://x.org/a.whl", hashes={"sha256": "ab"})
    assert hashes.locked(found) == ("my-package-x", "1.0", "ab")


def test_a_file_of_this_machine_is_hashed(hashes: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "a b.whl"
    wheel.write_bytes(b"wheel")
    found = item("torch", "2.0+cpu", wheel.as_uri())
    assert hashes.locked(found) == ("torch", "2.0+cpu", hashlib.sha256(b"wheel").hexdigest())


def test_a_lock_is_sorted_and_whole(hashes: Any, tmp_path: Path) -> None:
    hashes.write("serve-cpu", [("torch", "2.0+cpu", "b" * 64), ("attrs", "1", "a" * 64)])
    (file,) = (tmp_path / "hashed").iterdir()
    text = file.read_text()
    assert re.findall(r"^(\S+) \\\n    --hash=sha256:(.)", text, re.MULTILINE) == [
        ("attrs==1", "a"),
        ("torch==2.0", "b"),
    ]


@pytest.mark.parametrize(("lock", "version"), [("serve-cpu", "2.0"), ("train-cuda", "2.0+cpu")])
def test_the_wrong_torch_is_refused(
    lock: str, version: str, hashes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = item("torch", version, "https://x.org/t.whl", hashes={"sha256": "ab"})
    monkeypatch.setattr(hashes, "pins", lambda name: ["torch==2.0"])
    monkeypatch.setattr(hashes, "report", lambda *words, **options: [found])
    with pytest.raises(SystemExit, match=f"{lock}: pip finds torch 2.0"):
        hashes.resolved(lock)
