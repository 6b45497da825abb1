"""A model small enough to load in a blink."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in tools.console, for the same reason

import pytest

from tools.run.folder import Run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of 100 thousand weights and a byte-level tokenizer."""
    from tests.serve.conftest import byte_level_tokenizer, save_model

    folder = tmp_path_factory.mktemp("tiny")
    # Weights of the usual size: wilder ones would make 4 bits look bad.
    return save_model(folder, byte_level_tokenizer(), initializer_range=0.05)


@pytest.fixture
def fake_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were run, each replaced by one that writes a file."""
    from tools.chain import stages

    names: list[str] = []

    def make(run: Run, name: str, executor: str = "") -> None:
        with run.produce(name) as work:
            (work.folder / "file").write_text(name)
        names.append(name)

    monkeypatch.setattr(stages, "make", make)
    return names


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter for it."""
    from tests.tiny import save_adapter

    return save_adapter(tiny_model, tmp_path_factory.mktemp("adapter"))
