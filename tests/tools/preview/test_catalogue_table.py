"""Every set of the catalogue in one recipe, on small copies in their real form: the table of it."""

import re
from pathlib import Path
from typing import Any

from tests.tools.data.shapes import real
from tests.tools.data.test_catalogue_rows import SETS
from tests.tools.preview.conftest import Call, own
from tools.recipe.load import load


def composed(folder: Path, model: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A recipe of all layers, each reading its copy; and the source of each layer."""
    files = ", ".join(f"data/catalogue/{name}" for name in SETS)
    (folder / "names.yaml").write_text(f"defaults: [cpu, debug/no-sources, {files}]\n")
    names = list(load(folder / "names.yaml").recipe.data.sources)
    layers = dict(zip(names, SETS, strict=True))
    found = own("byte_level", model)
    found["defaults"] += [f"data/catalogue/{name}" for name in SETS]
    found["data"] |= {"test_rows": 0, "validation_rows": 2 * len(names), "sources": {}}
    for name, layer in layers.items():
        file = folder / f"{layer}.jsonl"
        file.write_bytes(real.jsonl(SETS[layer][0]))
        local: dict[str, Any] = {"kind": "jsonl", "path": str(file), "files": [], "rows": None}
        local |= {"subset": "", "split": "train", "revision": ""}
        found["data"]["sources"][name] = local
    return found, layers


def test_the_table_of_all_named_sets(folders: dict[str, Path], tmp_path: Path, call: Call) -> None:
    recipe, layers = composed(tmp_path, folders["byte_level"])
    code, out, err = call(recipe, "--rows", "1")
    assert code == 0, err
    table = out[out.index("source  ") :]
    for name, layer in layers.items():
        line = re.search(
            rf"^{re.escape(name)} +(\w+).*? +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d.]+)% +0$",
            table,
            re.MULTILINE,
        )
        assert line, (name, table)
        shared = re.search(
            rf"^  {re.escape(name)}: (\d+) with the prompt of an earlier source",
            table,
            re.MULTILINE,
        )
        read, left = int(line[2]), int(line[3]) - int(shared[1] if shared else 0)
        rows, kept, _ = SETS[layer]
        assert read == len(rows), layer
        # A tree's messages are read one by one, and joined.
        assert left == len(rows) - kept or line[1] == "tree", (layer, table)
        assert 0 < float(line[6]) < 100
        assert f"\n{name} 1 (" in out
    assert "NOT EQUAL" not in out
