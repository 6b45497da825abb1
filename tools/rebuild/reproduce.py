"""The reproduce verb: a run made again from its manifest alone, and held against it.

The manifest holds the resolved recipe, what the run was made with and the hash of every file it
made. Whatever is not here as it was then is named before the long part begins.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tools.console import say
from tools.errors import UserError
from tools.files import digest, file_digest, read_json, whole_folder, write_json, write_text
from tools.rebuild import likeness
from tools.rebuild.comparison import Comparison, Difference, Row, differences, render_differences
from tools.recipe import written
from tools.recipe.axes import layers_of, sets
from tools.recipe.compose import shown
from tools.recipe.load import load
from tools.recipe.schema import Recipe, Sweep
from tools.run import provenance
from tools.run.exports import exported
from tools.run.folder import SOUP, STAGES, SWEEP, Run
from tools.run.provenance import MANIFEST, Manifest, Record

Make = Callable[[Run, str], Any]
Chain = dict[str, Record]

MARK = "reproduces.json"  # in a rebuilt run's folder: which manifest it is made from
REPLAY = "replay.json"  # beside it, read by tools.stages.train: how the clock went in the first run
SCHEDULE = "schedule.json"  # in adapter/, written by tools.stages.train
ADAPTER = "adapter_model.safetensors"
#: What training made, an adapter or a model in one file or several, and what tells its kind.
WEIGHTS = {ADAPTER: "adapter_config.json", "model*.safetensors": "config.json"}
NAMED = 5  # rows whose numbers are named


def reproduce(
    folder: Path,
    into: Path,
    make: Make,
    recipe_file: Path | None = None,
    look: Callable[[Recipe], None] = lambda recipe: None,
) -> Comparison:
    """Make a run again and compare.

    What differs among the inputs is printed before the first stage that is long. An interrupted
    rebuild goes on when it is called again.

    Args:
        folder: a run folder; of it only ``manifest.json`` is needed.
        into: folder of the rebuilt run; absent, empty, or of the same rebuild, interrupted.
        make: makes one stage of a run whose lock is held.
        recipe_file: the recipe as the user has it now; ``recipes/NAME.yaml`` when not given.
        look: called with the recipe before anything is made; may refuse it.

    Raises:
        UserError: the manifest does not tell enough, ``into`` holds something else, or an input is
            missing.
    """
    # Its name becomes the run's, and neither . nor .. is one.
    into = into if into.name not in ("", "..") else into.resolve()
    manifest = Manifest(folder)
    if faults := list(manifest.faults()):
        raise UserError(
            f"{folder}/{fault}; a copy of the first run's is needed" for fault in faults
        )
    chain = chain_of(manifest)
    recipe = _recipe(folder, manifest, chain)
    look(recipe)
    _claim(into, chain)
    run = Run(dataclasses.replace(recipe, name=into.name), into.parent)
    _borrow(folder, run, manifest)
    found = Comparison(shown(folder), shown(into))
    with run.lock():
        _write_recipe(run, recipe.name, folder)
        file = recipe_file or Path("recipes") / f"{recipe.name}.yaml"
        found.differences = [*_recipes(recipe, file, found), *_inputs(run, manifest, chain)]
        say("\n".join(render_differences(found.differences)))
        for stage, record in chain.items():
            _make(run, stage, _replay(manifest, record), make, found)
            if stage == "data":  # at once: training on other rows may take hours
                for note in _rows(folder, run):
                    _note(found, note)
        _compare(folder, run, chain, found)
    return found


def chain_of(manifest: Manifest) -> Chain:
    """The newest records that were made from one another, by stage, in the order of making."""
    found: Chain = {}
    for record in reversed(manifest.stages):
        if record["stage"] not in found and all(_fit(record, other) for other in found.values()):
            found[record["stage"]] = record
    whole: Chain = {}
    # What a sweep found is in the recipe of what was trained, so nothing is searched again.
    for stage in filter(lambda name: name != SWEEP and not exported(name), STAGES):
        if stage in found and _needs(manifest, found[stage]) <= whole.keys():
            whole[stage] = found[stage]
    if "merge" in whole and SOUP not in whole["merge"]["inputs"]["upstream"]:
        whole.pop(SOUP, None)  # of an earlier recipe; the merge took none
    return whole


def _fit(one: Record, other: Record) -> bool:
    """Whether neither was made from another version of the other."""
    return all(
        down["inputs"]["upstream"].get(up["stage"], up["fingerprint"]) == up["fingerprint"]
        for down, up in ((one, other), (other, one))
    )


def _needs(manifest: Manifest, record: Record) -> set[str]:
    """Stages a record was made from; where nothing is quantized, there is no such stage."""
    recipe = manifest.content(record, "recipe")
    plain = recipe is not None and recipe["quantize"]["format"] == "none"
    return set(record["inputs"]["upstream"]) - {SWEEP} - ({"quantize"} if plain else set())


def _recipe(folder: Path, manifest: Manifest, chain: Chain) -> Recipe:
    """The resolved recipe of the newest stage."""
    from pydantic import TypeAdapter, ValidationError

    path = folder / MANIFEST
    if not chain:
        raise UserError(f"{path}: no stage is recorded there; give RUN=runs/NAME of a finished run")
    stored = manifest.content(max(chain.values(), key=manifest.stages.index), "recipe")
    if stored is None:
        raise UserError(
            f"{path}: holds no whole recipe (an older version wrote it); make the run once more "
            "with this version"
        )
    try:
        recipe: Recipe = TypeAdapter(Recipe).validate_python(stored)
    except ValidationError as error:
        raise UserError(
            f"{path}: its recipe does not suit this version: {'.'.join(map(str, fault['loc']))}: "
            f"{fault['msg']}; check out the commit it names"
            for fault in error.errors()
        ) from None
    return recipe


def _claim(into: Path, chain: Chain) -> None:
    """Mark the folder as ours; what holds something else is left alone."""
    mine = {"manifest": digest(chain)}
    if into.exists() and not into.is_dir():
        raise UserError(f"{into}: is a file; give INTO= a folder that is not there yet")
    if into.is_dir() and any(into.iterdir()) and read_json(into / MARK) != mine:
        raise UserError(f"{into}: holds something else; give INTO= a folder that is not there yet")
    into.mkdir(parents=True, exist_ok=True)
    write_json(into / MARK, mine)


def _borrow(folder: Path, run: Run, manifest: Manifest) -> None:
    """Copy the adapters of a sweep's trials that a soup was made of: nobody searches again.

    Raises:
        UserError: they are not there as they were.
    """
    recipe, new = run.recipe, run.output(SWEEP)
    if not (recipe.soup and recipe.soup.trials and recipe.sweep) or new.is_dir():
        return
    old, work = folder / STAGES[SWEEP].folder, recipe.sweep.work
    listed = [one for one in manifest.stages if (one["stage"], one["fingerprint"]) == (SWEEP, work)]
    outputs = listed[-1]["outputs"] if listed else {}
    wrong = [
        name
        for name, entry in outputs.items()
        if not (old / name).is_file() or file_digest(old / name) != entry["sha256"]
    ]
    if wrong or not outputs:
        raise UserError(
            f"{shown(old)}: the soup has adapters of the sweep's trials in it, and "
            f"{wrong[0] if wrong else 'the sweep'} is not there as it was: a copy of the first "
            "run's is needed"
        )
    again = Manifest(run.path)
    for key in provenance.references(listed[-1]).values():
        again.keep(manifest.contents[key])
    with whole_folder(new) as made:  # its record goes into the manifest with the lock
        shutil.copytree(old, made, dirs_exist_ok=True)


def _write_recipe(run: Run, name: str, folder: Path) -> None:
    header = f"# recipe {name}, from {shown(folder / MANIFEST)}\n"
    write_text(run.path / "recipe.yaml", header + written.text(run.recipe))


def _recipes(stored: Recipe, file: Path, found: Comparison) -> list[Difference]:
    """Keys whose value is another one in the recipe that the user has now."""
    if not file.is_file():
        return []
    try:
        present = _as_swept(stored.sweep, file)
    except UserError as error:
        _note(found, f"{shown(file)}: not compared, for it has faults: {error.faults[0]}")
        return []
    then, now = dataclasses.asdict(stored), dataclasses.asdict(present)
    # A name is no input: a copy under another one is the same recipe.
    return differences("recipe", {**then, "name": ""}, {**now, "name": ""})


def _as_swept(sweep: Sweep | None, file: Path) -> Recipe:
    """The recipe that the user has now, with what the run's sweep found: no edit of the user's."""
    if sweep is None or not sweep.work:
        return load(file).recipe
    present = load(file, sets(sweep.chosen), layers_of(sweep.chosen)).recipe
    found = present.sweep and dataclasses.replace(
        present.sweep, chosen=sweep.chosen, work=sweep.work
    )
    return dataclasses.replace(present, sweep=found)


def _inputs(run: Run, manifest: Manifest, chain: Chain) -> list[Difference]:
    """What this machine has otherwise than the manifest says, each thing once."""
    found: list[Difference] = []
    for stage, record in chain.items():
        known, now = record.get("provenance", {}), run.inputs(stage)
        found += differences("recipe", record["inputs"]["recipe"], now["recipe"])
        if stage == "data":
            found += differences("data file", record["inputs"]["files"], now["files"])
        if stage in ("merge", SOUP):
            found += differences("adapter", record["inputs"].get("files"), now.get("files"))
        found += differences("version", record["inputs"]["versions"], now["versions"])
        packages = manifest.content(record, "packages")
        found += differences("version", packages, provenance.packages())
        if files := manifest.content(record, "model"):
            found += differences("model file", files, provenance.model_files(run.recipe.model))
        found += _code(known.get("code"), provenance.code())
        machine = provenance.machine(run.recipe.hardware.device)
        found += differences("machine", known.get("machine"), machine)
    return list(dict.fromkeys(found))


def _code(then: dict[str, Any] | None, now: dict[str, Any]) -> list[Difference]:
    """The same files are the same code, whatever the commit."""
    if not then or then["sha256"] == now["sha256"]:
        return []
    return [Difference("code", "tools, serve", _revision(then), _revision(now))]


def _revision(code: dict[str, Any]) -> str:
    commit = f"commit {code['commit'][:12]}" if "commit" in code else ""
    edited = " edited" if code.get("dirty") else ""
    return f"{commit}{edited} ({code['sha256'][:12]})".strip()


def _replay(manifest: Manifest, record: Record) -> Any:
    """What the rebuilt training follows instead of the clock, as ``tools.day.schedule`` has it.

    A run that was never pressed for time left no schedule: it made all its steps, and so must the
    rebuilt one, on a slower machine, too.
    """
    if schedule := manifest.content(record, SCHEDULE):
        return schedule
    steps = record["metrics"].get("steps")
    return {"planned": steps, "stop": steps, "evaluated": True, "pressed": []} if steps else None


def _make(run: Run, stage: str, replay: Any, make: Make, found: Comparison) -> None:
    """One stage; an evaluation that cannot be made here does not spoil the rest."""
    if run.done(stage):
        say(f"{stage}: up to date ({run.output(stage)})")
        return
    if replay:
        write_json(run.path / REPLAY, replay)
    try:
        make(run, stage)
    except UserError as error:
        if not stage.startswith("eval"):
            raise
        _note(found, f"{stage}: not made: {error}")


def _note(found: Comparison, text: str) -> None:
    """To be read at once, and at the end."""
    say(f"note: {text}")
    found.notes.append(text)


def _rows(folder: Path, run: Run) -> Iterator[str]:
    """Numbers of the rows that differ, where the first run's data folder is there, too."""
    for new in sorted(run.output("data").glob("*.jsonl")):
        old = folder / STAGES["data"].folder / new.name
        if not old.is_file() or file_digest(old) == file_digest(new):
            continue
        one, other = (path.read_bytes().splitlines() for path in (old, new))
        longest = range(max(len(one), len(other)))
        # Slices, for one file may be shorter: beyond its end they are empty.
        rows = [at + 1 for at in longest if one[at : at + 1] != other[at : at + 1]]
        named = ", ".join(map(str, rows[:NAMED])) + (", …" if len(rows) > NAMED else "")
        yield (
            f"{shown(old)} holds other rows than are made now: row {named} "
            f"({len(rows)} of {len(longest)})"
        )


def _compare(folder: Path, run: Run, chain: Chain, found: Comparison) -> None:
    """Files by their hashes, and, where those differ, models by what they compute."""
    now = {stage: record for stage in chain if run.done(stage) and (record := run.record(stage))}
    for stage, record in chain.items():
        if stage in now and not stage.startswith("eval"):
            found.rows += _outputs(stage, record, now[stage])
    _compare_trained(folder / STAGES["train"].folder, run, found)
    found.figures += likeness.figures(chain, now)


def _compare_trained(old: Path, run: Run, found: Comparison) -> None:
    """By logits, unless the weights are the same or were trained on other rows."""
    changed = [row for row in found.rows if not row.same]
    if any(row.stage == "data" for row in changed):
        return
    for form, kind in WEIGHTS.items():
        rows = [row for row in changed if row.stage == "train" and fnmatch(row.file, form)]
        if not rows or any(row.now is None for row in rows):
            continue
        there = all((old / row.file).is_file() for row in rows) and (old / kind).is_file()
        if there and all(file_digest(old / row.file) == row.then for row in rows):
            found.figures.append(likeness.logits(run, old, run.output("train")))
        else:
            _note(found, f"{shown(old)}: not what the first run trained: logits not compared")


def _outputs(stage: str, then: Record, now: Record) -> list[Row]:
    one, other = then["outputs"], now["outputs"]
    return [
        Row(stage, file, *(side.get(file, {}).get("sha256") for side in (one, other)))
        for file in dict.fromkeys([*one, *other])
    ]
