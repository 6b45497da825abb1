"""The table of the formats: which they are, what a line says, what was not run and why."""

import json
from pathlib import Path

import pytest

from benchmarks import quantize, quantize_jobs
from benchmarks.quantize_formed import Line, last
from benchmarks.quantize_table import caption, table
from tests.tiny import make_run
from tools.errors import UserError
from tools.recipe import formats
from tools.run.exports import GGUF_TYPES


def test_every_format_of_the_one_table_is_there() -> None:
    names = quantize.known()
    assert set(GGUF_TYPES) < set(names) and {"nf4", "int8", "fp8", "int8_int4"} < set(names)
    assert set(names) <= {*formats.FORMATS, *quantize.CAST} and "none" not in names
    assert quantize.chosen("") == names and quantize.chosen("nf4,Q8_0") == ["nf4", "Q8_0"]


def test_a_format_misspelt() -> None:
    with pytest.raises(UserError) as caught:
        quantize.chosen("nf5,Q8_0")
    (said,) = caught.value.faults
    assert said.startswith("--formats: no nf5; did you mean nf4?")


def test_a_run_without_a_merged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize.main(["--run", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_table_and_what_stands_below(tmp_path: Path) -> None:
    lines = [
        Line("merged", None, 538.1, None, 1.0, 0.0, 1.0, None, 40.0, "yes",
             "not run: no .venv-vllm", "no: reads GGUF only"),
        Line("fp8", note="not made here: this card has none", transformers="not run",
             vllm="not run", llama_cpp="not run"),
    ]  # fmt: skip
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(lines).splitlines()]
    assert rows[2] == [
        "merged", "-", "538.1", "-", "1.0000", "0.00000", "1.000", "-", "40.0",
        "yes", "not run", "no",
    ]  # fmt: skip
    assert rows[3][1:9] == ["-"] * 8
    about = {"card": "", "cpu": "some CPU", "cores": 2, "memory_gib": 8, "versions": {"torch": "2"},
             "load_average": 0.5}  # fmt: skip
    below = caption(make_run(tmp_path), lines, about)
    assert "fp8: not made here: this card has none" in below
    assert "vLLM not run: no .venv-vllm (merged)" in below and "some CPU, 2 cores" in below


def test_errors_of_a_verb_are_its_last_words() -> None:
    assert last("train: x\nerror: a\nerror: b\n\n") == "a; b"
    assert last("x\ny\n") == "y" and last("") == "no word"


def test_a_merged_model_in_other_numbers(model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    asked = {"source": str(model), "folder": str(tmp_path / "bf16"), "format": "bf16"}
    quantize_jobs.cast(asked)
    assert json.loads((tmp_path / "bf16" / "config.json").read_text())["dtype"] == "bfloat16"
    one, two = (
        AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16).state_dict()
        for place in (model, tmp_path / "bf16")
    )
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_is_held_against_what_the_merged_model_said(model: Path, tmp_path: Path) -> None:
    asked = {
        "rows": [([1, 2, 3, 4], [-100, -100, 3, 4]), ([5, 6], [-100, 6])],
        "device": "cpu",
        "reference": str(tmp_path / "merged.f16"),
    }
    own = quantize_jobs.reference({**asked, "folder": str(model)})
    same = quantize_jobs.compare({**asked, "folder": str(model)})
    assert same["merged_perplexity"] == own["perplexity"] == same["quantized_perplexity"]
    assert (same["top1"], same["compared_tokens"]) == (1, 3) and same["kl"] < 1e-5
    cast = {"source": str(model), "folder": str(tmp_path / "bf16"), "format": "bf16"}
    quantize_jobs.cast(cast)
    other = quantize_jobs.compare({**asked, "folder": str(tmp_path / "bf16")})
    assert other["kl"] > same["kl"] and other["quantized_perplexity"] != own["perplexity"]
