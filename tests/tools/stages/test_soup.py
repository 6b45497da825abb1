"""The soup stage on a tiny model: what is averaged and how, what wins, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.tiny import make_run, save_adapter
from tools.data import tokens
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.files import file_digest
from tools.recipe.schema import Soup
from tools.recipe.souping import Average
from tools.run.folder import SOUP, SWEEP, Run
from tools.run.souped import MEMBERS
from tools.stages import merge, mixed, soup
from tools.stages.greedy import Tried

FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PROMPT = torch.tensor([[5, 250, 17, 99, 3, 42]])


def logits(base: Path, adapter: Path | None = None) -> Any:
    net: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        net = PeftModel.from_pretrained(net, adapter) if adapter else net
        return net.eval()(PROMPT).logits


def weights(base: Path, adapter: Path) -> dict[str, Any]:
    net: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    found: dict[str, Any] = PeftModel.from_pretrained(net, adapter).merge_and_unload().state_dict()
    return found


def scaled(folder: Path, like: Path, factor: float) -> Path:
    """The same adapter with its B's times a number: so much of its change."""
    folder.mkdir(parents=True)
    state = load_file(like / FILE)
    save_file({k: v * factor if "lora_B" in k else v for k, v in state.items()}, folder / FILE)
    shutil.copyfile(like / CONFIG, folder / CONFIG)
    return folder


def write(run: Run, adapter: Path, **kept: Path) -> None:
    """A finished training: its adapter, and those of its checkpoints."""
    with run.produce("train", resume=True) as work:
        for name in (FILE, CONFIG):
            shutil.copyfile(adapter / name, work.folder / name)
        for step, folder in kept.items():
            shutil.copytree(folder, work.folder / "kept" / step.removeprefix("at"))


@pytest.fixture
def other(tiny_model: Path, tmp_path: Path) -> Path:
    return save_adapter(tiny_model, tmp_path / "other", seed=1)


def make(tiny_model: Path, root: Path, **section: Any) -> Run:
    run = make_run(root, model__path=str(tiny_model), soup=Soup(**section))
    prepare(run)
    return run


@pytest.fixture
def halves(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> Run:
    """Its own adapter goes too far, another as far the other way: their mean changes little."""
    back = scaled(tmp_path / "back", tiny_adapter, -0.9)
    run = make(tiny_model, tmp_path / "runs", adapters={"back": str(back)})
    write(run, tiny_adapter)
    return run


@pytest.mark.parametrize("options", [{}, {"r": 8, "lora_alpha": 4}, {"use_rslora": True}])
def test_the_product_is_the_mean_of_the_changes(
    options: dict[str, Any], tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """Also of two ranks, and of two ways to scale."""
    torch.manual_seed(3)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | options
    config = LoraConfig(init_lora_weights=False, **settings)
    net = AutoModelForCausalLM.from_pretrained(tiny_model)
    get_peft_model(net, config).save_pretrained(tmp_path / "b")
    parts = [tiny_adapter, tmp_path / "b"]
    made = soup.mean(tiny_model, parts, "product", tmp_path / "mean")
    found, one, two = (weights(tiny_model, part) for part in (made, *parts))
    for key, value in found.items():
        assert torch.allclose(value, (one[key] + two[key]) / 2, atol=1e-5), key
    assert json.loads((made / CONFIG).read_text())["r"] == 4 + settings["r"]


def test_factors_are_the_mean_of_the_matrices(
    tiny_model: Path, tiny_adapter: Path, other: Path, tmp_path: Path
) -> None:
    made = soup.mean(tiny_model, [tiny_adapter, other], "factors", tmp_path / "mean")
    own, second = load_file(tiny_adapter / FILE), load_file(other / FILE)
    averaged = tmp_path / "by hand"
    averaged.mkdir()
    save_file({key: (one + second[key]) / 2 for key, one in own.items()}, averaged / FILE)
    shutil.copyfile(tiny_adapter / CONFIG, averaged / CONFIG)
    assert torch.allclose(logits(tiny_model, made), logits(tiny_model, averaged), atol=1e-4)
    assert json.loads((made / CONFIG).read_text())["r"] == 4
    exact = soup.mean(tiny_model, [tiny_adapter, other], "product", tmp_path / "product")
    apart = logits(tiny_model, made) - logits(tiny_model, exact)
    assert apart.abs().max() > 1e-3, "the two are not the same"


def test_a_mean_that_is_better_is_merged(
    halves: Run, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = soup.soup(halves)
    assert found["won"] and set(found["kept"]) == {"own", "back"}
    assert found["eval_loss"] < found["own_eval_loss"]
    assert halves.done(SOUP) and mixed.own(halves) == halves.output(SOUP)
    told = json.loads((halves.output(SOUP) / soup.TABLE).read_text())
    assert {one["member"] for one in told["tried"]} == {"back", "own"}
    assert all(one["kept"] for one in told["tried"])
    assert {path.name for path in halves.output(SOUP).iterdir()} == {
        *(FILE, CONFIG, soup.TABLE, "oneday.json")
    }
    out = capsys.readouterr().out
    assert "of the mean" in out and "the own adapter" in out and "it is merged" in out
    merged = merge.merge(halves)
    assert merged["max_logit_diff"] <= 1e-3 * merged["max_logit_change"]
    apart = logits(halves.output("merge")) - logits(tiny_model, halves.output(SOUP))
    assert apart.abs().max() < 1e-4
    assert halves.record("merge")["inputs"]["upstream"].keys() == {"train", SOUP}  # type: ignore[index]


def test_its_loss_is_that_of_peft_on_the_rows(halves: Run, tiny_model: Path) -> None:
    found = soup.soup(halves)
    file = tokens.files(halves, tiny_model)["validation"]
    net: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    net = PeftModel.from_pretrained(net, halves.output(SOUP)).eval()
    total = count = 0.0
    for ids, labels in tokens.read(file, 99, 2048):
        rows = torch.tensor([ids])
        with torch.inference_mode():
            loss = net(rows, labels=torch.tensor([labels])).loss
        told = sum(label != tokens.IGNORED for label in labels[1:])
        total, count = total + float(loss) * told, count + told
    assert found["eval_loss"] == pytest.approx(total / count, abs=1e-5)


def test_made_twice_it_is_the_same_to_the_byte(halves: Run) -> None:
    def digests() -> list[str]:
        soup.soup(halves)
        return [file_digest(halves.output(SOUP) / name) for name in (FILE, CONFIG, soup.TABLE)]

    assert digests() == digests()


def test_one_that_is_no_better_changes_nothing(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wilder = scaled(tmp_path / "wilder", tiny_adapter, 30.0)
    run = make(tiny_model, tmp_path / "runs", adapters={"wilder": str(wilder)})
    write(run, scaled(tmp_path / "small", tiny_adapter, 0.01))
    found = soup.soup(run)
    assert (found["won"], found["kept"]) == (False, ["own"])
    assert found["eval_loss"] == found["own_eval_loss"]
    assert not (run.output(SOUP) / FILE).exists() and mixed.own(run) == run.output("train")
    assert "none has a lower eval_loss than the own adapter" in capsys.readouterr().out


def test_a_gain_may_be_too_small(halves: Run) -> None:
    assert halves.recipe.soup
    halves.recipe.soup.min_gain = 100.0
    assert not soup.soup(halves)["won"]


def test_the_best_alone_may_take_its_place(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    small = scaled(tmp_path / "small", tiny_adapter, 0.01)
    run = make(tiny_model, tmp_path / "runs", adapters={"small": str(small)})
    write(run, scaled(tmp_path / "wilder", tiny_adapter, 30.0))
    assert soup.soup(run)["kept"] == ["small"]
    assert file_digest(run.output(SOUP) / FILE) == file_digest(small / FILE)


def test_members_come_from_the_training_the_sweep_and_folders(
    tiny_model: Path, tiny_adapter: Path, other: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    half = scaled(tmp_path / "half", tiny_adapter, 0.5)
    run = make(tiny_model, tmp_path / "runs", checkpoints=2, trials=1, adapters={"x": str(other)})
    early, third = scaled(tmp_path / "e", tiny_adapter, 0.1), scaled(tmp_path / "t", other, 0.2)
    write(run, tiny_adapter, at20=early, at40=half, at60=tiny_adapter)
    shutil.copytree(third, run.output(SWEEP) / MEMBERS / "003")
    assert soup.members(run) == {
        "own": run.output("train"),
        "step 40": run.output("train") / "kept" / "40",
        "trial 3": run.output(SWEEP) / MEMBERS / "003",
        "x": other,
    }
    assert "step 60 is the very adapter own" in capsys.readouterr().out


@pytest.fixture
def misfits(tiny_model: Path, tiny_adapter: Path, other: Path, tmp_path: Path) -> dict[str, str]:
    """Adapters that cannot be averaged with the tiny one, by what is wrong."""
    net = AutoModelForCausalLM.from_pretrained(tiny_model)
    fewer = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(net, fewer).save_pretrained(tmp_path / "fewer")
    larger = AutoModelForCausalLM.from_pretrained(tiny_model)
    wide = LoraConfig(r=16, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(larger, wide).save_pretrained(tmp_path / "wide")
    dora = tmp_path / "dora"
    shutil.copytree(other, dora)
    config = json.loads((dora / CONFIG).read_text())
    (dora / CONFIG).write_text(json.dumps(config | {"use_dora": True}))
    names = ("fewer", "wide", "dora", "gone")
    return {name: str(tmp_path / name) for name in names}


@pytest.mark.parametrize("average", ["product", "factors"])
def test_what_does_not_fit_is_named_at_once(
    average: Average, misfits: dict[str, str], tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    run = make(tiny_model, tmp_path / "runs", adapters=misfits, average=average)
    write(run, tiny_adapter)
    with pytest.raises(UserError) as caught:
        soup.soup(run)
    told = {one.split(": ")[1]: one for one in caught.value.faults}
    wanted = {"fewer", "dora", "gone"} | ({"wide"} if average == "factors" else set())
    assert told.keys() == wanted
    assert "changes other layers than the run's own: it has no" in told["fewer"]
    assert "is an adapter with use_dora" in told["dora"]
    assert "is missing, cut off or no file of safetensors" in told["gone"]
    assert average == "product" or "set soup.average=product" in told["wide"]
    assert not run.output(SOUP).exists()


def test_a_recipe_without_one_says_how(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiny: the recipe has no soup; name its members"):
        soup.soup(make_run(tmp_path))


def test_the_table_and_its_end() -> None:
    tried = [Tried("step 40", 1.2, 1.2, True), Tried("own", 1.3, 1.1, True)]
    tried.append(Tried("x", 1.4, 1.15, False))
    head, first, second, third = soup.render(tried).splitlines()
    assert head.split() == ["member", "eval_loss", "of", "the", "mean"]
    assert first.split() == ["step", "40", "1.20000", "kept"]
    assert second.split() == ["own", "1.30000", "1.10000", "kept"]
    assert third.split() == ["x", "1.40000", "1.15000", "left", "out"]
    said = soup.summary(tried, 1.3, won=True)
    assert said.startswith("soup: the mean of step 40, own has eval_loss 1.10000")
