"""The verify verb: is every byte of a run what its records say, and does it all belong together?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.errors import UserError
from tools.files import digest, file_digests, read_json
from tools.run.exports import exported
from tools.run.folder import RECORD, STAGES
from tools.run.provenance import MANIFEST, Manifest, Record

_RECORD_KEYS = {"fingerprint", "inputs", "outputs"}


def verify(folder: Path) -> list[str]:
    """Hash every output of a run again, and hold records, stages and manifest against each other.

    Args:
        folder: a run folder.

    Returns:
        One line a fault, with the file's place in the folder; none when all hashes hold.

    Raises:
        UserError: the folder is none of a run, or its manifest is damaged.
    """
    manifest = Manifest(folder)
    there = [name for name, stage in STAGES.items() if (folder / stage.folder).is_dir()]
    if not there and not manifest.stages:
        raise UserError(
            f"{folder}: no run folder (no {MANIFEST}, no stage's output); give RUN=runs/NAME"
        )
    found = {name: read_json(folder / STAGES[name].folder / RECORD) for name in there}
    records = {name: record for name, record in found.items() if _is_record(record)}
    faults = [
        f"{STAGES[name].folder}/{RECORD}: {_is_none(name)}" for name in there if name not in records
    ]
    for name, record in records.items():
        faults += _belongs(name, record, records)
    faults += [*manifest.faults(), *_listed(folder, manifest, records)]
    return [*faults, *_files(folder, records)]


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and value.keys() >= _RECORD_KEYS


def _is_none(name: str) -> str:
    return f"missing or no record, so nothing is known of this folder; {_again(name)}"


def _again(name: str) -> str:
    verb = "eval" if name.startswith("eval") else name
    if words := exported(name):
        verb = f"export {words}"
    return f"remove {STAGES[name].folder}/ and call make {verb}"


def _belongs(name: str, record: Record, records: Mapping[str, Record]) -> Iterator[str]:
    """Whether a stage was made from the stages that lie beside it now."""
    folder = STAGES[name].folder
    if digest(record["inputs"]) != record["fingerprint"]:
        yield f"{folder}/{RECORD}: its inputs do not give its fingerprint, so it was edited"
    for up, fingerprint in record["inputs"].get("upstream", {}).items():
        beside = records.get(up)
        if beside and beside["fingerprint"] != fingerprint:
            yield (
                f"{folder}: made from another {STAGES[up].folder} ({fingerprint[:12]}) than the "
                f"one beside it ({beside['fingerprint'][:12]}); call make day"
            )


def _listed(folder: Path, manifest: Manifest, records: Mapping[str, Record]) -> Iterator[str]:
    """Whether the manifest tells the same as the folders."""
    for name, stage in STAGES.items():
        newest, record = manifest.newest(name), records.get(name)
        if newest and not (folder / stage.folder).is_dir():
            yield f"{stage.folder}: missing, though {MANIFEST} lists it; call make day"
        elif record and newest != record:
            known = record in manifest.stages
            what = "an older record than the newest of" if known else "a record that is not in"
            yield f"{stage.folder}/{RECORD}: {what} {MANIFEST}"


def _files(folder: Path, records: Mapping[str, Record]) -> Iterator[str]:
    """Every file of every stage, against its record."""
    owner = {folder / STAGES[name].folder: name for name in records}
    present = {
        path: (name, path.relative_to(place).as_posix())
        for place, name in owner.items()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path != place / RECORD
    }
    hashes = file_digests(list(present), "verify")
    for path, (name, file) in present.items():
        entry = records[name]["outputs"].get(file)
        shown = path.relative_to(folder).as_posix()
        if entry is None:
            yield f"{shown}: in no record; it is not of this run"
        elif entry.get("sha256") != hashes[path]:
            yield f"{shown}: changed since it was made (sha256 {hashes[path]}); {_again(name)}"
    for place, name in owner.items():
        for file in records[name]["outputs"]:
            if place / file not in present:
                yield f"{STAGES[name].folder}/{file}: missing; {_again(name)}"
