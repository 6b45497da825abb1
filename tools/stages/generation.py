"""A base's ``generation_config.json``, which makers may have written against itself."""

from pathlib import Path
from typing import Any

from tools.files import read_json, write_json

FILE = "generation_config.json"
# What only sampling reads: transformers 5 saves no model that has one of them without do_sample.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff",
             "eta_cutoff")  # fmt: skip


def settle(folder: Path) -> None:
    """Make a folder's file agree with itself; one that does is left as it is.

    Llama 2's first release has a temperature and says nothing of sampling: sampling is meant. Where
    ``do_sample`` is false, the words beside it mean nothing and go.
    """
    config = read_json(folder / FILE)
    if not isinstance(config, dict):
        return
    named = [key for key in _SAMPLING if config.get(key) is not None]
    if not named or config.get("do_sample"):
        return
    if config.get("do_sample") is None:
        config["do_sample"] = True
    else:
        for key in named:
            del config[key]
    write_json(folder / FILE, config)


def settle_loaded(config: Any) -> None:
    """The same for what transformers has read; None where a model has none."""
    if config is None or config.do_sample:
        return
    if any(getattr(config, key, None) is not None for key in _SAMPLING):
        config.do_sample = True
