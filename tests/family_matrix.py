"""The family matrix: every family that is not causal by stage, by way to merge, by format.

``python -m tests.family_matrix`` prints it. Of a stage (``tests.matrix.stages``): that the verbs do
it, killed, twice, served and scored. Of a way to train: the largest distance of the merged model's
logits from those of base + adapter, as a share of the largest logit. Of a format: the same between
the packed model and its files, loaded again. Tiny random models of ``tests.kin`` on their own kinds
of tokenizers, in fp32, on a CPU. ``--families t5 bert --columns train serve`` prints a part of it;
``python -m tests.merge_matrix --families t5 bert`` the merged and packed ones.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from tests import kin
from tests.matrix import stages, table
from tests.tiny import make_run
from tools.base_model.architecture import of_folder
from tools.run.folder import Run
from tools.stages import loading, quantize
from tools.stages.asking import asking
from tools.stages.loading import unpacking
from tools.stages.merging import merge_folders

WAYS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "modules": {},
    "full": {},
}
FORMATS = ("nf4", "int8")
WEIGHTS = (*WAYS, *FORMATS)
COLUMNS = (*stages.CELLS, *WEIGHTS)
MEANING = {
    **stages.MEANING,
    "lora": "train.adapter: lora on the layers of recipes/models",
    "rslora": "train.peft_use_rslora: true",
    "dora": "train.peft_use_dora: true",
    "modules": "train.lora_modules_to_save: the head, or what stands before it",
    "full": "train.adapter: null",
    "nf4": "quantize.format: nf4, saved and loaded again",
    "int8": "quantize.format: int8, saved and loaded again",
}
LIMIT = 1e-5  # of the largest logit
_T5, _GATED = ["q", "k", "v", "o", "wi", "wo"], ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]
_BERT = ["query", "key", "value", "dense"]
#: Where LoRA sits, as recipes/models has it; a test holds the two against each other.
LAYERS = {
    "t5": _T5,
    "t5-v1_1": _GATED,
    "ul2": _GATED,
    "bart": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "bert": _BERT,
    "roberta": _BERT,
    "albert": [*_BERT, "ffn", "ffn_output", "embedding_hidden_mapping_in"],
    "electra": [*_BERT, "embeddings_project"],
    "distilbert": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2", "vocab_transform"],
    "deberta": ["in_proj", "pos_proj", "pos_q_proj", "dense"],
    "deberta-v2": ["query_proj", "key_proj", "value_proj", "dense"],
}
#: What is trained whole: of encoders what stands before the head, as where it had to be written.
HEADS = {
    **{family: ["lm_head"] for family in kin.SEQ2SEQ},
    "bert": ["cls.predictions.transform"],
    "roberta": ["lm_head.dense", "lm_head.layer_norm"],
    "albert": ["predictions.dense", "predictions.LayerNorm"],
    "electra": ["generator_predictions"],
    "distilbert": ["vocab_transform", "vocab_layer_norm"],
    "deberta": ["cls.predictions.transform"],
    "deberta-v2": ["lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm"],
}
_PROMPT, _ANSWER = "Question: Which key opens the red box?\nAnswer:", " the third one"


def load(folder: Path) -> Any:
    """The model in fp32; nothing of it may be missing, nor be there for nobody."""
    net, told = (
        of_folder(folder)
        .loader()
        .from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    )
    wrong = {key: sorted(map(str, names)) for key, names in told.items() if names}
    if wrong:
        raise AssertionError(f"{folder}: {wrong}")
    return net.eval()


def logits(folder: Path, net: Any) -> Any:
    """Of a question's answer, asked as the product asks [tokens of the answer, vocabulary]."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = tokenizer.encode(_PROMPT).ids
    answer = [*tokenizer.encode(_ANSWER, add_special_tokens=False).ids, prompt[-1]]
    return asking(folder).logits(net, (prompt, answer))


def train(base: Path, family: str, way: str, folder: Path) -> Path:
    """An adapter, or a whole model, as if it had been trained: every number of it has moved."""
    net: Any = load(base)
    torch.manual_seed(3)
    if way != "full":
        heads = HEADS[family] if way == "modules" else None
        # PEFT would put an adapter on what is trained whole.
        layers = [one for one in LAYERS[family] if not any(one == name for name in heads or [])]
        config = LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=layers,
            modules_to_save=heads,
            exclude_modules=heads,
            task_type=of_folder(base).task_type,
            **WAYS[way],
        )
        net = get_peft_model(net, config)
    for name, weight in net.named_parameters():
        if weight.requires_grad and "lora_A" not in name:
            weight.data += (0.02 if way == "full" else 0.1) * torch.randn_like(weight)
    net.save_pretrained(folder)
    return folder


def trained(base: Path, adapter: Path) -> Any:
    """What was trained, by PEFT, or as it was saved."""
    if (adapter / "adapter_config.json").is_file():
        return PeftModel.from_pretrained(load(base), adapter).eval()
    return load(adapter)


def merged(family: str, way: str, folder: Path) -> tuple[Path, float]:
    """The merged folder, and how far it is from what was trained, as a share of the logits."""
    base = kin.folder(family, folder / "base")
    adapter = train(base, family, way, folder / "adapter")
    before, wanted = logits(base, load(base)), logits(base, trained(base, adapter))
    if not (wanted - before).abs().max() > 0.01 * before.abs().max():
        raise AssertionError(f"{family}, {way}: nothing was trained")
    made = folder / "merged"
    made.mkdir()
    merge_folders(base, adapter, made, None)
    return made, share(wanted, logits(base, load(made)))


def share(wanted: Any, found: Any) -> float:
    """Largest distance over largest logit."""
    return float((wanted - found).abs().max() / wanted.abs().max())


def packed(family: str, form: str, folder: Path) -> tuple[float, float]:
    """Of a merged model in a format: how far its files are from it, and it from the whole one."""
    base = kin.folder(family, folder / "base")
    run = make_run(folder / "runs", quantize__format=form)
    made = folder / "packed"
    made.mkdir()
    quantize._by_bitsandbytes(run, base, made)
    files = logits(base, loading.load(made, "cpu"))
    whole = load(base)
    again = logits(base, in_memory(run, base))
    return share(again, files), share(logits(base, whole), files)


def in_memory(run: Run, base: Path) -> Any:
    """The packed model as bitsandbytes made it, its weights unpacked before it computes."""
    kept: list[Any] = []
    loader = of_folder(base).loader()
    real = loader.from_pretrained

    def from_pretrained(*args: Any, **options: Any) -> Any:
        kept.append(real(*args, **options))
        return kept[-1]

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(loader, "from_pretrained", from_pretrained),
    ):
        quantize._by_bitsandbytes(run, base, Path(folder))
    return unpacking.by_layer(kept[0]).eval()


def cell(family: str, column: str, folder: Path) -> table.Cell:
    """What the table says, and what is wrong, empty where nothing is.

    Args:
        family: of ``tests.kin``.
        column: of :data:`COLUMNS`.
        folder: shared by the cells of a family.
    """
    if column in stages.CELLS:
        return stages.cell(family, column, folder)
    if column in FORMATS:
        apart, lost = packed(family, column, folder / column)
        fault = "" if apart == 0 else f"its files are {apart:.3g} of a logit apart from it"
        return f"{apart:.0g} ({lost:.2g})", fault
    _, apart = merged(family, column, folder / column)
    return f"{apart:.0e}", "" if apart < LIMIT else f"logits are {apart:.3g} apart"


def label(family: str) -> str:
    """A family and its kind of tokenizer."""
    return f"{family} ({kin.algorithm(family)})"


def main(families: Sequence[str], columns: Sequence[str]) -> int:
    """Print the table; 1 where a cell is not as it should be."""
    table.still()
    wrong = table.show(families, columns, cell, 12, label)
    if set(columns) - stages.CELLS.keys():
        print(
            f"\nmerged: largest distance over largest logit (allowed: {LIMIT:g}); formats: 0, and"
        )
        print("in brackets how far the packed model is from the whole one, of random weights")
    print(*(f"{one}: {MEANING[one]}" for one in columns), sep="\n")
    return table.verdict(wrong, len(families) * len(columns))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.family_matrix", description=__doc__)
    parser.add_argument("--families", nargs="+", choices=kin.FAMILIES, default=[*kin.FAMILIES])
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=[*COLUMNS])
    args = parser.parse_args()
    sys.exit(main(args.families, args.columns))
