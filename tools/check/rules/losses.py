"""Losses that training may follow, and what of Axolotl goes with them (0.21.0)."""

from collections.abc import Iterator
from typing import Any

from tools.check.rules.base import Facts, Faults, fail
from tools.recipe.schema import Recipe

_CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
_WEIGHED = ("use_dft", "use_eaft")  # each token's loss times a weight of its own
# Losses that never make the logits whole, or patch a loss that a weighed one goes past.
_PATCHES = (
    "chunked_cross_entropy",
    "cut_cross_entropy",
    "liger_cross_entropy",
    "liger_fused_linear_cross_entropy",
)
_OF = {"eaft_alpha": "use_eaft", "eaft_k": "use_eaft"}


def training_loss(recipe: Recipe, facts: Facts) -> Faults:
    """One loss is trained, it sees the logits it needs, and evaluations keep to the plain one."""
    train = recipe.train
    used = [key for key in _WEIGHED if train.get(key)]
    if len(used) > 1:
        said = "train.use_dft and train.use_eaft are both set, one loss trains"
        yield fail("train.use_eaft", said, "--set '~train.use_dft', or '~train.use_eaft'")
    for key in list(_patches(train)) if used else []:
        said = f"train.{used[0]} weighs each token by the whole logits, which {key} does not keep"
        remedy = f"--set train.{key}=false (17 bytes a token and word instead of 6 or less)"
        yield fail(f"train.{key}", said, remedy)
    for key in ("context_parallel_size", "sequence_parallel_degree"):
        if used and (train.get(key) or 1) > 1:
            said = f"train.{used[0]} with train.{key} {train[key]}: logits are parted, labels not"
            yield fail(f"train.{key}", said, f"set train.{key}=1")
    if train.get("liger_use_token_scaling"):
        said = (
            "train.liger_use_token_scaling weighs eval_loss, too, by which the best checkpoint is "
            "chosen"
        )
        remedy = "--set '~train.liger_use_token_scaling'; train.use_dft is the same loss"
        yield fail("train.liger_use_token_scaling", said, remedy)
    yield from _numbers(train)


def _patches(train: dict[str, Any]) -> Iterator[str]:
    yield from (key for key in _PATCHES if train.get(key))
    # The plugin's own default is true: listing it is enough.
    if _CUT in (train.get("plugins") or ()) and train.get("cut_cross_entropy") is None:
        yield "cut_cross_entropy"


def _numbers(train: dict[str, Any]) -> Faults:
    for key, of in _OF.items():
        if train.get(key) is not None and not train.get(of):
            said = f"train.{key} is read by train.{of} only, which is not set"
            yield fail(f"train.{key}", said, f"set train.{of}=true, or --set '~train.{key}'")
    words, power = train.get("eaft_k"), train.get("eaft_alpha")
    if words is not None and words < 2:
        said = f"train.eaft_k is {words}: the entropy of one word is 0, and so would the loss be"
        yield fail("train.eaft_k", said, "set it to 20, Axolotl's default")
    if power is not None and power < 0:
        said = f"train.eaft_alpha is {power:g}: a sure token would weigh without bound"
        yield fail("train.eaft_alpha", said, "set it to 1, Axolotl's default, or at least 0")


def balanced_labels(recipe: Recipe, facts: Facts) -> Faults:
    """Axolotl deals rows by their learnt tokens only where nothing else orders them."""
    train, key = recipe.train, "train.balance_labels"
    if not train.get("balance_labels"):
        if (train.get("label_balance_window_optim_steps") or 1) > 1:
            window = "train.label_balance_window_optim_steps"
            said = f"{window} is read by {key} only, which is not set"
            yield fail(window, said, f"set {key}=true, or --set '~{window}'")
        return
    against = ["sample_packing_sequentially", "curriculum_sampling"]
    against += [] if train.get("sample_packing") else ["group_by_length"]
    for other in against:
        if train.get(other):
            said = f"{key} and train.{other} both order the rows, Axolotl takes one of them"
            yield fail(f"train.{other}", said, f"set train.{other}=false, or {key}=false")
    if (train.get("accelerator_config") or {}).get("split_batches"):
        said = f"{key} with train.accelerator_config.split_batches: Axolotl refuses the two"
        yield fail("train.accelerator_config.split_batches", said, "leave it out")
