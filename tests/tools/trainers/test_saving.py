"""Which checkpoints leave their adapter to a soup."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.day import checkpoints
from tools.trainers.saving import leave_adapters


def left(folder: Path, count: int, strategy: str, steps: dict[int, float]) -> list[str]:
    """The adapters left by checkpoints of these steps, each with its epoch; the newest first."""
    state = SimpleNamespace(save_steps=10, max_steps=45)
    args = SimpleNamespace(save_strategy=strategy, output_dir=str(folder))
    leave = leave_adapters(SimpleNamespace(state=state, args=args), count)
    for step, epoch in steps.items():
        state.global_step, state.epoch = step, epoch
        checkpoint = folder / "staged" / str(step)
        checkpoint.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (checkpoint / name).write_text(str(step))
        leave(checkpoint)
    return [path.name for path in checkpoints.kept(folder)]


STEPS = {10: 0.5, 13: 0.65, 20: 1.0, 30: 1.5, 37: 1.9, 40: 2.0, 45: 2.25}


@pytest.mark.parametrize(
    ("count", "strategy", "wanted"),
    [
        (9, "steps", ["45", "40", "30", "20", "10"]),
        (3, "steps", ["45", "40", "30"]),
        (9, "epoch", ["40", "20"]),
        (1, "epoch", ["40"]),
        (0, "steps", []),
    ],
)
def test_those_that_the_recipe_asks_for_and_no_others(
    count: int, strategy: str, wanted: list[str], tmp_path: Path
) -> None:
    assert left(tmp_path, count, strategy, STEPS) == wanted
