"""What no GGUF is made of: each refusal says what, where and the remedy."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tiny import make_run
from tools.errors import UserError
from tools.export import programs, refusals
from tools.run.folder import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose merged folder is as small as can be."""
    monkeypatch.setattr(programs, "families", lambda: {"LlamaForCausalLM"})
    run = make_run(tmp_path)
    with run.produce("merge") as work:
        config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 3, "dtype": "float32"}
        (work.folder / "config.json").write_text(json.dumps(config))
        vocabulary = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]}
        (work.folder / "tokenizer.json").write_text(json.dumps(vocabulary))
        (work.folder / "model.safetensors").write_bytes(bytes(1000))
    return run


def faults(run: Run, *kinds: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        refusals.refuse(run, list(kinds or ["Q8_0"]), " HW=cpu")
    return caught.value.faults


def change(run: Run, **values: object) -> None:
    file = run.output("merge") / "config.json"
    before = file.stat().st_size
    text = json.dumps(json.loads(file.read_text()) | values)
    file.write_text(text)
    record = run.output("merge") / "oneday.json"  # files are known by their size
    record.write_text(record.read_text().replace(f'"size": {before}', f'"size": {len(text)}'))


def test_a_good_model_is_not_refused(run: Run) -> None:
    refusals.refuse(run, ["F32", "Q8_0"], "")


def test_types_are_read_finest_first() -> None:
    assert refusals.kinds("gguf", "") == ["Q8_0"]
    assert refusals.kinds("gguf", "q4_k_m,F16 Q8_0") == ["F16", "Q8_0", "Q4_K_M"]
    assert refusals.kinds("gguf", "all")[0] == "F32" and len(refusals.kinds("gguf", "all")) == 7


def test_every_slip_of_the_words_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        refusals.kinds("ggfu", "Q4_K Q9_0 F16")
    told = caught.value.faults
    assert told[0] == "FORMAT=ggfu: no such format; did you mean gguf?; FORMAT is gguf or onnx"
    assert told[1].startswith("TYPE=Q4_K: no such type; did you mean Q4_K_M?; TYPE is one or")
    assert [one[:9] for one in told[1:]] == ["TYPE=Q4_K", "TYPE=Q9_0"]
    with pytest.raises(UserError, match="TYPE: empty"):
        refusals.kinds("gguf", " ")
    with pytest.raises(UserError, match="FORMAT=onxn: no such format; did you mean onnx"):
        refusals.kinds("onxn", "")


def test_onnx_has_no_types() -> None:
    assert refusals.kinds("onnx", "") == []
    with pytest.raises(UserError, match=r"TYPE=F16: FORMAT=onnx has no types, .*; call it without"):
        refusals.kinds("onnx", "F16")


def test_no_merged_model(run: Run) -> None:
    shutil.rmtree(run.output("merge"))
    (fault,) = faults(run)
    assert fault.endswith("merged: missing; it is what is exported: make merge HW=cpu")


def test_a_merged_model_of_another_recipe(run: Run) -> None:
    other = make_run(run.path.parent, merge__max_logit_error=0.5)
    assert "merged: of another recipe; " in faults(other)[0]


def test_a_family_that_llama_cpp_does_not_know(run: Run) -> None:
    change(run, architectures=["OPTForCausalLM"])
    (fault,) = faults(run)
    assert "llama.cpp's converter knows no OPTForCausalLM; serve the merged folder" in fault


def test_a_model_with_an_encoder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's converter knows T5 and BERT, but nothing here could ask what comes of it.

    The other format is named, in one message.
    """
    change(run, architectures=["T5ForConditionalGeneration"], model_type="t5")
    monkeypatch.setattr(programs, "families", lambda: {"T5ForConditionalGeneration"})
    [fault] = faults(run)
    assert "an encoder with a decoder" in fault
    assert fault.endswith("call make export HW=cpu FORMAT=onnx")


def test_more_tokens_than_embeddings(run: Run) -> None:
    change(run, vocab_size=2)
    (fault,) = faults(run)
    assert "tokenizer.json has 3 tokens, config.json only vocab_size=2" in fault


def test_weights_that_are_quantized(run: Run) -> None:
    change(run, quantization_config={"quant_method": "bitsandbytes"})
    assert "quantized already; merge onto a plain base" in faults(run)[0]


def test_a_disk_that_is_too_small(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    (fault,) = faults(run, "F32", "F16", "Q8_0")
    assert "this takes 0.00 (F32 0.00, F16 0.00, Q8_0 0.00, to pack from 0.00); make room" in fault
    refusals.refuse(run, ["F32"], "")  # a packed type alone needs what it is packed from, too


def test_faults_are_told_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    change(run, vocab_size=2, architectures=["OPTForCausalLM"])
    assert len(faults(run)) == 2


@pytest.mark.parametrize(
    ("dtype", "kind"), [("float32", "F32"), ("bfloat16", "BF16"), ("float16", "F16")]
)
def test_which_type_rounds_nothing(dtype: str, kind: str, run: Run) -> None:
    change(run, dtype=dtype)
    assert refusals.lossless(run.output("merge")) == kind
