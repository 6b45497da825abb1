"""What our own two trainers are asked: a plain file in the run, and values over it."""

from pathlib import Path
from typing import Any

from tools.base_model import head
from tools.base_model.vocabulary import special_ids
from tools.data import tokens
from tools.files import write_text
from tools.run.folder import Run
from tools.trainers.child import Trainer

FILE = "trainer.yaml"
_JOB = "tools.trainers.job"
_HEADER = (
    "# Written by oneday from the recipe; the same training without the day's clock, from here:\n"
    "#   python -m {job} train {path} '{{}}'\n"
)


def render(run: Run, base_model: Path) -> Path:
    """Write the file of what is asked into the run; its keys are Axolotl's where it has them.

    Args:
        run: whose folder gets the file.
        base_model: folder of the weights to start from.

    Raises:
        UserError: the base has no token that ends an answer, that pads, or that is a mask.
    """
    import yaml

    recipe, rows = run.recipe, tokens.paths(run)
    asked = {
        "base_model": str(base_model),
        "kind": recipe.model.kind,
        "device": recipe.hardware.device,
        "train_rows": str(rows["train"]),
        "validation_rows": str(rows["validation"]),
        "order": recipe.data.order,
        "output_dir": str(run.output("train")),
        "special_ids": special_ids(base_model, recipe.model),
        # Trained whole: a head that was written a moment ago has nothing to be adapted.
        "new_head": head.modules(base_model),
        "seed": recipe.data.seed,
        **recipe.train,
    }
    path = run.path / FILE
    text = str(yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))
    write_text(path, _HEADER.format(job=_JOB, path=path) + text)
    return path


def overrides(run: Run, folder: Path) -> dict[str, Any]:
    """What only matters inside a run folder, over the plain file."""
    return {"output_dir": str(folder)}


SEQ2SEQ = Trainer("seq2seq", _JOB, render, overrides)
MASKED = Trainer("masked", _JOB, render, overrides)
