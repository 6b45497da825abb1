"""The tiny model of the serving tests, for benchmarks."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.serve.conftest import byte_level_tokenizer, save_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of about 100 thousand weights."""
    return save_model(tmp_path_factory.mktemp("bench") / "tiny", byte_level_tokenizer())


@pytest.fixture(scope="session")
def tokenizer(model: Path) -> Tokenizer:
    """Its tokenizer."""
    return Tokenizer.from_file(str(model / "tokenizer.json"))
