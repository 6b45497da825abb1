"""How full a training step is: packs as Axolotl's sampler fills them, batches padded."""

import random

import pytest

from tests.tiny import recipe
from tools.preview.packing import GROUP, MOST, packing
from tools.recipe.schema import Recipe


def trained(**train: object) -> Recipe:
    return recipe(train={"sequence_len": 100, "micro_batch_size": 2, **train})


def first_fit(lengths: list[int], capacity: int, most: int) -> int:
    """The plainest way."""
    packs: list[list[int]] = []
    for length in lengths:
        there = (one for one in packs if sum(one) + length <= capacity and len(one) < most)
        found = next(there, None)
        if found is None:
            packs.append(found := [])
        found.append(length)
    return len(packs)


@pytest.mark.parametrize("most", [3, MOST])
def test_packs_are_filled_first_fit(most: int) -> None:
    rng = random.Random(most)
    lengths = [rng.randint(1, 100) for _ in range(400)]
    found = packing(lengths, trained(sample_packing=True, sample_packing_bin_size=most))
    assert found.batches == first_fit(lengths, 200, most)
    assert found.slots == 200 * found.batches and found.tokens == sum(lengths)
    assert found.efficiency == sum(lengths) / found.slots <= 1
    assert found.steps == found.batches


def test_packs_in_order_and_of_single_sequences() -> None:
    lengths = [90, 20, 80, 10, 90]
    found = packing(lengths, recipe(train=trained(sample_packing=True).train, data__order="listed"))
    assert found.batches == 2  # 90 20 80 10 | 90
    real = packing(lengths, trained(sample_packing=True, multipack_real_batches=True))
    assert real.batches == 2 and real.slots == 300  # 90 10 | 20 80 | 90, two packs a batch


def test_rows_are_padded_to_the_longest_beside_them() -> None:
    lengths = [10, 50, 10, 50]
    assert packing(lengths, trained()).slots == 200
    assert packing(lengths, trained(group_by_length=True)).slots == 120
    assert packing(lengths, trained(pad_to_sequence_len=True)).slots == 400
    assert packing([], trained()).efficiency == 0


def test_steps_of_the_whole_training() -> None:
    lengths = [10] * 40
    assert packing(lengths, trained(gradient_accumulation_steps=4, num_epochs=3)).steps == 15
    assert packing(lengths, trained(batch_size=8)).steps == 5
    assert packing(lengths, trained(max_steps=7)).steps == 7


def test_axolotl_has_these_defaults_still() -> None:
    """Its sampler's own numbers, read from its source: importing it takes seconds."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("axolotl")
    assert spec and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    config = (root / "utils" / "schemas" / "config.py").read_text(encoding="utf-8")
    for name, value in (("group", f"{GROUP:_}"), ("bin", str(MOST))):
        said = config.split(f"sample_packing_{name}_size:")[1].split("json_schema_extra")[0]
        assert f"default={value}," in said
    sampler = (root / "utils" / "samplers" / "multipack.py").read_text(encoding="utf-8")
    assert "sorted(" not in sampler.split("def pack_group")[1].split("def pack_parallel")[0]
