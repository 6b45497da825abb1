"""What is looked at before the first stage: what would stop a later one, perhaps hours from now."""

import dataclasses
from collections.abc import Callable, Collection

from tools.base_model import is_here
from tools.errors import UserError
from tools.run.folder import Run


def look(run: Run, missing: Collection[str]) -> None:
    """Stop where a stage that is still to be made cannot end well.

    Args:
        run: its folder need not be there.
        missing: the stages to be made.

    Raises:
        UserError: every fault: the card's or the host's memory, the disk, HELM, what it is to be
            asked, its data (fetched here, so that a network that is down is told now).
    """
    looks: list[Callable[[Run], None]] = [_training] if "train" in missing else []
    if "quantize" in missing and run.recipe.quantize.tier and run.recipe.quantize.format != "none":
        looks.append(_gate)
    if any(name.startswith("eval") for name in missing):
        looks.append(_evaluation)
    faults: list[str] = []
    for each in looks:
        try:
            each(run)
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(dict.fromkeys(faults))  # HELM may be missed twice


def _training(run: Run) -> None:
    from tools.plan.verdict import plan
    from tools.stages import preflight

    preflight.refuse_unmergeable(run.recipe)
    model = run.recipe.model
    try:
        found = plan(run.recipe, run.path.parent)
    except UserError:  # the base itself will tell its numbers, right before the training
        return
    if is_here(model):
        found = dataclasses.replace(found, disk=dataclasses.replace(found.disk, base=0.0))
    if faults := preflight.room(run, found):
        raise UserError(faults)


def _gate(run: Run) -> None:
    """What the quantize stage has HELM ask."""
    from tools.evaluate.stage import ready

    asked = dataclasses.replace(run.recipe.eval, tier=run.recipe.quantize.tier)
    ready(dataclasses.replace(run.recipe, eval=asked))


def _evaluation(run: Run) -> None:
    from tools.evaluate.stage import ready

    ready(run.recipe)
