"""Packed rows: each document as if it were alone, windows honoured, on every family that packs."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tools.axolotl import packed_attention
from tools.axolotl.packed_attention import Documents, install

SMALL = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "vocab_size": 97, "num_key_value_heads": 2, "initializer_range": 0.3, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral-window": ("mistral", {"sliding_window": 6}),
    "qwen2-window": (
        "qwen2",
        {"sliding_window": 6, "use_sliding_window": True, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "phi3": ("phi3", {}),
    "gpt_neox": ("gpt_neox", {}),
    "opt": ("opt", {"ffn_dim": 32, "word_embed_proj_dim": 32, "init_std": 0.3}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
}


@pytest.fixture
def installed() -> Iterator[None]:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]
    install()
    install()  # twice is once
    yield
    ALL_ATTENTION_FUNCTIONS.register("sdpa", before[0])
    ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", before[1])


def model(name: str, attention: str = "sdpa") -> Any:
    torch.manual_seed(0)
    kind, more = FAMILIES[name]
    config = AutoConfig.for_model(kind, **{**SMALL, **more})
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def documents() -> list[list[int]]:
    numbers = random.Random(0)
    return [[numbers.randrange(1, 97) for _ in range(size)] for size in (9, 1, 17, 4, 12, 3)]


def packed(rows: list[list[list[int]]], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and positions of rows of documents, padded as Axolotl pads: by one more document."""
    ids = [[token for text in row for token in text] for row in rows]
    places = [[place for one in row for place in range(len(one))] for row in rows]
    ids = [row + [0] * (length - len(row)) for row in ids]
    places = [row + list(range(length - len(row))) for row in places]
    return torch.tensor(ids), torch.tensor(places)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_document_is_as_if_alone(name: str, installed: None) -> None:
    ours, plain = model(name), model(name, "eager")
    plain.load_state_dict(ours.state_dict())
    texts = documents()
    ids, positions = packed([texts[:3], texts[3:]], 30)
    with torch.no_grad():
        got = ours(input_ids=ids, position_ids=positions, use_cache=False).logits
        for row, mine in enumerate((texts[:3], texts[3:])):
            start = 0
            for text in mine:
                alone = plain(torch.tensor([text]), use_cache=False).logits[0]
                stop = start + len(text)
                assert torch.allclose(got[row, start:stop], alone, atol=1e-4), (row, start)
                start = stop


@pytest.mark.parametrize("name", ["llama", "mistral-window"])
def test_gradients_of_packed_rows_are_those_of_rows_alone(name: str, installed: None) -> None:
    """The loss of a pack is the sum over its documents, with checkpointing as in the recipes."""
    texts = documents()[2:4]
    found = []
    for rows in ([[texts[0], texts[1]]], [[texts[0]], [texts[1]]]):
        net = model(name).train()
        net.gradient_checkpointing_enable({"use_reentrant": False})
        total = torch.tensor(0.0)
        for row in rows:
            ids, positions = packed([row], sum(map(len, row)))
            labels = torch.cat([torch.tensor([-100, *text[1:]]) for text in row])[None]
            scores = net(input_ids=ids, position_ids=positions, use_cache=False).logits
            total = total + torch.nn.functional.cross_entropy(
                scores[0, :-1], labels[0, 1:], reduction="sum"
            )
        total.backward()
        found.append([one.grad for one in net.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_row_with_a_mask_goes_its_old_way(installed: None) -> None:
    net, plain = model("mistral-window"), model("mistral-window", "eager")
    plain.load_state_dict(net.state_dict())
    ids = torch.tensor([[0, 0, 5, 6, 7, 8, 9, 10, 11]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        one, other = (each(ids, attention_mask=mask).logits[0, 2:] for each in (net, plain))
    assert torch.allclose(one, other, atol=1e-4)


def test_what_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    """On a card: the bounds of the documents, the window without the token itself."""
    asked: dict[str, Any] = {}

    def kernel(query: Any, key: Any, value: Any, *bounds: Any, **how: Any) -> Any:
        asked.update(how, bounds=bounds[0].tolist(), longest=bounds[2:], keys=key.shape)
        return query

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    found = Documents(torch.tensor([[0, 1, 2, 0, 1], [0, 0, 0, 1, 2]]))
    many, few = torch.zeros(10, 4, 8), torch.zeros(10, 2, 8)
    packed_attention._by_kernel(many, few, few, found, 0.5, 3, 0.0)
    assert asked == {
        "bounds": [0, 3, 5, 6, 7, 10], "longest": (3, 3), "keys": (10, 2, 8), "scale": 0.5,
        "window_size": (2, 0), "enable_gqa": True,
    }  # fmt: skip
    packed_attention._by_kernel(many, many, many, found, None, None, 0.0)
    assert asked["window_size"] == (-1, 0) and not asked["enable_gqa"]


@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        ({"sample_packing": True, "attn_implementation": "sdpa", "sdpa_varlen": True}, True),
        ({"sample_packing": True, "attn_implementation": "sdpa", "sdpa_varlen": False}, False),
        ({"sample_packing": False, "attn_implementation": "sdpa", "sdpa_varlen": True}, False),
        ({"sample_packing": True, "attn_implementation": "flex_attention"}, False),
    ],
)
def test_the_plugin_puts_it_in_place(settings: dict[str, Any], ours: bool) -> None:
    from axolotl.utils.dict import DictDefault

    from tools.axolotl.plugin import OnedayPlugin

    before = ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]
    try:
        OnedayPlugin().pre_model_load(DictDefault({"seed": 1, **settings}))
        assert isinstance(ALL_ATTENTION_FUNCTIONS["sdpa"], packed_attention.Packed) is ours
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", before[0])
        ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", before[1])


@pytest.mark.parametrize("kind", ["falcon", "persimmon"])
def test_a_model_that_never_asks_for_it_is_told_of(kind: str, installed: None) -> None:
    """Falcon calls torch by itself, Persimmon names no positions; both take the mask left out.

    Their layers in recipes/models pack nothing; where one of them needs that no more, it packs.
    """
    torch.manual_seed(0)
    settings = {name: SMALL[name] for name in ("hidden_size", "num_attention_heads", "vocab_size")}
    config = AutoConfig.for_model(kind, num_hidden_layers=1, **settings)
    leaking = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    ids, positions = packed([documents()[:2]], 10)
    with torch.no_grad():
        leaking(input_ids=ids, position_ids=positions, use_cache=False)
        assert packed_attention.unused()
        model("llama")(input_ids=ids, position_ids=positions, use_cache=False)
    assert not packed_attention.unused()


def test_axolotl_still_leaves_windows_to_a_mask() -> None:
    """When it does not any more, and its wrapper honours them in every row, ours can go."""
    from inspect import getsource

    from axolotl.loaders.patch_manager import PatchManager

    assert "or uses_sliding" in getsource(PatchManager._apply_sdpa_varlen_patch)
