"""``serve.dtype`` on a CPU: what computes is near float32, or the start is refused."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from serve import limits
from serve.config import ServeConfig
from serve.engine import build_engine, formats, memory
from serve.engine.base import Engine, GenRequest, GenResult
from serve.engine.batching import Batching
from serve.engine.eightbit import EightBitLinear
from serve.engine.formats import TEXT, Told
from serve.engine.hf_dynamic import HfDynamic
from serve.startup import StartError, load_config
from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.serve.engine.test_batching import FALLEN_BACK, random_prompts, save

COARSE = ["bfloat16", "int8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("formats")
    return save_model(root, byte_level_tokenizer(), hidden_size=128, initializer_range=0.1)


def eight_bits(model: torch.nn.Module) -> int:
    return sum(isinstance(one, EightBitLinear) for one in model.modules())


def ask(engine: Engine, requests: list[GenRequest]) -> list[GenResult]:
    futures: list[Future[GenResult]] = [engine.submit(request) for request in requests]
    return [future.result(timeout=120) for future in futures]


@pytest.mark.parametrize("dtype", COARSE)
@pytest.mark.parametrize("deterministic", [False, True])
def test_answers_are_near_float32(folder: Path, dtype: Any, deterministic: bool) -> None:
    config = ServeConfig(context=256, deterministic=deterministic, prefill_tokens=64)
    requests = [
        GenRequest(f"q{i}", prompt, max_new_tokens=0, echo=True)
        for i, prompt in enumerate(random_prompts(6, longest=60))
    ]
    scores = []
    for one in ("float32", dtype):
        engine = build_engine(folder, replace(config, dtype=one), "cpu")
        assert isinstance(engine, Batching)
        assert (engine.info.dtype, engine.info.engine) == (one, "transformers")
        found = ask(engine, requests)
        engine.close()
        scores.append([token.logprob for result in found for token in result.prompt])
    off = max(abs(a - b) for a, b in zip(*scores, strict=True))
    assert 0 < off < 0.5


def test_int8_is_in_every_linear_layer(folder: Path) -> None:
    engine = build_engine(folder, ServeConfig(context=64, dtype="int8"), "cpu")
    assert isinstance(engine, Batching)
    assert eight_bits(engine._stepper._model) == 2 * 7 + 1
    engine.close()


@pytest.mark.parametrize("name", ["nf4", "int8", "bfloat16"])
def test_folders_of_other_formats(folder: Path, tmp_path: Path, name: str) -> None:
    """Unpacked, then rounded to 8 bits: the int8 folder's own numbers, nearly NF4's."""
    quantized = {
        "nf4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        "int8": BitsAndBytesConfig(load_in_8bit=True),
        "bfloat16": None,
    }
    AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if name == "bfloat16" else torch.float32,
        device_map={"": "cpu"},
        quantization_config=quantized[name],
    ).save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    engine = build_engine(tmp_path, ServeConfig(context=64, dtype="int8"), "cpu")
    assert isinstance(engine, Batching)
    assert engine.info.dtype == "int8"
    assert engine.info.quantization == ("none" if name == "bfloat16" else "bitsandbytes")
    [result] = ask(engine, [GenRequest("q", (5, 6, 7), max_new_tokens=4)])
    engine.close()
    assert len(result.tokens) == 4 or result.finish_reason == "eos"


def test_alone_and_together_an_answer_is_the_same(folder: Path) -> None:
    engine = build_engine(folder, ServeConfig(context=256, dtype="int8"), "cpu")
    requests = [
        GenRequest(f"q{i}", prompt, max_new_tokens=12)
        for i, prompt in enumerate(random_prompts(12, longest=90))
    ]
    alone = [ask(engine, [request])[0] for request in requests]
    together = ask(engine, [replace(request, id=f"x{request.id}") for request in requests])
    engine.close()
    assert [[t.id for t in one.tokens] for one in alone] == [
        [t.id for t in one.tokens] for one in together
    ]


def test_a_model_that_does_not_batch_computes_in_8_bits_too(tmp_path: Path) -> None:
    model_dir = save(tmp_path, *FALLEN_BACK["codegen"])
    engine = build_engine(model_dir, ServeConfig(context=64, dtype="int8"), "cpu")
    assert isinstance(engine, HfDynamic)
    assert (engine.info.engine, engine.info.dtype) == ("hf-dynamic", "int8")
    assert eight_bits(engine._model) > 0
    engine.close()


def test_adapters_stay_beside_layers_of_8_bits(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(folder)
    settings = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(base, settings).save_pretrained(tmp_path)
    config = ServeConfig(context=64, dtype="int8", adapters={"math": str(tmp_path)})
    engine = build_engine(folder, config, "cpu")
    assert isinstance(engine, Batching)
    assert eight_bits(engine._stepper._model) == 2 * 7 + 1
    one = GenRequest("a", (5, 6, 7), max_new_tokens=0, echo=True)
    plain, adapted = ask(engine, [one, replace(one, id="b", adapter="math")])
    engine.close()
    assert plain.prompt[2].logprob != adapted.prompt[2].logprob


def test_a_model_without_such_layers_computes_in_float32(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(formats, "to_eight_bits", lambda model: 0)
    engine = build_engine(folder, ServeConfig(context=64, dtype="int8"), "cpu")
    engine.close()
    assert engine.info.dtype == "float32"
    assert "no layer can be of 8 bits here: float32 computes" in caplog.text


def test_bfloat16_without_memory_for_both(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = memory.free_bytes
    monkeypatch.setattr(formats, "_fits", lambda model_dir: False)
    engine = build_engine(folder, ServeConfig(context=64, dtype="bfloat16"), "cpu")
    engine.close()
    assert engine.info.dtype == "bfloat16" and free is memory.free_bytes
    assert "no memory to hold it against float32" in caplog.text


def test_how_much_memory_float32_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    for free, fits in ((4 * count, False), (4 * count + 1, True)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        assert formats._fits(folder) is fits


def skewed(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Logits that say less of what comes next, or nothing at all."""
    return lambda logits: logits * factor


WORDS = 50


@pytest.fixture
def knowing() -> Told:
    """A model that knows what comes next."""
    torch.manual_seed(0)
    ids = torch.randint(WORDS, (80,)).tolist()
    logits = torch.randn(80, WORDS) * 0.1
    logits[torch.arange(79), torch.tensor(ids[1:])] += 4.0
    return Told(ids, logits)


@pytest.mark.parametrize("dtype", COARSE)
def test_what_is_as_good_passes(
    dtype: str, knowing: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    formats._judge(dtype, knowing, knowing.logits + 3.0)  # which softmax does not see
    assert f"{dtype}: perplexity 1." in caplog.text


def test_a_spoilt_model_is_refused(knowing: Told) -> None:
    with pytest.raises(StartError) as caught:
        formats._judge("int8", knowing, knowing.logits * 0.5)
    logits, perplexity = caught.value.faults
    assert logits.startswith("serve.dtype: int8: its logits are 0.5 of float32's apart, more than")
    assert "perplexity on a short text grows from 1." in perplexity
    assert perplexity.endswith("more than 1.05 times; set it to float32")
    with pytest.raises(StartError, match="nan"):
        formats._judge("int8", knowing, knowing.logits * torch.nan)


def test_a_model_that_knows_nothing_of_the_text_is_judged_by_its_logits(knowing: Told) -> None:
    ignorant = replace(knowing, logits=-knowing.logits)
    formats._judge("int8", ignorant, ignorant.logits * 1.05)
    with pytest.raises(StartError, match="logits"):
        formats._judge("int8", ignorant, ignorant.logits * 1.3)


def test_a_format_that_spoils_the_model_ends_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formats.APART, "int8", 1e-6)
    with pytest.raises(
        StartError, match=r"serve\.dtype: int8: its logits are .* set it to float32"
    ):
        build_engine(folder, ServeConfig(context=64, dtype="int8"), "cpu")


def test_the_text_is_long_enough_for_a_figure(folder: Path) -> None:
    assert 100 < len(TEXT.split()) < 200
    assert all(len(line) < 800 for line in TEXT.splitlines())


@pytest.mark.parametrize(
    ("engine", "device", "said"),
    [
        ("transformers", "cuda", ["int8 is what a CPU computes in, not a card"]),
        ("vllm", "cpu", ["the engine vllm does not compute in int8"]),
        ("hf-dynamic", "cuda", ["int8 is what a CPU", "the engine hf-dynamic does not"]),
    ],
)
def test_where_there_is_no_int8(engine: Any, device: str, said: list[str]) -> None:
    found = limits.of_device(ServeConfig(engine=engine, dtype="int8"), device)
    assert [key for key, _ in found] == ["dtype"] * len(said)
    assert all(text.startswith(one) for (_, text), one in zip(found, said, strict=True))
    assert limits.of_device(ServeConfig(engine=engine), device) == []
    assert limits.of_device(ServeConfig(dtype="int8"), "cpu") == []


def test_it_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(StartError, match=r"serve\.dtype: int8 is what a CPU computes in"):
        build_engine(tmp_path, ServeConfig(dtype="int8"), "cuda:0")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(StartError, match="int8 is for causal models, not an encoder with a dec"):
        build_engine(tmp_path, ServeConfig(dtype="int8"), "cpu")


def test_a_misspelt_dtype_is_told_what_there_is() -> None:
    with pytest.raises(StartError, match=r"dtype = 'int4'.*'float32'.*'int8'"):
        load_config(None, {"dtype": "int4"})
