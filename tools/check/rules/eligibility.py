"""Who may take part in the challenge: base model, licences, data, machine, budget, contract."""

from tools.check import catalogue
from tools.check.rules import named
from tools.check.rules.base import Facts, Faults, fail, one_of, parts, plain, warn
from tools.recipe.faults import nearest
from tools.recipe.schema import Recipe, Source


def family(recipe: Recipe, facts: Facts) -> Faults:
    """The base is of an approved family."""
    model, known = recipe.model, facts["families"]
    if not one_of(model.family, known):
        said = f"model.family {model.family} is not on the list of approved families"
        remedy = f"take a base model of: {', '.join(known)}"
        yield fail("model.family", f"{said}{nearest(model.family, known)}", remedy)
    elif model.source == "hub" and plain(model.family) not in plain(model.id):
        said = f"model.id {model.id} does not name its family {model.family}"
        yield warn("model.id", said, "make sure that it is of that family, or set model.family")


def base_model(recipe: Recipe, facts: Facts) -> Faults:
    """The base was not instruction-tuned, by its own word or by its name."""
    model = recipe.model
    marks = sorted(parts(model.id) & set(facts["instruct_marks"]))
    if model.instruct:
        said = f"{model.id}: an instruct model is not eligible for the challenge"
        yield fail("model.instruct", said, "take the base model it was made from")
    elif marks:
        said = f"model.id {model.id}: {marks[0]} in a name means a tuned model, not a base model"
        yield fail("model.id", said, "take the base model it was made from")


def model_licence(recipe: Recipe, facts: Facts) -> Faults:
    """The base's licence is accepted."""
    licence, known = recipe.model.licence, facts["model_licences"]
    if not one_of(licence, known):
        said = f"model.licence {licence} is not accepted{nearest(licence, known)}"
        yield fail("model.licence", said, f"accepted: {', '.join(known)}")


def data_licence(recipe: Recipe, facts: Facts) -> Faults:
    """Every source's licence is open, and is what the catalogue says of a set that it knows."""
    known, closed = facts["data_licences"], facts["closed_data_licences"]
    for name, source in recipe.data.sources.items():
        key = f"data.sources.{name}.licence"
        if one_of(source.licence, closed):
            why = {plain(one): what for one, what in closed.items()}[plain(source.licence)]
            said = f"{key} {source.licence} is not an open licence: {why}"
            yield fail(key, said, f"leave the source out; open are: {', '.join(known)}")
        elif not one_of(source.licence, known):
            said = f"{key} {source.licence} is not a known open licence"
            remedy = f"open are: {', '.join(known)}"
            yield fail(key, f"{said}{nearest(source.licence, known)}", remedy)
        elif entry := catalogue.find(source):
            yield from named.licence(f"data.sources.{name}", source, entry, facts)


def data_origin(recipe: Recipe, facts: Facts) -> Faults:
    """No row was written by a closed model, or by another one than the rules allow."""
    remedy = "leave the source out, or keep only rows of allowed makers and name those"
    for name, source in recipe.data.sources.items():
        key = f"data.sources.{name}"
        entry = catalogue.find(source)
        if not entry and (why := _closed_data(source, facts)):
            said = f"{key}.path {source.path}: {why}, whatever its origin says"
            yield fail(f"{key}.path", said, remedy)
        elif why := _refused(source, recipe, facts):
            said = f"{key}.origin {source.origin}: {why}"
            yield fail(f"{key}.origin", said, remedy)
        elif entry:
            yield from named.origin(key, source, entry, lambda part: _refused(part, recipe, facts))
        elif marks := sorted(parts(source.origin) & set(facts["instruct_marks"])):
            said = f"{key}.origin {source.origin}: {marks[0]} is a tuned model, not a base model"
            yield warn(f"{key}.origin", said, "ask the organizers, or take rows of a base model")


def _closed_data(source: Source, facts: Facts) -> str:
    """Who wrote a data set that is known to be a closed model's work."""
    path = plain(source.path)
    for part, maker in facts["closed_data"].items():
        if plain(part) in path:
            return f"{part} holds rows written by {maker}"
    named = [name for name in facts["refused_origins"] if plain(name) in path]
    # A local file may be called anything; only a hub id tells who made the rows.
    return f"rows of {named[0]} are not allowed" if named and source.kind == "hub" else ""


def _refused(source: Source, recipe: Recipe, facts: Facts) -> str:
    """Why the rows' maker is not accepted, empty when it is."""
    origin = plain(source.origin)
    if any(plain(name) in origin for name in facts["refused_origins"]):
        return "rows written by ChatGPT, GPT-4 and their like are not allowed"
    if "llama2" in origin or "llama2" in plain(source.path):
        same = plain(recipe.model.family) == "llama2"
        return "" if same else "rows made by Llama 2 may only feed Llama 2"
    if one_of(origin, facts["origins"]):
        return ""
    makers = [plain(name) for name in facts["families"]]
    if any(part.startswith(maker) for part in origin.split("/") for maker in makers):
        return ""
    return "neither human, program nor an approved base model"


def day(recipe: Recipe, facts: Facts) -> Faults:
    """Fine-tuning ends within a day."""
    hours, most = recipe.budget.hours, facts["max_hours"]
    if hours > most:
        yield fail("budget.hours", f"budget.hours is {hours:g}, the day has {most}", f"set {most}")


# Axolotl's keys that spread a model or its batches over cards.
_SPREAD = ("tensor_parallel_size", "context_parallel_size", "dp_shard_size", "dp_replicate_size",
           "sequence_parallel_degree", "world_size", "ray_num_workers")  # fmt: skip
_SPREADERS = ("deepspeed", "fsdp_config", "ddp")


def one_gpu(recipe: Recipe, facts: Facts) -> Faults:
    """One card trains."""
    train, most = recipe.train, facts["machine"]["gpus"]
    if recipe.hardware.gpus > most:
        said = f"hardware.gpus is {recipe.hardware.gpus}, the challenge has one GPU"
        yield fail("hardware.gpus", said, "set hardware.gpus=1, or TRACK=none outside it")
    wanted = [key for key in _SPREAD if (train.get(key) or 1) > 1]
    wanted += [key for key in _SPREADERS if train.get(key)]
    for key in wanted:
        said = f"train.{key} is for several GPUs, the challenge has one"
        yield fail(f"train.{key}", said, f"--set '~train.{key}', or TRACK=none outside it")


def machine(recipe: Recipe, facts: Facts) -> Faults:
    """The machine is no larger than the challenge's: card memory, RAM, disk."""
    card, limits = recipe.hardware, facts["machine"]
    most = {
        "memory_gib": limits["memory_gib"].get(card.track, card.memory_gib),
        "host_memory_gib": limits["host_memory_gib"],
        "disk_gb": limits["disk_gb"],
    }
    for key, limit in most.items():
        if (has := getattr(card, key)) > limit:
            said = f"hardware.{key} is {has:g}, the challenge's machine has {limit}"
            yield fail(f"hardware.{key}", said, f"set it to {limit} or less, or TRACK=none")


def contract(recipe: Recipe, facts: Facts) -> Faults:
    """Prompt and completion together are as long as the contract has them."""
    served, most = recipe.serve.context, facts["max_tokens"]
    if served != most:
        said = f"serve.context is {served}, the contract's length is {most} tokens"
        yield warn("serve.context", said, f"set it to {most}")


def reproducible(recipe: Recipe, facts: Facts) -> Faults:
    """A rerun gets the same model and data from the hub."""
    model, sources = recipe.model, recipe.data.sources
    loose = ["model.revision"] if model.source == "hub" and not model.revision else []
    loose += [
        f"data.sources.{name}.revision"
        for name, source in sources.items()
        if source.kind == "hub" and not source.revision
    ]
    for key in loose:
        said = f"{key} is empty: a rerun may get other content, and does not count"
        yield warn(key, said, "set it to the hub's commit")
