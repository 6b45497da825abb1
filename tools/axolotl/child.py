"""Axolotl as a trainer: the file it reads, and what it is told over that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.axolotl.prepared import drop_torn
from tools.data import tokens
from tools.files import write_text
from tools.run.folder import Run
from tools.trainers import child
from tools.trainers.child import Event, Trainer

# Our formats that Axolotl makes, through torchao: its own keys for each.
QUANTIZATION: dict[str, dict[str, Any]] = {
    "int8_int4": {"quantization": {"weight_dtype": "int4", "activation_dtype": "int8"}},
}
# What has Axolotl 0.21.0 train on rows in the order of their file, packed ones, too: by itself it
# shuffles the file, draws rows at random and fills packs with whatever row fits.
IN_ORDER = {
    "shuffle_merged_datasets": False,
    "curriculum_sampling": True,
    "sample_packing_sequentially": True,
}
_HEADER = (
    "# Written by oneday from the recipe; bare Axolotl runs it from the same folder:\n"
    "#   axolotl train {path}\n"
)


def render(run: Run, base_model: Path, name: str = "axolotl.yaml", **values: Any) -> Path:
    """Write Axolotl's file into the run: the recipe's ``train`` section, model, data and folders.

    Args:
        run: whose folder gets the file.
        base_model: folder of the weights to start from.
        name: of the file.
        values: keys of Axolotl over those.
    """
    recipe, rows = run.recipe, tokens.paths(run)
    config = {
        "base_model": str(base_model),
        # Token ids already: without a type Axolotl takes the rows as they are.
        "datasets": [{"path": str(rows["train"]), "ds_type": "json"}],
        "test_datasets": [{"path": str(rows["validation"]), "ds_type": "json", "split": "train"}],
        # Else Axolotl drops what fills no batch beside packs: held-out rows, too, or all of them.
        "dataloader_drop_last": False,
        # Axolotl's own cache key is the paths of the files, not what is in them.
        "dataset_prepared_path": str(drop_torn(rows["train"].with_name("prepared"))),
        "output_dir": str(run.output("train")),
        "special_tokens": {"eos_token": recipe.model.eos, "pad_token": recipe.model.pad},
        "seed": recipe.data.seed,
        "use_tensorboard": True,  # files in the logs folder, sent nowhere
        # For bare Axolotl; its memory-efficient merge is the one that goes through NF4.
        "merge_method": {"nf4_aware": "memory_efficient", "plain": "legacy"}[recipe.merge.method],
        **QUANTIZATION.get(recipe.quantize.format, {}),
        **({} if recipe.data.order == "shuffled" else IN_ORDER),
        **recipe.train,  # behind ours: the recipe's own keys win
        **values,
    }
    path = run.path / name
    write_text(path, _HEADER.format(path=path) + as_yaml(config))
    return path


def as_yaml(config: dict[str, Any]) -> str:
    """A configuration as Axolotl reads it: by PyYAML, to which ``${`` is text like any other."""
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def overrides(run: Run, folder: Path) -> dict[str, Any]:
    """What only matters inside a run folder, over the plain file.

    Args:
        run: whose recipe may list plugins.
        folder: what the training fills.
    """
    mine = "tools.axolotl.plugin.OnedayPlugin"
    return {
        "output_dir": str(folder),
        "plugins": [*run.recipe.train.get("plugins", []), mine],
        "auto_resume_from_checkpoints": True,
    }


TRAINER = Trainer("axolotl", "tools.axolotl.job", render, overrides)


def call(
    run: Run,
    command: str,
    config: Path,
    values: dict[str, Any],
    watch: Callable[[Event], None] = lambda event: None,
) -> None:
    """Run an Axolotl command to its end, as ``tools.trainers.child.call`` does any trainer's.

    Args:
        run: whose log folder is written.
        command: ``train`` or ``quantize``.
        config: the YAML file.
        values: over the file's.
        watch: called with every event.

    Raises:
        StageError: Axolotl failed.
    """
    child.call(TRAINER, run, command, config, values, watch)
