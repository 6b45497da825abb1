"""The JSON schema of Axolotl's own configuration, made from the pinned version and kept here.

Axolotl drops keys it does not know without a word, and importing it takes seconds. So ``python -m
tools.recipe.axolotl_schema`` (``make schema``) writes what its pydantic models say to
``schemas/axolotl.json``; ``train_schema`` gives what a recipe's ``train`` is held against.
"""

import functools
import importlib
import json
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent / "schemas" / "axolotl.json"

_SENDS = ("hub_model_id", "hub_strategy", "hub_revision", "push_dataset_to_hub")
# Other trainings than on answers, and what only they read. Why: docs/recipes.md.
_PREFERENCES = (
    "rl", "rl_beta", "trl", "ebft", "reward_model", "process_reward_model",
    "center_rewards_coefficient", "precompute_ref_log_probs", "orpo_alpha", "rpo_alpha",
    "cpo_alpha", "simpo_gamma", "kto_desirable_weight", "kto_undesirable_weight", "dpo_beta",
    "dpo_generate_during_eval", "dpo_label_smoothing", "dpo_ld_alpha", "dpo_loss_type",
    "dpo_loss_weights", "dpo_norm_loss", "dpo_padding_free", "dpo_use_liger_kernel",
    "dpo_use_logits_to_keep", "dpo_use_weighting",
)  # fmt: skip
_NO_PREFERENCES = (
    "a day trains on answers, not on preferences (docs/recipes.md, Preferences, says why and "
    "how to go on with the merged model); leave it out"
)
# Keys of Axolotl that the run decides, and what to set instead.
OWNED = {
    "base_model": "the recipe's model section names the base; set model.id",
    "model_revision": "the recipe's model section names the base; set model.revision",
    "revision_of_model": "the recipe's model section names the base; set model.revision",
    "special_tokens": "the recipe's model section has them; set model.bos, .eos, .pad",
    "datasets": "the data stage writes what is trained on; set data.sources",
    "test_datasets": "the data stage holds rows out; set data.validation_rows",
    "val_set_size": "the data stage holds rows out; set data.validation_rows",
    "dataset_prepared_path": "it lies in the run folder; leave it out",
    "output_dir": "it lies in the run folder, runs/NAME/adapter; leave it out",
    "lora_model_dir": "each run trains its own adapter; leave it out",
    "resume_from_checkpoint": "an interrupted run resumes by itself; leave it out",
    "auto_resume_from_checkpoints": "an interrupted run resumes by itself; leave it out",
    "merge_method": "the merge stage does that; set merge.method",
    "quantization": "the quantize stage does that; set quantize.format",
    "train_on_inputs": "a row says itself what is learnt; put it into data.sources.NAME.completion",
    "streaming": "the data stage writes the rows to this disk; leave it out",
    "pretraining_dataset": "the data stage writes what is trained on; set data.sources",
    **dict.fromkeys(_SENDS, "nothing is sent anywhere; upload the finished run's folder yourself"),
    **dict.fromkeys(_PREFERENCES, _NO_PREFERENCES),
}

# Keys that older versions of Axolotl had, and what has taken their place. This one drops some
# without a word; others it knows only to refuse them, a minute after it has begun.
_NO_FSDP_1 = "Axolotl 0.20 dropped FSDP 1, and FSDP 2 has no such setting; leave it out"
DROPPED = {
    "fsdp": "Axolotl 0.20 dropped FSDP 1; set train.fsdp_version=2 and train.fsdp_config",
    "fsdp_config.sharding_strategy": "Axolotl 0.20 dropped FSDP 1; set "
    "train.fsdp_config.reshard_after_forward=true for FULL_SHARD, or false for SHARD_GRAD_OP",
    "fsdp_config.backward_prefetch": _NO_FSDP_1,
    "fsdp_config.backward_prefetch_policy": _NO_FSDP_1,
    "fsdp_config.forward_prefetch": _NO_FSDP_1,
    "fsdp_config.limit_all_gathers": _NO_FSDP_1,
    "fsdp_config.sync_module_states": _NO_FSDP_1,
    "fsdp_config.use_orig_params": _NO_FSDP_1,
    "flash_attn_rms_norm": "set train.liger_rms_norm=true, with Liger's plugin in train.plugins",
    "max_packed_sequence_len": "set train.sequence_len and train.sample_packing=true",
    "rope_scaling": "set train.model_config.rope_scaling",
    "s2_attention": "set train.attn_implementation",
}
# Values of which the same is true.
DROPPED_VALUES = {
    ("model_type", "MambaLMHeadModel"): "Axolotl 0.20 dropped its own Mamba model; leave it out",
    ("type_of_model", "MambaLMHeadModel"): "Axolotl 0.20 dropped its own Mamba model; leave it out",
}


def train_schema(plugins: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of ``train``, with the definitions it refers to under ``$defs``.

    Args:
        plugins: class paths as in ``train.plugins``; the keys of those Axolotl ships are allowed.
    """
    stored = _stored()
    properties = dict(stored["config"]["properties"])  # a copy: the stored one is cached
    for plugin in plugins:
        properties |= stored["plugins"].get(plugin, {}).get("properties", {})
    required = [key for key in stored["config"]["required"] if key not in OWNED]
    train = {**stored["config"], "properties": properties, "required": required}
    return {**train, "$defs": stored["$defs"]}


def plugin_keys() -> dict[str, set[str]]:
    """The keys that each plugin Axolotl ships adds, by the plugin's class path."""
    return {path: set(schema["properties"]) for path, schema in _stored()["plugins"].items()}


@functools.cache
def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return stored


def generate() -> dict[str, Any]:
    """Make the schema from the Axolotl that is installed (imports it: many seconds).

    Returns:
        ``version``; ``config``, the schema of the configuration; ``plugins``, by class path the
        schema of the keys a plugin adds; ``$defs``, what all of them refer to. Objects with named
        keys are closed.
    """
    from importlib import metadata

    from axolotl.utils.schemas.config import AxolotlInputConfig
    from pydantic.json_schema import models_json_schema

    added = dict(_plugin_models())
    models = {AxolotlInputConfig, *(model for model in added.values() if model)}
    ordered = sorted(models, key=lambda model: model.__module__ + model.__qualname__)
    table, shared = models_json_schema(
        [(model, "validation") for model in ordered], schema_generator=_generator()
    )
    definitions = shared["$defs"]
    for model in [*ordered, *_models_by_name(definitions)]:
        if model.__name__ in definitions:
            _add_aliases(model, definitions[model.__name__])
    schemas = {model: _resolve(table[model, "validation"], definitions) for model in ordered}
    properties = schemas[AxolotlInputConfig]["properties"]
    _sharpen(properties)
    _leave_out(properties, definitions["FSDPConfig"]["properties"])
    empty: dict[str, Any] = {"properties": {}}
    made = {
        "version": metadata.version("axolotl"),
        "config": schemas[AxolotlInputConfig],
        "plugins": {path: schemas[model] if model else empty for path, model in added.items()},
    }
    closed: dict[str, Any] = close({**made, "$defs": _used(made, definitions)})
    return closed


def _generator() -> type[Any]:
    """Pydantic's generator, taught the one enum of Axolotl whose members are torch types."""
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

        def enum_schema(self, schema: Any) -> dict[str, Any]:
            values = [member.value for member in schema["members"]]
            plain = [value if isinstance(value, str | int) else None for value in values]
            names = [member.name for member in schema["members"]]
            return {"enum": names if None in plain else plain}

    return Generator


def _plugin_models() -> Iterator[tuple[str, Any]]:
    """Class path and arguments model, None when it has none, of every plugin that can run here."""
    import axolotl.integrations
    from axolotl.integrations.base import BasePlugin

    for package in pkgutil.iter_modules(axolotl.integrations.__path__):
        if not package.ispkg:
            continue
        try:
            module = importlib.import_module(f"axolotl.integrations.{package.name}")
        except ImportError:
            continue  # it wants a package the lock file leaves out, so it cannot run here either
        for name, kind in sorted(vars(module).items()):
            if isinstance(kind, type) and issubclass(kind, BasePlugin) and kind is not BasePlugin:
                yield f"{module.__name__}.{name}", _arguments(kind().get_input_args())


def _arguments(path: str | None) -> Any:
    if not path:
        return None
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _models_by_name(names: dict[str, Any]) -> list[Any]:
    """The pydantic models of Axolotl's own schema modules whose name is one of ``names``."""
    from axolotl.utils import schemas
    from pydantic import BaseModel

    modules = [
        importlib.import_module(f"{schemas.__name__}.{found.name}")
        for found in pkgutil.iter_modules(schemas.__path__)
    ]
    found = {
        kind
        for module in modules
        for name, kind in vars(module).items()
        if name in names and isinstance(kind, type) and issubclass(kind, BaseModel)
    }
    return sorted(found, key=lambda kind: kind.__name__)


def _add_aliases(model: Any, schema: dict[str, Any]) -> None:
    """Pydantic names a field once; Axolotl also takes it by field name and by every other alias."""
    properties = schema["properties"]
    for name, field in model.model_fields.items():
        aliases = [name, *getattr(field.validation_alias, "choices", [field.validation_alias])]
        known = [alias for alias in aliases if alias in properties]
        for alias in aliases:
            if alias and known:
                properties.setdefault(alias, properties[known[0]])


def _sharpen(properties: dict[str, Any]) -> None:
    """Put in the names that Axolotl checks late (after loading the model) or in code only."""
    from axolotl.utils.schemas import enums
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    # Those two are Axolotl's own: axolotl.core.builders.base.
    schedules = [*(kind.value for kind in SchedulerType), "one_cycle", "rex"]
    optimizers = [kind.value for kind in [*OptimizerNames, *enums.CustomSupportedOptimizers]]
    null = {"type": "null"}
    # Axolotl takes a text, too, for readers of YAML to whom 1e-4 is one; ours reads a number.
    properties["learning_rate"] = {"type": "number"}
    properties["lr_scheduler"] = {"anyOf": [{"enum": sorted(schedules)}, null]}
    properties["optimizer"] = {"anyOf": [{"enum": sorted(set(optimizers))}, null]}
    # A path with a slash is a kernel of the hub.
    names = sorted(enums.CANONICAL_ATTN_IMPLS - _unusable())
    attention = [{"enum": names}, {"type": "string", "pattern": "/"}]
    properties["attn_implementation"] = {"anyOf": [*attention, null]}


def _leave_out(properties: dict[str, Any], fsdp: dict[str, Any]) -> None:
    """Take out what Axolotl knows only to refuse it."""
    for key in DROPPED:
        properties.pop(key, None)
    version = {"anyOf": [{"const": 2}, {"type": "null"}]}
    properties["fsdp_version"] = fsdp["fsdp_version"] = fsdp["version"] = version


def _unusable() -> set[str]:
    """Kinds of attention that Axolotl names and then refuses, a minute later."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    torchs = "flash_attention_torch"  # no transformers has it yet (5.20.1)
    missing = set() if torchs in ALL_ATTENTION_FUNCTIONS else {torchs}
    return missing | {"varlen"}  # of diffusion language models only


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    resolved: dict[str, Any] = definitions[schema["$ref"].split("/")[-1]]
    return {"required": [], **resolved}


def _used(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that a schema refers to, directly or through others."""
    found: dict[str, Any] = {}
    todo = list(_references(schema))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = definitions[name]
            todo += _references(found[name])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.split("/")[-1]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)


# Words of JSON schema that refuse nothing.
_PROSE = ("title", "description", "default", "help", "examples", "deprecated")


def close(schema: Any) -> Any:
    """A JSON schema without prose, unnamed keys forbidden in every object that names some."""
    if isinstance(schema, list):
        return [close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _close_part(key, part) for key, part in schema.items() if key not in _PROSE}
    if "properties" in kept:
        # Where a model takes any key, pydantic has said so already.
        kept.setdefault("additionalProperties", False)
    return kept


def _close_part(key: str, part: Any) -> Any:
    """Under these words the keys are names of the user, not words of JSON schema."""
    if key in ("properties", "$defs", "plugins"):
        return {name: close(schema) for name, schema in part.items()}
    return close(part)


def write(schema: dict[str, Any], path: Path = STORED) -> None:
    """Store a schema sorted, one word a line: small, and a new version reads well as a diff."""
    text = json.dumps(schema, sort_keys=True, indent=0, separators=(",", ":"))
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    write(generate())
