"""Licences as the hub's model cards name them, and those that do not let a model go public.

The identifiers are those of huggingface/hub-docs, docs/hub/repositories-licenses.md, and those of
Llama 3 and later, which the hub's page of today has.
"""

from collections.abc import Iterator

from tools.package.weights import HUB_ID
from tools.recipe.schema import Recipe

__all__ = ["HUB", "HUB_ID", "hub_id", "limits", "link_name"]

HUB = frozenset(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0"
    " bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause"
    " bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0"
    " cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0"
    " cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0"
    " cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1"
    " agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by"
    " odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr"
    " deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma unknown"
    " other".split()
)
# What recipes call otherwise than the hub does.
_SAME = {"bigsciencerail": "bigscience-bloom-rail-1.0"}
#: By a part of a licence's name, what it does not allow of weights made with what it covers.
_FORBIDS = {
    "noncommercial": "allows no commercial use, of weights made with it neither",
    "nc": "allows no commercial use, of weights made with it neither",
    "nd": "allows no changed copies to be handed on: ask whether trained weights are one",
    "unknown": "is not known: nobody has allowed anything",
    "mixed": "differs by part: each part's has to be looked up",
    "proprietary": "is no open one: its owner has to allow it",
    "other": "is none that is known here: read it before anything is handed on",
}


def hub_id(licence: str) -> str:
    """The hub's identifier of a licence; ``other`` where it has none.

    Args:
        licence: as a recipe names it.
    """
    name = "-".join(licence.lower().split())
    plain = name.replace("-", "")
    if plain in _SAME:
        return _SAME[plain]
    return next((one for one in (name, plain) if one in HUB), "other")


def link_name(licence: str) -> str:
    """What ``license_name`` calls one that the hub has no identifier of."""
    return "-".join(licence.lower().split())


def limits(recipe: Recipe) -> Iterator[str]:
    """What licences of base and data do not allow, a line each."""
    if why := _forbids(recipe.model.licence):
        yield f"the licence of the base {recipe.model.id}, {recipe.model.licence}, {why}"
    for name, source in recipe.data.sources.items():
        if why := _forbids(source.licence):
            yield f"the licence of the data {name}, {source.licence}, {why}"


def _forbids(licence: str) -> str:
    parts = licence.lower().replace("-", " ").split()
    words = {*parts, "noncommercial" if {"non", "commercial"} <= set(parts) else ""}
    return "; ".join(dict.fromkeys(why for part, why in _FORBIDS.items() if part in words))
