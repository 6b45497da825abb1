"""The quantize verb on a tiny model: its files load back, and a bad result is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

from tests import family_matrix, kin
from tests.tiny import make_run
from tests.tools.stages import bases
from tools.data.prepare import prepare
from tools.errors import StageError, UserError
from tools.run.folder import Run
from tools.stages import merge, quantize


@pytest.fixture
def merged(tiny_model: Path, tmp_path: Path) -> Callable[..., Run]:
    """Makes a run whose merged model is the tiny one."""

    def make(**values: Any) -> Run:
        run = make_run(tmp_path, model__path=str(tiny_model), **values)
        prepare(run)
        with run.produce("merge") as work:
            shutil.copytree(tiny_model, work.folder, dirs_exist_ok=True)
        return run

    return make


@pytest.mark.parametrize(
    ("name", "margin", "layer"), [("nf4", 0.1, torch.uint8), ("int8", 0.01, torch.int8)]
)
def test_formats_of_bitsandbytes(
    name: str, margin: float, layer: torch.dtype, merged: Callable[..., Run]
) -> None:
    run = merged(quantize__format=name)
    found = quantize.quantize(run)
    assert found["perplexity_ratio"] == pytest.approx(1, abs=margin)
    assert found["perplexity_ratio"] != 1
    assert found["quantized_mb"] < 0.6 * found["merged_mb"]
    assert run.done("quantize")
    stored = load_file(run.output("quantize") / "model.safetensors")
    assert stored["model.layers.0.mlp.up_proj.weight"].dtype == layer
    assert stored["lm_head.weight"].dtype == torch.float32
    assert (run.output("quantize") / "tokenizer.json").is_file()


@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_the_gate_judges_what_a_cpu_computes(name: str, merged: Callable[..., Run]) -> None:
    """Under ``serve.dtype`` int8 the format's own loss, and that of 8 bits on top of it."""
    plain = merged(quantize__format=name)
    before = quantize.quantize(plain)
    run = merged(quantize__format=name, serve__dtype="int8")
    assert not run.done("quantize"), "it was measured in float32"
    found = quantize.quantize(run)
    assert found["kl"] != before["kl"] and found["kl"] == pytest.approx(before["kl"], abs=0.01)
    assert found["perplexity_ratio"] == pytest.approx(before["perplexity_ratio"], abs=0.05)


def test_a_merge_by_an_older_version_is_quantized(merged: Callable[..., Run]) -> None:
    """Its ``generation_config.json`` is the base's, with a temperature and no do_sample."""
    run = merged(quantize__format="int8")
    file = run.output("merge") / "generation_config.json"
    file.write_text(json.dumps({"temperature": 0.9, "top_p": 0.6, "eos_token_id": 1}))
    quantize.quantize(run)
    stored = json.loads((run.output("quantize") / "generation_config.json").read_text())
    assert stored["do_sample"] is True and stored["temperature"] == 0.9


def test_a_loaded_model_is_unpacked_for_the_cpu(merged: Callable[..., Run]) -> None:
    run = merged()
    quantize.quantize(run)
    net = quantize.load(run.output("quantize"), "cpu")
    assert {type(module).__name__ for module in net.modules()} >= {"Linear"}
    assert not any(type(module).__name__.startswith("Linear4bit") for module in net.modules())


@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_layers_that_bitsandbytes_leaves_whole(name: str, tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "falcon", "safetensors")
    run = make_run(tmp_path, quantize__format=name)
    with pytest.raises(StageError, match=r"replaces none of .* set quantize\.format=none"):
        quantize._by_bitsandbytes(run, base, tmp_path / "quantized")


@pytest.mark.parametrize(
    ("family", "kind", "end"), [("bart", "seq2seq", "</s>"), ("bert", "encoder", "[SEP]")]
)
def test_models_with_an_encoder(family: str, kind: str, end: str, tmp_path: Path) -> None:
    """Merged and packed as all are, at the tokens of answers; BART's forced end is gone."""
    base = kin.folder(family, tmp_path / "base")
    pad = end.replace("/s", "pad").replace("SEP", "PAD")
    run = make_run(
        tmp_path, model__path=str(base), model__kind=kind, model__eos=end, model__pad=pad,
        model__context=512, quantize__format="int8",
    )  # fmt: skip
    prepare(run)
    with run.produce("train") as work:
        family_matrix.train(base, family, "lora", work.folder)
    moved = merge.merge(run)
    assert moved["max_logit_diff"] < 1e-4 * moved["max_logit_change"]
    found = quantize.quantize(run)
    assert found["perplexity_ratio"] == pytest.approx(1, abs=0.05)
    assert found["compared_tokens"] > found["perplexity_rows"]
    config = json.loads((run.output("quantize") / "config.json").read_text())
    assert config.get("forced_eos_token_id") is None


def test_a_layer_that_is_too_narrow_for_nf4(tmp_path: Path) -> None:
    """bitsandbytes packs it, and fails as soon as it computes."""
    from transformers import ElectraConfig, ElectraForMaskedLM

    small = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ElectraConfig(vocab_size=96, embedding_size=32, intermediate_size=64, **small)
    ElectraForMaskedLM(config).save_pretrained(tmp_path / "base")
    run = make_run(tmp_path, quantize__format="nf4")
    with pytest.raises(UserError, match=r"embeddings_project\.weight reads 32 .*int8 or none"):
        quantize._by_bitsandbytes(run, tmp_path / "base", tmp_path / "quantized")


@pytest.mark.parametrize("name", ["w4a16", "int8_int4"])
def test_formats_of_causal_models_only(name: str, tmp_path: Path) -> None:
    base = kin.folder("bert", tmp_path / "base")
    run = make_run(tmp_path, quantize__format=name)
    with pytest.raises(UserError, match=f"fills masks: {name} is made by .* causal models; set"):
        quantize._make(run, base, tmp_path / "quantized")


def test_a_ratio_above_the_limit(merged: Callable[..., Run]) -> None:
    run = merged(quantize__max_perplexity_ratio=0.5)
    with pytest.raises(StageError, match=r"more than quantize\.max_perplexity_ratio = 0\.5"):
        quantize.quantize(run)
    assert not run.output("quantize").exists() and not run.done("quantize")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"quantize__max_kl": 1e-9}, r"more than quantize\.max_kl = 1e-09"),
        ({"quantize__min_top1": 1.0, "quantize__max_kl": 9.0}, r"less than quantize\.min_top1 = 1"),
    ],
)
def test_a_divergence_beyond_the_limit(
    limit: dict[str, float], said: str, merged: Callable[..., Run]
) -> None:
    run = merged(**limit)
    with pytest.raises(StageError, match=said + r".*SET=quantize\.keep=true"):
        quantize.quantize(run)
    assert not run.output("quantize").exists()


def test_a_model_beyond_a_limit_is_kept_where_one_says_so(
    merged: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = merged(quantize__max_kl=1e-9, quantize__keep=True)
    found = quantize.quantize(run)
    assert run.done("quantize") and "quantize.max_kl = 1e-09" in found["beyond"][0]
    record = run.record("quantize")
    assert record and record["metrics"]["beyond"] == found["beyond"]
    assert "WARNING: beyond the recipe's limits, and kept (quantize.keep): " in "".join(
        capsys.readouterr()
    )


def test_the_figures_of_the_record(merged: Callable[..., Run]) -> None:
    found = quantize.quantize(merged(quantize__format="int8"))
    for name in ("perplexity_ratio", "kl", "top1"):
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
    assert 0 < found["kl"] < 0.01 and 0.9 < found["top1"] <= 1 and found["compared_tokens"] > 10
    assert found["limits"]["max_kl"] == 0.2 and not {"beyond", "tier", "chosen"} & found.keys()


def test_auto_says_why(merged: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    run = merged(quantize__format="int8", quantize__chosen="int8: for a test")
    assert quantize.quantize(run)["chosen"] == "int8: for a test"
    assert "format auto takes int8: for a test" in "".join(capsys.readouterr())


@pytest.mark.parametrize(("drop", "keep"), [(0.0, False), (0.2, False), (0.2, True)])
def test_the_tier_is_asked_of_both(
    drop: float, keep: bool, merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HELM itself is asked in tests/e2e; here what its answer does."""
    tier = {
        "tier": "tier", "merged": 0.5, "quantized": 0.5 - drop, "drop": drop,
        "drop_interval": [drop / 2, drop * 2], "questions": 9, "run_specs": 1, "failed": {},
    }  # fmt: skip

    def ask(run: Run, name: str, models: dict[str, Path]) -> dict[str, Any]:
        assert name == "tier" and list(models) == ["merged", "quantized"]
        assert all((folder / "config.json").is_file() for folder in models.values())
        return tier

    monkeypatch.setattr(quantize.side_by_side, "ask", ask)
    run = merged(quantize__tier="tier", quantize__keep=keep)
    if drop and not keep:
        with pytest.raises(StageError, match=r"fell .* more than quantize\.max_score_drop = 0\.03"):
            quantize.quantize(run)
        assert not run.output("quantize").exists()
        return
    found = quantize.quantize(run)
    assert found["tier"] == tier and bool(found.get("beyond")) is keep


def test_files_that_do_not_load(
    merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = quantize._by_bitsandbytes

    def truncating(run: Run, merged: Path, folder: Path) -> None:
        real(run, merged, folder)
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])

    monkeypatch.setattr(quantize, "_by_bitsandbytes", truncating)
    run = merged()
    with pytest.raises(StageError, match=r"nf4 files do not load back .* are none, nf4, int8"):
        quantize.quantize(run)
    assert not run.output("quantize").exists()


def test_a_model_of_nan(merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    real = quantize._by_bitsandbytes

    def spoiling(run: Run, merged: Path, folder: Path) -> None:
        real(run, merged, folder)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors["model.norm.weight"] *= torch.nan
        save_file(tensors, file, {"format": "pt"})

    monkeypatch.setattr(quantize, "_by_bitsandbytes", spoiling)
    with pytest.raises(StageError, match="ratio nan"):
        quantize.quantize(merged())


@pytest.mark.parametrize(
    ("name", "types"), [("int8_int4", {"weight_dtype": "int4", "activation_dtype": "int8"})]
)
def test_formats_of_axolotl(
    name: str,
    types: dict[str, str],
    merged: Callable[..., Run],
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = merged(quantize__format=name)

    def axolotl(run: Run, command: str, config: Path, overrides: dict[str, Any]) -> None:
        assert (command, overrides) == ("quantize", {"base_model": str(run.output("merge"))})
        rendered = OmegaConf.load(config)
        assert isinstance(rendered, DictConfig) and rendered["quantization"] == types
        # Axolotl opens a log in the folder that its file names: not in the finished adapter's.
        folder = Path(rendered["output_dir"]) / "quantized"
        assert folder.parent.parent == run.path and folder.parent != run.output("train")
        shutil.copytree(tiny_model, folder)
        (folder.parent / "debug.log").touch()
        (folder / "generation_config.json").unlink()

    monkeypatch.setattr(quantize.axolotl, "call", axolotl)
    assert quantize.quantize(run)["perplexity_ratio"] == 1
    names = {path.name for path in run.output("quantize").iterdir()}
    assert {"config.json", "generation_config.json"} <= names
    assert not {"quantized", "debug.log"} & names


def test_no_format(merged: Callable[..., Run]) -> None:
    run = merged(quantize__format="none")
    assert quantize.quantize(run) == {} and not run.output("quantize").exists()
