"""Settings of ``train`` that count optimizer steps, held against how many a run has."""

from collections.abc import Iterator
from typing import Any, NamedTuple


class Beyond(NamedTuple):
    """A setting that names a step which never comes.

    Attributes:
        key: its full key.
        said: what comes of it.
        remedy: what to do about it.
    """

    key: str
    said: str
    remedy: str


_FEWER = 'SET="train.{name}=0.5" (a share of all steps), or more steps'
_WARMUP = 'SET="~train.warmup_steps train.warmup_ratio=0.05", or more steps'


def beyond(train: dict[str, Any], steps: int) -> Iterator[Beyond]:
    """Warm-up, evaluation and checkpoints that come after the last step.

    Args:
        train: the recipe's section.
        steps: of the whole run, at the most; 0 when that is not known.
    """
    if not steps:
        return
    training = f"and training has {steps:,} steps at the most"
    if (wanted := train.get("warmup_steps") or 0) >= steps:
        said = f"train.warmup_steps is {wanted}, {training}: its rate would rise to the end"
        yield Beyond("train.warmup_steps", said, _WARMUP)
    for kind, why in (
        ("eval", "nothing is evaluated on the way"),
        ("save", "no checkpoint is written by steps"),
    ):
        name, strategy = f"{kind}_steps", train.get(f"{kind}_strategy")
        every = train.get(name) or 0
        if every > steps and strategy in (None, "steps"):
            said = f"train.{name} is {every}, {training}: {why}"
            yield Beyond(f"train.{name}", said, _FEWER.format(name=name))
