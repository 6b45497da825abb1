"""Formats of llm-compressor that cannot be made, each refused with its remedy."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tests.tools.stages import bases
from tools.check.rules import compressed as rules
from tools.check.rules.base import Fault
from tools.recipe.schema import Architecture
from tools.run import compressed

SMOLLM2 = Architecture(576, 30, 1536, 49152, 9, 3, True)
HUB = {"model__source": "hub", "model__id": "a/b", "model__arch": SMOLLM2}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"llmcompressor-{compressed.VERSION}.dist-info"
    (tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / name).mkdir(parents=True)
    monkeypatch.setenv("ONEDAY_COMPRESS_VENV", str(tmp_path / "venv"))
    both = {"llmcompressor": compressed.VERSION, "compressed-tensors": "0"}
    monkeypatch.setattr(compressed, "versions", lambda wanted: both)


def faults(**values: Any) -> list[Fault]:
    return list(rules.formats(recipe(**HUB | values), {}))


@pytest.mark.parametrize(
    ("values", "key", "said", "remedy"),
    [
        ({"format": "w4a16"}, "group_size", "do not fill the 576 inputs", "set it to 64"),
        ({"format": "w8a16", "group_size": 48}, "group_size", "no kernel", "-1, 32, 64, 128"),
        ({"format": "w8a8", "group_size": 64}, "group_size", "no groups", "leave it out"),
        ({"format": "fp8", "modifier": "gptq"}, "modifier", "not for fp8", "set it to rtn"),
        ({"format": "w8a8", "modifier": "awq"}, "modifier", "not for w8a8", "gptq or rtn"),
        ({"format": "fp8", "smoothing_strength": 0.5}, "smoothing_strength", "fp8", "w8a8"),
        ({"format": "w8a8", "smoothing_strength": 2.0}, "smoothing_strength", "is 2", "0 and 1"),
        ({"format": "fp8", "max_seq_length": 0}, "max_seq_length", "is 0", "at least 1"),
        ({"format": "nf4", "modifier": "gptq"}, "modifier", "does not make nf4", "leave it out"),
        ({"format": "none", "ignore": ["a"]}, "ignore", "does not make none", "leave it out"),
        ({"format": "int8_int4"}, "format", "tells words by its embeddings", "int8, nf4 or w8a8"),
    ],
)
def test_what_cannot_be(
    values: dict[str, Any], key: str, said: str, remedy: str, installed: None
) -> None:
    [fault] = faults(**{f"quantize__{name}": value for name, value in values.items()})
    assert (fault.verdict, fault.key) == ("fail", f"quantize.{key}")
    assert said in fault.message and remedy in fault.remedy


@pytest.mark.parametrize("name", ["w4a16", "fp8", "int8_int4"])
def test_models_with_an_encoder_have_none(name: str) -> None:
    [fault] = faults(quantize__format=name, model__kind="seq2seq")
    assert fault.message.startswith(f"quantize.format {name}: a/b is an encoder with a decoder")
    assert fault.remedy == "set it to int8, nf4 or none"
    assert faults(quantize__format="nf4", model__kind="encoder") == []


def test_a_head_of_its_own_is_packed() -> None:
    apart = dataclasses.replace(SMOLLM2, tied=False)
    assert faults(quantize__format="int8_int4", model__arch=apart) == []


@pytest.mark.parametrize(
    "values",
    [
        {"format": "w4a16", "group_size": 64},
        {"format": "w4a16", "group_size": -1, "modifier": "awq"},
        {"format": "w8a8", "smoothing_strength": 0.8},
        {"format": "fp8"},
        {"format": "nf4"},
    ],
)
def test_what_can_be(values: dict[str, Any], installed: None) -> None:
    assert faults(**{f"quantize__{name}": value for name, value in values.items()}) == []


def test_all_faults_at_once(installed: None) -> None:
    values = {"modifier": "awq", "smoothing_strength": 0.1, "num_calibration_samples": 0}
    found = faults(
        quantize__format="w4a16",
        model__family="GPT-2",
        **{f"quantize__{name}": value for name, value in values.items()},
    )
    assert [fault.key.rpartition(".")[2] for fault in found] == [
        "smoothing_strength", "num_calibration_samples", "format", "group_size",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "key"), [("GPT-2", "format"), ("Falcon", "format"), ("OPT", "modifier")]
)
def test_families(family: str, key: str, installed: None) -> None:
    values = {"quantize__format": "w4a16", "quantize__group_size": 64, "quantize__modifier": "awq"}
    [fault] = faults(model__family=family, **values)
    assert fault.key == f"quantize.{key}"


def test_a_model_of_ones_own_is_measured_by_its_file(tmp_path: Path, installed: None) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    values = {"model__source": "local", "model__path": str(base), "model__arch": None}
    [fault] = faults(**values, quantize__format="w4a16")
    assert "do not fill the 64 inputs" in fault.message and fault.remedy == "set it to 64"


@pytest.mark.parametrize(
    ("device", "smi", "verdict"),
    [("cpu", None, "fail"), ("cuda", None, "warn"), ("cuda", "x", "fail")],
)
def test_the_package_is_missing(
    device: str, smi: str | None, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the card is not, another machine will make the format."""
    monkeypatch.setenv("ONEDAY_COMPRESS_VENV", str(tmp_path / "none"))
    monkeypatch.setattr(shutil, "which", lambda name: smi)
    only = {"llmcompressor": compressed.VERSION, "compressed-tensors": "absent"}
    monkeypatch.setattr(compressed, "versions", lambda wanted: only)
    values = {"hardware__device": device, "serve__engine": "vllm"}
    compress, tensors = faults(quantize__format="fp8", **values)
    assert compress.verdict == tensors.verdict == verdict
    assert compress.remedy.startswith("make compress (") and tensors.remedy == "make setup"
