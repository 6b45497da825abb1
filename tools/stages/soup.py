"""The soup verb: the mean of the run's adapter and others, where held-out rows say it is better.

The mean is that of what the adapters change, which is no mean of their matrices: (A1 + A2)(B1 + B2)
has products of one adapter's A with another's B, which nobody trained. So by default the matrices
stand side by side, each adapter's weighed by one over their number: an adapter like any other, of
their ranks together, which the merge proves as it proves one.
"""

import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools import base_model
from tools.console import say
from tools.data import tokens
from tools.day import checkpoints
from tools.errors import StageError, UserError
from tools.files import file_digest, read_json, write_json
from tools.recipe.schema import Recipe, Soup
from tools.recipe.souping import Average
from tools.run.folder import SOUP, SWEEP, Run
from tools.run.souped import MEMBERS
from tools.stages import greedy
from tools.stages.asking import asking
from tools.stages.divergence import mean_loss
from tools.stages.greedy import Tried
from tools.stages.loading.mapped import free_at_once
from tools.stages.merge import how_trained, loaded
from tools.stages.merging import several
from tools.stages.merging.adapter import FILE

OWN = "own"  # what the run's adapter is called
TABLE = "soup.json"
_CONFIG = "adapter_config.json"
_TRIED = ".tried"  # in the stage's work; gone before that gets its name
_DIGITS = 6  # of a loss in the record


def soup(run: Run) -> dict[str, Any]:
    """Make ``soup/``: the table, and the adapter where it is better than the run's own.

    Args:
        run: its training is done.

    Raises:
        UserError: members that are not there or do not fit, all of them.
    """
    section, base = of(run.recipe), base_model.local_folder(run.recipe.model)
    there = members(run)
    free_at_once()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\.")  # of Conv1D and tied weights
        if wrong := list(misfits(base, there, section.average)):
            raise UserError(wrong)
        with run.produce(SOUP) as work:
            pot = _Pot(run, base, there, work.folder / _TRIED)
            tried = greedy.choose({name: pot.loss([name]) for name in there}, pot.loss)
            own = next(one.alone for one in tried if one.name == OWN)
            won = greedy.best(tried) < own - section.min_gain  # never of the own adapter alone
            if won:
                pot.serve(greedy.kept(tried), work.folder)
            shutil.rmtree(work.folder / _TRIED, ignore_errors=True)
            found = _found(tried, own, won, section.average, pot.rows)
            write_json(work.folder / TABLE, found | {"tried": [_row(one) for one in tried]})
            work.note(**found)
    say(render(tried))
    say(summary(tried, own, won))
    return work.metrics


def of(recipe: Recipe) -> Soup:
    """The recipe's soup.

    Raises:
        UserError: it has none.
    """
    if recipe.soup is None:
        raise UserError(
            f"{recipe.name}: the recipe has no soup; name its members, as in docs/soup.md: "
            "soup: {checkpoints: 3}"
        )
    return recipe.soup


def members(run: Run) -> dict[str, Path]:
    """Folders of all that may be averaged, the run's own first; the same adapter only once."""
    section, own = of(run.recipe), run.output("train")
    found = {OWN: own}
    found |= {f"step {path.name}": path for path in checkpoints.kept(own)[: section.checkpoints]}
    if section.trials:
        left = sorted((run.output(SWEEP) / MEMBERS).glob("[0-9]*"))
        found |= {f"trial {int(path.name)}": path for path in left}
    found |= {name: Path(folder) for name, folder in section.adapters.items()}
    seen: dict[str, str] = {}
    for name, folder in list(found.items()):
        file = folder / FILE
        first = seen.setdefault(file_digest(file) if file.is_file() else name, name)
        if first != name:
            say(f"soup: {name} is the very adapter {first}, and counts once")
            del found[name]
    return found


def misfits(base: Path, there: dict[str, Path], average: Average) -> Iterator[str]:
    """Each member that cannot be averaged with the run's own, and why."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, folder in there.items():
        try:
            made = several.matrices(base, folder)
        except UserError as error:
            yield from (f"soup: {name}: {one.removeprefix('merge: ')}" for one in error.faults)
            continue
        except StageError as error:
            yield f"soup: {name}: {str(error).removeprefix('merge: ')}"
            continue
        own = {key: tuple(matrix.shape) for key, matrix in made.items()}
        shapes = shapes or own
        if fault := _unlike(shapes, own, average) or _unlike_names(there[OWN], folder):
            yield f"soup: {name}: {folder} {fault}"


def _unlike(ours: dict[str, Any], theirs: dict[str, Any], average: Average) -> str:
    """How another adapter's matrices differ from the run's own; empty where they may."""
    if others := sorted(ours.keys() ^ theirs.keys()):
        which = "has no" if others[0] in ours else "has"
        return (
            f"changes other layers than the run's own: it {which} {others[0]} ({len(others)} such "
            "matrices): a mean would halve what only one of them changes; take adapters of the "
            "same layers"
        )
    wrong = [key for key in ours if ours[key] != theirs[key]]
    if not wrong or average == "product":
        return ""
    return (
        f"has {wrong[0]} of {list(theirs[wrong[0]])}, the run's own is {list(ours[wrong[0]])}: "
        "factors are averaged of one rank; set soup.average=product"
    )


def _unlike_names(one: Path, other: Path) -> str:
    """PEFT joins lists of layers, or patterns, but not a list and a pattern."""
    kinds = [
        isinstance((read_json(a / _CONFIG) or {}).get("target_modules"), str) for a in (one, other)
    ]
    if kinds[0] == kinds[1]:
        return ""
    return (
        "names its layers by a pattern, the run's own by a list, or the other way about; name "
        "them alike"
    )


class _Pot:
    """The base, loaded once, on which adapters and their means are held against the rows.

    Args:
        run: its rows are made.
        base: the base model's folder.
        there: folder of each member.
        place: for means, one at a time.
    """

    def __init__(self, run: Run, base: Path, there: dict[str, Path], place: Path) -> None:
        self._base, self._there, self._place = base, there, place
        self._average = of(run.recipe).average
        self._ask = asking(base)
        rows, context = run.recipe.data.validation_rows, run.recipe.serve.context
        self._data = tokens.read(tokens.files(run, base)["validation"], rows, context)
        self._net = loaded(run, base, how_trained(run, base, there[OWN]))

    @property
    def rows(self) -> int:
        """How many rows decide."""
        return len(self._data)

    def loss(self, names: Sequence[str]) -> float:
        """eval_loss of one adapter, or of the mean of several."""
        from peft import PeftModel

        folder = self._mean(names)
        net = PeftModel.from_pretrained(self._net, folder).eval()
        try:
            return mean_loss(net, self._data, f"eval_loss of {', '.join(names)}", self._ask)
        finally:
            self._net = net.unload()

    def serve(self, names: Sequence[str], folder: Path) -> None:
        """Write the mean of these members into a folder, as PEFT saves an adapter."""
        made = self._mean(names)
        shutil.copyfile(made / FILE, folder / FILE)
        config = read_json(made / _CONFIG)
        # PEFT writes a set of names in any order.
        if isinstance(config.get("target_modules"), list):
            config["target_modules"] = sorted(config["target_modules"])
        write_json(folder / _CONFIG, config)

    def _mean(self, names: Sequence[str]) -> Path:
        parts = [self._there[name] for name in names]
        if len(parts) == 1:
            return parts[0]
        shutil.rmtree(self._place, ignore_errors=True)
        return mean(self._base, parts, self._average, self._place)


def mean(base: Path, parts: Sequence[Path], average: Average, folder: Path) -> Path:
    """Write one adapter that is the mean of several.

    Args:
        base: the base model's folder.
        parts: folders of the adapters.
        average: as in the recipe.
        folder: of the new one; must not be there.

    Returns:
        That folder.
    """
    count = len(parts)
    # PEFT puts the root of a weight on A and on B, so that the mean of both asks for 1 / n².
    weight = 1 / count if average == "product" else 1 / count**2
    how = several.How("cat" if average == "product" else "linear", density=1.0, seed=0)
    return several.combine(base, [(part, weight) for part in parts], how, folder)


def _found(tried: list[Tried], own: float, won: bool, average: str, rows: int) -> dict[str, Any]:
    return {
        "average": average,
        "rows": rows,
        "kept": greedy.kept(tried) if won else [OWN],
        "won": won,
        "own_eval_loss": _rounded(own),
        "eval_loss": _rounded(greedy.best(tried) if won else own),
    }


def _row(one: Tried) -> dict[str, Any]:
    told = {"member": one.name, "eval_loss": _rounded(one.alone)}
    return told | {"of_the_mean": _rounded(one.mean), "kept": one.kept}


def _rounded(loss: float) -> float | None:
    """A loss as JSON has it; none where it is no number."""
    return round(loss, _DIGITS) if math.isfinite(loss) else None


def render(tried: list[Tried]) -> str:
    """All members in the order in which they were tried."""
    rows = [("member", "eval_loss", "of the mean", "")]
    for place, one in enumerate(tried):
        said = "kept" if one.kept else "left out"
        rows.append((one.name, f"{one.alone:.5f}", f"{one.mean:.5f}" if place else "", said))
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([row[0].ljust(wide[0]), row[1].rjust(wide[1]), row[2].rjust(wide[2]), row[3]])
        for row in rows
    )


def summary(tried: list[Tried], own: float, won: bool) -> str:
    """What becomes of it, in a line."""
    if not won:
        return f"soup: none has a lower eval_loss than the own adapter, {own:.5f}: that is merged"
    names, loss = greedy.kept(tried), greedy.best(tried)
    what = f"the mean of {', '.join(names)}" if len(names) > 1 else f"{names[0]} alone"
    return f"soup: {what} has eval_loss {loss:.5f}, the own adapter {own:.5f}: it is merged"
