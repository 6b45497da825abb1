"""What a mix asks for, its weights and its order, and what of Axolotl would undo it."""

from tools.check.rules.base import Facts, Faults, fail, warn
from tools.recipe.schema import Recipe

_MOST = 100  # times a row is learnt in an epoch: more is a slip of the pen, and fills the disk


def weights(recipe: Recipe, facts: Facts) -> Faults:
    """Weights are shares that rows can have, and nothing takes the copies out again."""
    sources = recipe.data.sources
    for name, source in sources.items():
        key = f"data.sources.{name}.weight"
        if not 0 < source.weight <= _MOST:
            said = f"{key} is {source.weight:g}: rows are learnt so often in an epoch"
            yield fail(key, said, f"set it above 0, to {_MOST} at most, or remove the source")
    heavy = [name for name, source in sources.items() if source.weight > 1]
    if heavy and recipe.train.get("dataset_exact_deduplication"):
        said = f"train.dataset_exact_deduplication takes the copies of {heavy[0]} out again"
        remedy = f"set it to false, or data.sources.{heavy[0]}.weight=1"
        yield fail("train.dataset_exact_deduplication", said, remedy)


# Keys of Axolotl 0.21.0 that draw or sort rows anew, each with the value that does, and how.
_UNDOES = {
    "group_by_length": (True, "puts rows of one length side by side"),
    "balance_labels": (True, "deals rows by how much of them is learnt"),
    "shuffle_merged_datasets": (True, "shuffles the rows"),
    "curriculum_sampling": (False, "draws the rows at random"),
    "sample_packing_sequentially": (False, "fills packs with whatever row fits"),
}


def order(recipe: Recipe, facts: Facts) -> Faults:
    """Where the recipe gives an order, the trainer keeps it."""
    wanted = recipe.data.order
    for key, (value, does) in _UNDOES.items():
        if wanted != "shuffled" and recipe.train.get(key) is value:
            said = f"train.{key}={str(value).lower()} {does}, and data.order is {wanted}"
            remedy = f"--set '~train.{key}' (data.order sets it), or data.order=shuffled"
            yield fail(f"train.{key}", said, remedy)
    for name, source in recipe.data.sources.items():
        if source.difficulty and wanted != "easy-first":
            key = f"data.sources.{name}.difficulty"
            said = f"{key} is read with data.order=easy-first only, and that is {wanted}"
            yield warn(key, said, "set data.order=easy-first, or leave it out")
