"""Sets that the catalogue knows: is what a recipe says of them true, and can they be loaded?"""

import dataclasses
from collections.abc import Callable, Iterator

from tools.check import catalogue
from tools.check.catalogue import Entry, Part
from tools.check.rules.base import Facts, Fault, Faults, fail, one_of, plain, warn
from tools.recipe.schema import Recipe, Source

# Names that the library of datasets reads as a loader of local files (datasets 5.0.1).
LOADERS = ("csv", "json", "pandas", "parquet", "arrow", "text", "conll", "imagefolder",
           "audiofolder", "videofolder", "meshfolder", "pdffolder", "niftifolder", "webdataset",
           "xml", "hdf5", "eval", "lance", "tsfile", "iceberg")  # fmt: skip
_CONVERTED = "refs/convert/"  # what the hub makes by itself


def _known(recipe: Recipe) -> Iterator[tuple[str, Source, Entry]]:
    """The sources that the catalogue knows, each with its key."""
    for name, source in recipe.data.sources.items():
        if entry := catalogue.find(source):
            yield f"data.sources.{name}", source, entry


def licence(key: str, source: Source, entry: Entry, facts: Facts) -> Faults:
    """The licence is what the set's owner states, of all the parts that are left in.

    Args:
        key: of the source.
        source: the source.
        entry: what is known of it.
        facts: the rules.
    """
    kept = entry.kept(source)
    if not entry.parts:
        if plain(source.licence) != plain(entry.licence):
            said = f"{key}.licence {source.licence}: {entry.id} is {entry.licence}"
            remedy = f"set it to {entry.licence}"
            yield fail(f"{key}.licence", f"{said}, by {entry.stated_by}", remedy)
        return
    closed = {v: p for v, p in kept.items() if not one_of(p.licence, facts["data_licences"])}
    if closed:
        yield _part_fault(key, entry, closed, "rows that are not open", lambda part: part.licence)
    elif kept and not one_of(source.licence, {part.licence for part in kept.values()}):
        stated = ", ".join(f"{value} {part.licence}" for value, part in kept.items())
        said = f"{key}.licence {source.licence}: none of the rows left in is: {stated}"
        yield fail(f"{key}.licence", said, "set it to the strictest of them")


def origin(
    key: str, source: Source, entry: Entry, refused: Callable[[Source], str]
) -> Iterator[Fault]:
    """The makers are who the catalogue says, of all the parts that are left in.

    Args:
        key: of the source.
        source: the source.
        entry: what is known of it.
        refused: why a source's origin is not accepted, empty when it is.
    """
    if not entry.parts:
        if plain(source.origin) != plain(entry.origin):
            said = f"{key}.origin {source.origin}: {entry.id} was made by {entry.made_by}"
            yield fail(f"{key}.origin", said, f"set it to {entry.origin}")
        return
    made = {
        value: part
        for value, part in entry.kept(source).items()
        if refused(dataclasses.replace(source, path="", origin=part.origin))
    }
    if made:
        what = "rows of makers that are not allowed"
        yield _part_fault(key, entry, made, what, lambda part: part.origin)


def _part_fault(
    key: str, entry: Entry, parts: dict[str, Part], what: str, why: Callable[[Part], str]
) -> Fault:
    """One fault for all the parts that must go, with the lines that make them go."""
    named = ", ".join(f"{value} ({why(part)})" for value, part in parts.items())
    values = ", ".join(parts)
    remedy = f"add to its operators: - deny: {{column: {entry.column}, values: [{values}]}}"
    return fail(f"{key}.path", f"{key}.path {entry.id} holds {what}: {named}", remedy)


def loadable(recipe: Recipe, facts: Facts) -> Faults:
    """What is named can be loaded: no loader's name, no script, no split of a generator."""
    for name, source in recipe.data.sources.items():
        key = f"data.sources.{name}"
        if source.kind == "hub" and source.path.lower() in LOADERS:
            said = f"{key}.path {source.path} is no set: it would read the files of this folder"
            yield fail(f"{key}.path", said, "name a set of the hub, OWNER/NAME, or a local file")
        if source.kind == "generator":  # of files the rule "sources" says the same
            yield from _of_hub_sets_alone(key, source)
    for key, source, entry in _known(recipe):
        if entry.is_script(source.path) and not source.revision.startswith(_CONVERTED):
            said = f"{key}.path {source.path} is a loading script, and those are not run any more"
            yield fail(f"{key}.path", said, f"take instead {entry.script}")


def _of_hub_sets_alone(key: str, source: Source) -> Faults:
    """Keys that say nothing of a maker, each with what it would have been for."""
    said = {"subset": source.subset, "revision": source.revision}
    said["split"] = "" if source.split == "train" else source.split
    for name, value in said.items():
        if value:
            message = f"{key}.{name} {value}: a generator has no {name}, only a set of the hub"
            yield fail(f"{key}.{name}", message, "remove it")


def facts_hold(recipe: Recipe, facts: Facts) -> Faults:
    """What the catalogue knows holds for what is taken: its commit, its terms, HELM's questions."""
    for key, source, entry in _known(recipe):
        yield from _commit(key, source, entry)
        if "licence" in entry.unverified:
            said = f"{key}.licence {source.licence} of {entry.id} is not verified: stated by"
            remedy = "read the set's page, and judge for yourself"
            yield warn(f"{key}.licence", f"{said} {entry.stated_by}", remedy)
        if entry.gated and source.path.lower() == entry.id.lower():
            said = f"{key}.path {entry.id} is given out to those who accepted its terms only"
            yield warn(f"{key}.path", said, entry.gated)
        if entry.asked and (open_ := _asked(source, entry)):
            said = f"{key}.path {entry.id} holds questions that HELM asks"
            yield warn(f"{key}.path", said, _asked_remedy(entry.asked.column, open_))


def _commit(key: str, source: Source, entry: Entry) -> Faults:
    own = source.path.lower() == entry.id.lower()
    if source.revision.startswith(_CONVERTED):
        said = f"{key}.revision {source.revision} moves: the hub writes it anew"
        yield warn(f"{key}.revision", said, "set it to the commit behind it")
    elif own and "commit" in entry.unverified:
        said = f"{key}.revision of {entry.id} is not verified: {entry.commit_from}"
        yield warn(f"{key}.revision", said, "compare it with the hub's page of commits")
    elif own and source.revision and entry.commit and source.revision != entry.commit:
        said = f"{key}.revision {source.revision} is not the one that the catalogue describes"
        yield warn(f"{key}.revision", said, f"set it to {entry.commit}, or look at what differs")


def _asked_remedy(column: str, values: list[str]) -> str:
    if values == ["*"]:
        return "hold its rows against HELM's own instances, or leave it out"
    quoted = ", ".join(f'"{value}"' for value in values)
    return f"add to its operators: - deny: {{column: {column}, values: [{quoted}]}}"


def _asked(source: Source, entry: Entry) -> list[str]:
    """The patterns of HELM's questions that are not left out."""
    asked = entry.asked
    assert asked
    return [value for value in asked.values if not catalogue.left_out(source, asked.column, value)]
