"""The benchmark's adapter fits its base; the table says where the goal is met."""

from pathlib import Path

from benchmarks.merge_memory import MOST, RECIPE, WAYS, Found, table, write_adapter
from tools.recipe.load import load


def test_the_adapter_is_one_of_the_base(model: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    write_adapter(model, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(model)
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        before = base(ids).logits
        after = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()(ids).logits
    assert not torch.equal(before, after)


def test_its_recipes_are_taken(model: Path, tmp_path: Path) -> None:
    for way in WAYS:
        file = Path("recipes") / ".." / tmp_path / "own.yaml"
        file.write_text(RECIPE.format(base=model, way=WAYS[way]))
        assert load(file).recipe.train["adapter"] == way


def test_the_table() -> None:
    new = [
        Found("main", "merge", 6 * 10**8, 10**8, 3.0, 7e8),
        Found("main", "quantize", 10**9, 1, 3),
    ]
    old = [Found("old", "merge", 10**9, 4 * 10**8, 4.0), Found("old", "quantize", 10**9, 1, 4.0)]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(new, old).splitlines()]
    assert MOST == 0.6 and rows[2][:5] == ["merge", "1.00", "0.60", "0.60", "met"]
    assert rows[2][5:] == ["0.40", "0.10", "0.25", "0.70", "3"]
    assert rows[3][3:5] == ["1.00", "NOT MET"]
    assert table(new, []).splitlines()[2].split("|")[2].strip() == "-"
