"""The house rules hold, and a breach of each is told with its file."""

from pathlib import Path

import pytest

from tests.house import (
    FACTORIES,
    FLOORS,
    FOLDER,
    ONE_OF_A_KIND,
    ROOT,
    WHY_MORE,
    by_name,
    climbs,
    repeats,
    sizes,
    sources,
)


def test_the_house_rules_hold() -> None:
    assert [*climbs(), *sizes(), *repeats(), *by_name()] == []
    assert len(list(sources(ROOT))) > 200


def test_every_room_has_a_floor_and_a_face() -> None:
    rooms = {path.name for path in (ROOT / "tools").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {room for floor in FLOORS for room in floor} - {"__main__", "ground"}
    assert all(
        (ROOT / "tools" / room / "__init__.py").read_text().count("\n") > 2 for room in rooms
    )


def test_exceptions_are_needed() -> None:
    for name in WHY_MORE:
        modules = [path for path in (ROOT / name).glob("*.py") if path.stem != "__init__"]
        assert len(modules) > FOLDER, f"{name} needs no exception any more"
    assert all((ROOT / name).exists() for name in (*FACTORIES, *ONE_OF_A_KIND))


def plant(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "__init__.py").touch()
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("tools/recipe/a.py", "from tools.run.folder import Run", "run is on a floor above"),
        ("tools/recipe/a.py", "from tools import run", "run is on a floor above"),
        ("tools/recipe/a.py", "import tools.run.folder", "run is on a floor above"),
        ("tools/day/a.py", "def f():\n    from tools.data import x", "data is on the same floor"),
        ("tools/files.py", "from tools.recipe import load", "recipe is on a floor above"),
        ("tools/attic/a.py", "import json", "room attic stands on no floor"),
        ("tools/run/a.py", "from ..day import clock", "say the whole name"),
        ("tools/run/a.py", "from tests.tiny import recipe", "the product does not need it"),
        ("serve/a.py", "from tools.files import digest", "serve/ knows nothing but itself"),
    ],
)
def test_a_planted_climb_is_told(tmp_path: Path, file: str, line: str, told: str) -> None:
    for name in ("recipe", "run", "data", "day"):
        plant(tmp_path, f"tools/{name}/b.py", "from tools.errors import UserError\n")
    assert [*climbs(tmp_path)] == []
    plant(tmp_path, file, line + "\n")
    (said,) = climbs(tmp_path)
    assert said.startswith(f"{file}:") and told in said


def test_planted_sizes_are_told(tmp_path: Path) -> None:
    plant(tmp_path, "tools/run/long.py", "x = 1\n" * 421)
    plant(tmp_path, "tools/run/deep.py", "def f():\n" + "    x = 1\n" * 60)
    for index in range(13):
        plant(tmp_path, f"tools/run/m{index}.py", "")
    told = [*sizes(tmp_path)]
    assert [said.split(":")[0] for said in told] == [
        "tools/run/deep.py",
        "tools/run/long.py",
        "tools/run",
    ]


BLOCK = """
def {name}({given}):
    \"\"\"{name} says what it does.\"\"\"
    import json

    {made} = []  # {name}
    for {each} in {given}:
        if {each} > 3:
            {made}.append({each} * "{name}")
    {made}.sort()
    if not {made}:
        raise ValueError("{name}: nothing")
    return json.dumps({made})
"""
ONE, OTHER = (
    BLOCK.format(name=name, given=given, made=made, each=each)
    for name, given, made, each in (("f", "rows", "kept", "row"), ("g", "lines", "found", "line"))
)


@pytest.mark.parametrize(
    ("file", "text", "other", "told"),
    [
        ("serve/engine/b.py", ONE, OTHER, "serve/engine/b.py:6: 8 lines as in serve/engine/a.py:6"),
        ("serve/engine/a.py", ONE, ONE + OTHER, "serve/engine/a.py:19: 8 lines as in"),
        ("tools/trainers/b.py", "x = 1\n" * 9, "x = 1\n" * 3, ""),
        ("tools/curate/b.py", ONE, OTHER, ""),
        ("tools/curate/b.py", ONE * 2, ONE * 2, "10 lines as in"),
        ("serve/engine/b.py", ONE, OTHER.replace(" > 3", " == 3"), ""),
    ],
)
def test_a_planted_repeat_is_told(
    tmp_path: Path, file: str, text: str, other: str, told: str
) -> None:
    """Whatever its names, where trainers and engines are; elsewhere as it stands."""
    for part in ("tools", "serve", "benchmarks"):
        (tmp_path / part).mkdir()
    plant(tmp_path, f"{Path(file).parent}/a.py", text)
    plant(tmp_path, file, other)
    found = [*repeats(tmp_path)]
    assert bool(found) == bool(told) and all(told in one for one in found)


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ('x = 1 if kind == "encoder" else 2', True),
        ('x = model.kind in ("causal", "seq2seq")', True),
        ('x = of_folder(f) is KINDS["seq2seq"]', True),
        ('match kind.name:\n    case "causal":\n        x = 1', True),
        ('x = side == "encoder"', False),
        ('x = kind.parted == "apart"', False),
        ('x = KINDS["encoder"].loader()', False),
    ],
)
def test_a_planted_question_for_a_kind_is_told(tmp_path: Path, line: str, asks: bool) -> None:
    plant(tmp_path, "tools/run/a.py", line + "\n")
    assert [one.split(": ")[0] for one in by_name(tmp_path)] == ["tools/run/a.py:1"] * asks
    plant(tmp_path, FACTORIES[0], line + "\n")
    assert len([*by_name(tmp_path)]) == asks
