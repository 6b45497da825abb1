"""The merge matrix: every family of bases by every way to train, from files of every form.

``python -m tests.merge_matrix`` prints it: the largest distance of the merged model's logits from
those of what was trained, or why there is none, and below it the table of ``tests.family_matrix``,
of models that are not causal. Tiny random models, in fp32, on a CPU; their files
are named as the makers' are. tests/tools/stages/test_merge_matrix.py runs a part of it.
"""

import argparse
import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests import family_matrix
from tests.kin import FAMILIES
from tests.matrix import table
from tests.tools.stages import bases
from tools.base_model.pickled import as_safetensors
from tools.check.rules.unpacked import _FORGETS_HEADS, _WHOLE
from tools.errors import StageError, UserError
from tools.stages.merging import merge_folders
from tools.stages.merging.rounding import Rounding

# As Axolotl loads a base for qlora.
NF4 = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
)
ROUNDING = Rounding(NF4, torch.float32, "cpu")
WAYS: dict[str, dict[str, Any]] = {
    "lora": {},
    "qlora": {},
    "qlora-plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "qdora": {"use_dora": True},
    "whole": {"modules_to_save": ["EMBEDDING", "lm_head"]},
    "embedding": {"modules_to_save": ["EMBEDDING"]},
    "head": {"target_modules": ["lm_head"]},
    "embedding-lora": {"target_modules": ["EMBEDDING"]},
    "tokens": {"trainable_token_indices": {"EMBEDDING": [5, 250]}},
    "tied": {"target_modules": ["EMBEDDING", "lm_head"], "ensure_weight_tying": True},
    "full": {},
}
#: What each is, as a recipe says it.
MEANING = {
    "lora": "train.adapter: lora",
    "qlora": "train.adapter: qlora, merge.method: nf4_aware",
    "qlora-plain": "train.adapter: qlora, merge.method: plain",
    "rslora": "train.peft_use_rslora: true",
    "dora": "train.peft_use_dora: true",
    "qdora": "the same with qlora, merge.method: nf4_aware",
    "whole": "train.lora_modules_to_save: embedding and head",
    "embedding": "train.lora_modules_to_save: the embedding alone",
    "head": "train.lora_target_modules with the head, tied or not",
    "embedding-lora": "train.lora_target_modules with the embedding",
    "tokens": "train.peft_trainable_token_indices",
    "tied": "embedding and head in train.lora_target_modules, train.peft_ensure_weight_tying",
    "full": "train.adapter: null",
}
FORMS = ("safetensors", "shards", "bin", "bins")
LIMIT = 1e-4  # of the distance of logits, whose size is about ten
PROMPT = torch.tensor([[5, 250, 17, 99, 3, 42, 7, 7, 120, 299]])


def load(base: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **options).eval()


def logits(net: Any) -> Any:
    with torch.inference_mode():
        return net(PROMPT).logits


def lora(family: bases.Family, way: str) -> LoraConfig:
    """As Axolotl 0.21.0 makes it of a recipe."""
    named = {"EMBEDDING": family.embedding}
    options: dict[str, Any] = {"target_modules": [], **WAYS[way]}
    ours = [named.get(one, one) for one in options["target_modules"]]
    options["target_modules"] = [*family.layers, *ours]
    if "modules_to_save" in options:
        options["modules_to_save"] = [named.get(one, one) for one in options["modules_to_save"]]
    if "trainable_token_indices" in options:
        options["trainable_token_indices"] = {family.embedding: [5, 250]}
    return LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", fan_in_fan_out=None, **options)


def train(base: Path, family: bases.Family, way: str, folder: Path) -> Path:
    """An adapter as if it had been trained: every number that training moves is moved."""
    if way == "full":
        return train_whole(base, folder)
    packed = {"quantization_config": NF4} if way.startswith("q") else {}
    torch.manual_seed(3)
    net = get_peft_model(load(base, **packed), lora(family, way))
    for name, weight in net.named_parameters():
        if weight.requires_grad and "lora_A" not in name:
            weight.data += 0.1 * torch.randn_like(weight)
    net.save_pretrained(folder)
    return folder


def train_whole(base: Path, folder: Path) -> Path:
    """A model all of whose weights have moved, as transformers saves it."""
    torch.manual_seed(3)
    net = load(base)
    for weight in net.parameters():
        weight.data += 0.02 * torch.randn_like(weight)
    net.save_pretrained(folder)
    return folder


def expected(base: Path, adapter: Path, rounded: bool) -> tuple[Any, Any]:
    """Logits of the base and of base + adapter, on the weights that the adapter belongs on."""
    if not (adapter / "adapter_config.json").is_file():
        return logits(load(base)), logits(load(adapter))
    net = load(base, **({"quantization_config": NF4} if rounded else {}))
    packs = any(isinstance(module, Linear4bit) for module in net.modules())  # none of Falcon's
    net = net.dequantize() if packs else net
    return logits(net), logits(PeftModel.from_pretrained(net, adapter).eval())


def merge(base: Path, adapter: Path, folder: Path, rounding: Rounding | None = None) -> Path:
    folder.mkdir()
    merge_folders(base, adapter, folder, rounding)
    return folder


ROUNDED = ("qlora", "qdora")
#: Bases that PEFT does not read a tied head's adapter back of; ``check`` refuses these.
FORGETFUL = {name for name, one in bases.ALL.items() if one.kind in _FORGETS_HEADS}
NOTES = {
    "a": "refused, by check already: PEFT does not read back what it trains of this tied head",
    "b": "bitsandbytes replaces none of its layers, so nothing was in 4 bits; check refuses it",
    "c": "its experts are one weight of transformers' and several tensors of the file: they are "
    "merged of a full fine-tuning, and LoRA sits on the attention",
}


def distances(name: str, way: str, folder: Path) -> Iterator[tuple[str, float | str]]:
    """Of one family and one way: by form the largest distance of logits, or why it was refused."""
    base = bases.write(folder / "base", name, "safetensors")
    adapter = train(base, bases.ALL[name], way, folder / "adapter")
    before, wanted = expected(base, adapter, way in ROUNDED)
    if not (wanted - before).abs().max() > 0.01:
        raise AssertionError(f"{name}, {way}: nothing was trained")
    for form in FORMS:
        made = as_safetensors(bases.write(folder / f"a {form}", name, form), folder / "cache")
        try:
            rounding = ROUNDING if way in ROUNDED else None
            merged = merge(made, adapter, folder / f"merged {form}", rounding)
        except (StageError, UserError) as error:
            yield form, str(error)
        else:
            yield form, float((wanted - logits(load(merged))).abs().max())


def cell(name: str, way: str, folder: Path) -> table.Cell:
    """What the table says of a family and a way, and what is wrong, empty where nothing is."""
    with contextlib.redirect_stdout(io.StringIO()):  # that pickles are written anew
        found = dict(distances(name, way, folder))
    refused = {str(value) for value in found.values() if isinstance(value, str)}
    if refused:
        allowed = way == "tied" and name in FORGETFUL and "ensure_weight_tying" in refused.pop()
        return ("a", "") if allowed and not refused else ("REFUSED", "; ".join(refused))
    most = max(float(value) for value in found.values())
    mark = " b" if bases.ALL[name].kind in _WHOLE and way in ROUNDED else ""
    mark = " c" if name == "mixtral" else mark
    return f"{most:.0e}{mark}", "" if most < LIMIT else f"logits are {most:.3g} apart"


def main(names: Sequence[str], ways: Sequence[str]) -> int:
    """Print the table; 1 where a cell is neither near enough nor refused for a known reason."""
    table.still()
    wrong = table.show(names, ways, lambda name, way, line: cell(name, way, line / way), 14)
    print(f"\nlargest distance of logits over {', '.join(FORMS)} (allowed: {LIMIT:g})")
    print(*(f"{mark}: {text}" for mark, text in NOTES.items()), sep="\n")
    print(*(f"{way}: {MEANING[way]}" for way in ways), sep="\n")
    return table.verdict(wrong, len(names) * len(ways) * len(FORMS))


def both(families: Sequence[str], ways: Sequence[str]) -> int:
    """Causal families, then those of ``tests.family_matrix`` by the ways that it has."""
    causal, encoded = ([one for one in families if one in them] for them in (bases.ALL, FAMILIES))
    known = [one for one in ways if one in WAYS]
    code = main(causal, known) if causal else 0
    if not encoded:
        return code
    missing = [one for one in ways if one not in family_matrix.WEIGHTS]
    print(f"\nof causal families only: {', '.join(missing) or 'none'}\n")
    return family_matrix.main(encoded, [one for one in ways if one not in missing]) or code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*bases.ALL, *FAMILIES]
    parser.add_argument("--families", nargs="+", choices=names, default=names)
    every = [*dict.fromkeys([*WAYS, *family_matrix.WEIGHTS])]
    parser.add_argument("--ways", nargs="+", choices=every, default=every)
    args = parser.parse_args()
    sys.exit(both(args.families, args.ways))
