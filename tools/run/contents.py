"""What files that a stage reads hold: an edit makes it run again."""

from pathlib import Path

from tools.errors import UserError
from tools.files import digest, file_digest
from tools.recipe.schema import Recipe
from tools.run.local_files import is_local, local_files, missing

_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")  # what an adapter of PEFT's is


def model_files(folder: Path) -> dict[str, list[int]]:
    """Size and time of a local model's files: their content would take minutes to read."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def adapter_files(recipe: Recipe) -> dict[str, str]:
    """Content of the adapters that are merged with the run's own, which is upstream already."""
    others = {name: one.path for name, one in recipe.merge.adapters.items() if one.path}
    return folder_files(others)


def folder_files(folders: dict[str, str]) -> dict[str, str]:
    """Content of adapters in folders, by their names."""
    found: dict[str, str] = {}
    for name, folder in folders.items():
        files = [Path(folder) / file for file in _ADAPTER]
        there = all(path.is_file() for path in files)
        found[name] = _together(files) if there else "absent"
    return found


def source_files(recipe: Recipe) -> dict[str, str]:
    """Content of local data files: one edited row must make the data stage run again."""
    files = {name: local_files(s) for name, s in recipe.data.sources.items() if is_local(s)}
    faults = [
        f"data.sources.{name}.path: {missing(recipe.data.sources[name])}"
        for name, found in files.items()
        if not found
    ]
    if faults:
        raise UserError(faults)
    # A set of the hub may be a folder here, which the library reads as it is.
    for name, source in recipe.data.sources.items():
        if source.kind == "hub" and Path(source.path).is_dir():
            files[name] = sorted(path for path in Path(source.path).rglob("*") if path.is_file())
    return {name: _together(found) for name, found in files.items()}


def _together(files: list[Path]) -> str:
    """One digest of several files, by content and order; of one file its own."""
    found = [file_digest(path) for path in files]
    return found[0] if len(found) == 1 else digest(found)
