"""Adapters beside the weights against PEFT's own forward passes, one adapter at a time."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from serve.engine.lora import _NOT_DONE, Adapters, LoraLinear, attach
from serve.startup import StartError

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]])


def llama(hidden: int = 32) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": hidden, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes, **heads)).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4)).eval()


BASES = {"llama": llama, "gpt2": gpt2}
TARGETS = {"llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["c_attn", "c_proj", "c_fc"]}


def train(folder: Path, base: str, seed: int, **settings: Any) -> Path:
    """Saves a random adapter as PEFT does; A and B are both far from zero."""
    options = {"target_modules": TARGETS[base], "r": 4, "lora_alpha": 8} | settings
    options["fan_in_fan_out"] = base == "gpt2"
    config = peft.LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(BASES[base](), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@torch.inference_mode()
def logits(model: Any, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    return model(input_ids=tokens).logits[0]


def of_peft(base: str, folder: Path) -> torch.Tensor:
    """PEFT's logits of one adapter alone."""
    return logits(peft.PeftModel.from_pretrained(BASES[base](), folder).eval())


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(actual, expected, atol=1e-5, rtol=0)


@pytest.fixture
def llama_adapters(tmp_path: Path) -> dict[str, Path]:
    """Two adapters of unlike ranks, scales and modules."""
    other = {"target_modules": ["q_proj", "gate_proj"], "r": 7, "lora_alpha": 3}
    return {
        "a": train(tmp_path / "a", "llama", 1),
        "b": train(tmp_path / "b", "llama", 2, use_rslora=True, **other),
    }


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {r"layers.0.self_attn.q_proj": 2, "down_proj": 6, "h.1.mlp.c_fc": 2},
        "alpha_pattern": {"v_proj": 32, "c_attn": 32},
    },
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("base", BASES)
def test_one_adapter_is_peft(tmp_path: Path, base: str, settings: str) -> None:
    folder = train(tmp_path, base, 1, **SETTINGS[settings])
    model = BASES[base]()
    plain = logits(model)
    adapters = attach(model, {"a": folder})
    assert adapters.names == ("a",)
    assert torch.equal(logits(model), plain), "before any choice the model is itself"
    adapters.use(["a"] * 12)
    assert close(logits(model), of_peft(base, folder))
    assert not close(logits(model), plain), "the adapter does nothing"
    adapters.use([None] * 12)
    assert torch.equal(logits(model), plain)


def flat_batch(model: Any, requests: int) -> torch.Tensor:
    """``[requests, tokens, vocabulary]`` of the same tokens, one request after another, flattened.

    The mask lets no request see another, as the batching engine's does.
    """
    tokens = TOKENS.shape[1]
    owner = torch.arange(requests).repeat_interleave(tokens)
    place = torch.arange(tokens).repeat(requests)
    mask = (owner[:, None] == owner) & (place[:, None] >= place)
    bias = torch.zeros(1, 1, *mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with torch.inference_mode():
        out = model(
            input_ids=TOKENS.repeat(1, requests), attention_mask=bias, position_ids=place[None]
        )
    return out.logits[0].view(requests, tokens, -1)


@pytest.mark.parametrize("one_shape", [False, True])
def test_each_request_of_a_mixed_batch_is_peft_alone(
    llama_adapters: dict[str, Path], one_shape: bool
) -> None:
    model = llama()
    expected = {None: logits(model)} | {
        name: of_peft("llama", folder) for name, folder in llama_adapters.items()
    }
    adapters = attach(model, llama_adapters, one_shape)
    batches: list[list[str | None]] = [["a", None, "b"], ["b", "a", "a"], ["a"] * 3, [None] * 3]
    for names in batches:
        adapters.use([name for name in names for _ in range(12)])
        for row, name in zip(flat_batch(model, len(names)), names, strict=True):
            assert close(row, expected[name]), (names, name)


def test_a_mixed_batch_of_gpt2(tmp_path: Path) -> None:
    """Its Conv1D modules, in rows of a batch instead of one flat row."""
    folders = {name: train(tmp_path / name, "gpt2", seed) for seed, name in enumerate("ab")}
    model = gpt2()
    plain = logits(model)
    adapters = attach(model, folders)
    adapters.use(["a"] * 12 + [None] * 12 + ["b"] * 12)
    with torch.inference_mode():
        rows = model(input_ids=TOKENS.repeat(3, 1)).logits
    expected = [of_peft("gpt2", folders["a"]), plain, of_peft("gpt2", folders["b"])]
    for row, alone in zip(rows, expected, strict=True):
        assert close(row, alone)


def test_one_shape_does_not_depend_on_the_neighbours(llama_adapters: dict[str, Path]) -> None:
    """All ranks are computed, whoever is there: sums of another length may round otherwise.

    That they do was seen with ranks 5 and 13 of 128 to 96 numbers, on one machine.
    """
    model = llama().bfloat16()
    adapters = attach(model, llama_adapters, one_shape=True)
    seen = []
    for neighbour in ("a", "b", None):
        adapters.use(["a"] * 6 + [neighbour] * 6)
        assert adapters._choice.rows is not None
        seen.append(logits(model)[:6])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_an_overflow_stays_with_its_own_tokens(
    llama_adapters: dict[str, Path], tmp_path: Path
) -> None:
    """Infinity times the zero of a mask would be NaN in everybody's answer."""
    weights = load_file(llama_adapters["b"] / "adapter_model.safetensors")
    broken = shutil.copytree(llama_adapters["b"], tmp_path / "broken")
    huge = {key: torch.full_like(value, 1e38) for key, value in weights.items()}
    save_file(huge, broken / "adapter_model.safetensors")
    model = llama()
    adapters = attach(model, {"a": llama_adapters["a"], "broken": broken})
    module, x = model.model.layers[0].self_attn.q_proj, torch.randn(4, 32)
    adapters.use(["a"] * 4)
    alone = module(x)
    adapters.use(["a", "a", "broken", None])
    out = module(x)
    assert close(out[:2], alone[:2])
    assert not out[2].isfinite().any()
    assert torch.equal(out[3], module.base(x)[3])


def test_the_base_module_may_be_replaced(llama_adapters: dict[str, Path]) -> None:
    """Prepacking puts a module of the same call in place of every nn.Linear, ``base`` too."""

    class Packed(torch.nn.Module):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__()
            self.w = linear.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w.T

    model = llama()
    adapters = attach(model, llama_adapters)
    replaced = 0
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            model.set_submodule(path, Packed(module))
            replaced += path.endswith(".base")
    assert replaced == sum(isinstance(module, LoraLinear) for module in model.modules()) == 8
    adapters.use(["b"] * 12)
    assert close(logits(model), of_peft("llama", llama_adapters["b"]))


def test_an_unknown_name(llama_adapters: dict[str, Path]) -> None:
    adapters: Adapters = attach(llama(), llama_adapters)
    with pytest.raises(KeyError, match="c"):
        adapters.use(["a", "c"])


def edit(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"use_dora": True}, "use_dora = True: not served beside a model; merge it"),
        ({"kasa_config": {"beta": 1e-4}}, "kasa_config = {'beta': 0.0001}: not served"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save = ['lm_head']"),
        ({"bias": "lora_only"}, "bias = 'lora_only': only 'none'"),
        ({"peft_type": "IA3"}, "peft_type = 'IA3': only LORA"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights = 'pissa_niter_4': has alter"),
        ({"r": None}, "r = None: must be a number"),
    ],
)
def test_what_is_not_done_is_refused(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    folder = train(tmp_path, "llama", 1)
    edit(folder, **settings)
    with pytest.raises(StartError) as caught:
        attach(llama(), {"mine": folder})
    [line] = caught.value.faults
    assert line.startswith(f"adapter 'mine': {folder / 'adapter_config.json'}: ")
    assert fault in line


def test_every_variant_of_lora_is_refused_or_known_to_compute_the_same() -> None:
    """When this fails, PEFT has a new one: what does it add to the weights?"""
    fields = dataclasses.fields(peft.LoraConfig)
    variants = {one.name for one in fields if one.metadata.get("is_lora_variant")}
    # VeLoRA has another backward pass only.
    assert variants == {name for name in _NOT_DONE if name in variants} | {"velora_config"}
    assert "use_dora" in variants


def test_rank_that_the_weights_do_not_have(tmp_path: Path) -> None:
    folder = train(tmp_path, "llama", 1)
    edit(folder, rank_pattern={"q_proj": 5})
    with pytest.raises(StartError, match=r"q_proj: A and B are 4x32 and 32x4, not 5x32 and 32x5"):
        attach(llama(), {"a": folder})


def test_an_adapter_of_another_model(tmp_path: Path) -> None:
    """Of other sizes, of another architecture, on the output head."""
    folder = train(tmp_path / "llama", "llama", 1)
    edit(folder, base_model_name_or_path="some/llama")
    with pytest.raises(StartError) as caught:
        attach(llama(hidden=64), {"a": folder})
    assert "in 6 of 6 modules" in str(caught.value)
    assert "was trained on some/llama" in str(caught.value)
    with pytest.raises(StartError, match=r"model\.layers\.0\..*: the model has no such module"):
        attach(gpt2(), {"a": folder})
    head = train(tmp_path / "head", "llama", 1, target_modules=["q_proj", "lm_head"])
    with pytest.raises(StartError, match="lm_head: the output head"):
        attach(llama(), {"a": head})


def drop(folder: Path, keep: Callable[[str], bool]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({key: value for key, value in load_file(path).items() if keep(key)}, path)


def test_damaged_folders(tmp_path: Path) -> None:
    """All of them in one error, so that they are put right at once."""
    folders = {name: train(tmp_path / name, "llama", 1) for name in ("json", "half", "cut", "more")}
    (folders["json"] / "adapter_config.json").write_text("{")
    drop(folders["half"], lambda key: "0.self_attn.q_proj.lora_B" not in key)
    (folders["cut"] / "adapter_model.safetensors").write_bytes(b"12345")
    weights = load_file(folders["more"] / "adapter_model.safetensors")
    weights["base_model.model.model.embed_tokens.weight"] = torch.zeros(64, 32)
    save_file(weights, folders["more"] / "adapter_model.safetensors")
    with pytest.raises(StartError) as caught:
        attach(llama(), folders | {"empty": tmp_path})
    expected = [
        "adapter_config.json: is not JSON",
        "A or B of model.layers.0.self_attn.q_proj is missing",
        "adapter_model.safetensors: cannot be read",
        "besides A and B of linear modules, first base_model.model.model.embed_tokens.weight",
        f"{tmp_path}: has no adapter_config.json and no adapter_model.safetensors; give the folder",
    ]
    for fault, words in zip(caught.value.faults, expected, strict=True):
        assert words in fault
