"""What a base's own files say is held against the recipe, each with the smallest folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import kin
from tests.tiny import recipe
from tools.base_model.architecture import architecture
from tools.check.rules import config_json, targets
from tools.check.rules.base import Fault
from tools.recipe.kinds import KINDS, Kind, family_kind
from tools.recipe.schema import Architecture, Recipe

LLAMA = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9,
         "num_attention_heads": 2, "intermediate_size": 16}  # fmt: skip


def local(folder: Path, config: dict[str, Any], **values: Any) -> Recipe:
    (folder / "config.json").write_text(json.dumps(config))
    return recipe(model__path=str(folder), **values)


def told(rule: Any, made: Recipe) -> list[Fault]:
    return list(rule(made, {}))


@pytest.mark.parametrize("kind", ["llamma", ""])
def test_a_kind_that_is_no_causal_model_is_refused(kind: str, tmp_path: Path) -> None:
    (fault,) = told(config_json.trainable, local(tmp_path, {"model_type": kind}))
    assert fault.verdict == "fail" and fault.key == "model.path"
    assert f"says model_type {kind or 'nothing'}" in fault.message
    assert ("did you mean llama?" in fault.message) == (kind == "llamma")


@pytest.mark.parametrize("family", ["DeciLM-6B", "InternLM"])
def test_a_family_that_cannot_be_trained_is_told_before_a_download(family: str) -> None:
    made = recipe(model__source="hub", model__id=f"somebody/{family}", model__family=family)
    (fault,) = told(config_json.trainable, made)
    assert fault.verdict == "fail" and fault.key == "model.family"
    assert fault.message.startswith(f"model.family {family}: its models ")


@pytest.mark.parametrize(
    ("family", "kind"), [("T5", "seq2seq"), ("RoBERTa", "encoder"), ("BART", "seq2seq")]
)
def test_a_family_of_another_kind_is_told_before_a_download(family: str, kind: str) -> None:
    made = recipe(model__source="hub", model__id=f"somebody/{family}", model__family=family)
    (fault,) = told(config_json.trainable, made)
    assert fault.key == "model.kind" and f"set model.kind={kind}" in fault.remedy
    made.model.kind = kind  # type: ignore[assignment]
    assert told(config_json.trainable, made) == []


def test_families_that_train_are_told_nothing() -> None:
    for family in targets._FAMILIES:
        kind = family_kind(family) or KINDS["causal"]
        made = recipe(
            model__source="hub", model__id=f"x/{family}", model__family=family,
            model__kind=kind.name,
        )  # fmt: skip
        assert told(config_json.trainable, made) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_model_types_are_those_of_transformers(kind: Kind) -> None:
    from transformers.models.auto import modeling_auto

    found = config_json.model_types(kind)
    assert found and found == set(getattr(modeling_auto, kind.table))


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    config = {**LLAMA, "quantization_config": {"quant_method": "gptq"}}
    (fault,) = told(config_json.trainable, local(tmp_path, config))
    assert "its weights are quantized" in fault.message


def test_the_folder_wins_over_the_recipe(tmp_path: Path) -> None:
    """Mistral's numbers stay where only the path was changed."""
    stale = Architecture(4096, 32, 14336, 32000, 32, 8, False)
    made = local(tmp_path, LLAMA, model__arch=stale)
    found = architecture(made.model)
    assert (found.hidden, found.layers, found.vocab) == (8, 1, 9)
    (fault,) = told(config_json.numbers, made)
    assert fault.verdict == "warn" and "hidden 8, layers 1, vocab 9" in fault.message


def test_more_context_than_positions(tmp_path: Path) -> None:
    (fault,) = told(config_json.numbers, local(tmp_path, {**LLAMA, "max_position_embeddings": 64}))
    assert fault.key == "model.context" and "1024 is more than the 64 positions" in fault.message
    right = local(tmp_path, {**LLAMA, "max_position_embeddings": 1024})
    assert told(config_json.numbers, right) == []


def test_tokens_of_another_model(tmp_path: Path) -> None:
    made = local(tmp_path, LLAMA, model__eos="</s>", model__pad="<unk>")
    assert told(config_json.tokens, made) == []  # without a tokenizer.json nothing is known
    added = [{"content": "<|im_end|>"}, {"content": "<unk>"}]
    tokenizer = {"added_tokens": added, "model": {"vocab": {"a": 0}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (fault,) = told(config_json.tokens, made)
    assert fault.key == "model.eos" and "</s> is no token of" in fault.message
    assert "<|im_end|>" in fault.remedy
    made.model.eos = "a"
    assert told(config_json.tokens, made) == []


def test_a_hub_model_that_is_here_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    made = recipe(model__source="hub", model__id="own/tiny", model__revision="abc")
    assert told(config_json.trainable, made) == []  # not here
    folder = tmp_path / "models--own--tiny" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**LLAMA, "model_type": "t5"}))
    (fault,) = told(config_json.trainable, made)
    assert fault.key == "model.kind"
    assert architecture(made.model).hidden == 8


@pytest.mark.parametrize(
    ("model_type", "wanted", "remedy"),
    [
        ("deberta", "sdpa", "eager"),
        ("deberta-v2", "flex_attention", "eager"),
        ("bloom", "sdpa", "eager"),
        ("t5", "flash_attention_2", "sdpa"),
        ("deberta", "eager", ""),
        ("llama", "flash_attention_2", ""),
        ("bert", "sdpa", ""),
        ("nobodys", "sdpa", ""),
        ("../../etc", "sdpa", ""),
    ],
)
def test_an_attention_that_the_model_has_not(
    model_type: str, wanted: str, remedy: str, tmp_path: Path
) -> None:
    """A trainer would end by it, the data made and the model loaded."""
    train = {"attn_implementation": wanted}
    found = told(config_json.attended, local(tmp_path, {"model_type": model_type}, train=train))
    assert [fault.key for fault in found] == (["train.attn_implementation"] if remedy else [])
    assert all(f"{wanted}: transformers has none for {model_type}" in one.message for one in found)
    assert [one.remedy for one in found] == ([f"set {found[0].key}={remedy}"] if remedy else [])


@pytest.mark.parametrize(("family", "kind"), [("DeBERTa", "encoder"), ("Bloom", "causal")])
def test_a_family_tells_it_before_a_download(family: str, kind: str) -> None:
    named = {"model__source": "hub", "model__id": f"somebody/{family}", "model__family": family}
    made = recipe(**named, model__kind=kind, train={"attn_implementation": "sdpa"})
    (fault,) = told(config_json.attended, made)
    assert "set train.attn_implementation=eager" in fault.remedy


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_transformers_says_the_same(family: str) -> None:
    """The source that is read is the class that is loaded."""
    net = kin.network(family, 320)
    read = config_json.attentions(net.config.model_type)
    assert read is not None
    assert ("sdpa" in read, "flash_attention_2" in read, "flex_attention" in read) == (
        net._supports_sdpa,
        net._supports_flash_attn,
        net._supports_flex_attn,
    )


@pytest.mark.parametrize(
    ("config", "wanted", "fails"),
    [
        ({"model_type": "gemma2", "attn_logit_softcapping": 50.0}, "sdpa", True),
        ({"model_type": "gemma2", "attn_logit_softcapping": 50.0}, None, True),
        ({"model_type": "gemma2"}, "xformers", True),
        ({"model_type": "gemma2"}, "flex_attention", False),
        ({"model_type": "gemma2"}, "eager", False),
        ({"model_type": "gemma2", "attn_logit_softcapping": None}, "sdpa", False),
        ({"model_type": "llama"}, "sdpa", False),
    ],
)
def test_capped_scores(
    config: dict[str, Any], wanted: str | None, fails: bool, tmp_path: Path
) -> None:
    """sdpa leaves the cap out and says nothing."""
    train = {"attn_implementation": wanted}
    found = told(config_json.capped, local(tmp_path, config, train=train))
    assert [fault.key for fault in found] == ["train.attn_implementation"] * fails
    assert all("leaves out the cap" in one.message and one.remedy for one in found)


def test_a_capped_family_is_told_before_a_download() -> None:
    named = {"model__source": "hub", "model__id": "google/gemma-2-2b", "model__family": "Gemma2"}
    made = recipe(**named, train={"attn_implementation": "sdpa"})
    (fault,) = told(config_json.capped, made)
    assert "leaves out the cap" in fault.message
