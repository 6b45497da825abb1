"""How far a rebuilt model is from the first one, where another machine gave other bytes."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools import base_model
from tools.base_model.architecture import of_folder
from tools.console import each
from tools.data import tokens
from tools.data.tokens import Row
from tools.rebuild.comparison import Figure
from tools.run.folder import Run
from tools.run.provenance import Record
from tools.stages.asking import asking

# Between what rounding parts and what another seed does. Measured with Axolotl 0.19 on
# recipes/cpu.yaml, 40 steps, on one CPU with AVX-512 and as if it had AVX2 alone: logits 0.0012
# apart, eval_loss 0.001 %; with another train.seed 0.71 and 3.9 %. Training multiplies such
# differences, so a rate too high for its model does not pass: random weights at 0.01, 220 steps,
# AVX-512 and SSE4: 0.56 and 2.8 %.
LOGITS = 0.1
LOSS = 0.01  # relative, of a loss or of a perplexity's logarithm


def figures(then: Mapping[str, Record], now: Mapping[str, Record]) -> Iterator[Figure]:
    """What the records of two runs measured of their models.

    Args:
        then: records by stage, of the first run.
        now: the same of the rebuilt one.
    """
    for stage in then:
        if stage not in now:
            continue
        one, other = then[stage]["metrics"], now[stage]["metrics"]
        for key, as_loss in (("eval_loss", float), ("quantized_perplexity", math.log)):
            if one.get(key) is not None and other.get(key) is not None:
                yield _measured(key, one[key], other[key], as_loss)
        if "scores" in one and "scores" in other:
            count = now[stage]["inputs"]["recipe"]["eval"]["max_instances"]
            yield _scores(stage, one["scores"], other["scores"], count)


def _measured(key: str, then: float, now: float, as_loss: Callable[[float], float]) -> Figure:
    apart = abs(as_loss(now) - as_loss(then)) / (abs(as_loss(then)) or 1.0)
    return Figure(
        key, f"{then:.4f} then, {now:.4f} now, relative difference of the loss", apart, LOSS
    )


def _scores(stage: str, then: dict[str, float], now: dict[str, float], instances: int) -> Figure:
    """The mean over all run specs, within two standard errors of the difference of two shares.

    Over N questions a share p has the variance p (1 - p) / N, at most 1 / 4 N.
    """
    if then.keys() != now.keys():
        return Figure(stage, "not the same run specs", 1.0, 0.0)
    one, other = statistics.fmean(then.values()), statistics.fmean(now.values())
    allowed = 2 * math.sqrt(2 / (4 * instances * len(then)))
    text = f"mean score {one:.3f} then, {other:.3f} now, difference"
    return Figure(stage, text, abs(other - one), allowed)


def logits(run: Run, then: Path, now: Path) -> Figure:
    """Distance of the logits of two adapters, or of two models that were trained whole.

    Adapters are added to the base model as it is on the disk. The root mean square of what parts
    the two, over that of what the first one changed: 0 for the same, and about 1.4 for two adapters
    that have nothing in common.

    Args:
        run: whose base model and validation rows are used.
        then: folder of what was trained first.
        now: another's.
    """
    recipe, base = run.recipe, base_model.local_folder(run.recipe.model)
    file = tokens.files(run, base)["validation"]
    rows = tokens.read(file, recipe.data.validation_rows, recipe.serve.context)
    make = _adapted if (then / "adapter_config.json").is_file() else _whole
    three = make(base, then, now, recipe.hardware.device)
    apart = changed = 0.0
    for row in each(rows, len(rows), "logits", "row"):
        one, other, untrained = three(row)
        apart += (other - one).square().sum().item()
        changed += (one - untrained).square().sum().item()
    share = math.sqrt(apart / (changed or 1.0))
    text = f"of {len(rows)} validation rows: distance as a share of what training changed"
    return Figure("logits", text, share, LOGITS)


#: From a row to logits of what was trained then, of what was trained now, and of the base.
Three = Callable[[Row], tuple[Any, Any, Any]]


def _adapted(base: Path, then: Path, now: Path, device: str) -> Three:
    """The base once, with the first adapter, with the second, and with none."""
    from peft import PeftModel

    net: Any = PeftModel.from_pretrained(_load(base, device), then, adapter_name="then").eval()
    net.load_adapter(now, adapter_name="now")
    ask = asking(base)

    def three(row: Row) -> tuple[Any, Any, Any]:
        found = []
        for adapter in ("then", "now"):
            net.set_adapter(adapter)
            found.append(ask.every(net, row))
        with net.disable_adapter():
            untrained = ask.every(net, row)
        return found[0], found[1], untrained

    return three


def _whole(base: Path, then: Path, now: Path, device: str) -> Three:
    """Three models."""
    one, other, untrained = (_load(folder, device) for folder in (then, now, base))
    ask = asking(base)

    def three(row: Row) -> tuple[Any, Any, Any]:
        found = [ask.every(net, row) for net in (one, other, untrained)]
        return found[0], found[1], found[2]

    return three


def _load(folder: Path, device: str) -> Any:
    auto = of_folder(folder).loader()
    return auto.from_pretrained(folder, dtype="auto", device_map=device).eval()
