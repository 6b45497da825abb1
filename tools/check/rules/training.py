"""Pairs of settings that cannot work together, from training over merging to serving."""

import fnmatch
import math
from typing import Any

from tools.base_model.experts import has_experts
from tools.check.rules.base import Facts, Faults, fail, parts, warn
from tools.check.rules.card import attention
from tools.check.rules.unpacked import CHANGE_BASE
from tools.day.steps import beyond
from tools.recipe import lora_kernels
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Recipe

# Axolotl's own list (axolotl.utils.schemas.enums.ATTN_IMPLS_SUPPORTING_PACKING, 0.21.0).
_PACKING = {
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flash_attention_torch",
    "flex_attention",
    "xformers",
    "sage",
    "kernels-community/flash-attn2",
    "kernels-community/flash-attn3",
    "kernels-community/sage-attention",
}


# Axolotl's own patch for it (0.21.0) parts the rows and drops the window.
_FORGETS_WINDOWS = {"xformers"}
_FROM_WHEELS = "train.attn_implementation=sdpa train.sdpa_varlen=true"


def packing(recipe: Recipe, facts: Facts) -> Faults:
    """Packed rows need attention of variable length, which knows where a row ends."""
    if KINDS[recipe.model.kind].parted:  # another rule says that nothing is packed there
        return
    train, arch = recipe.train, recipe.model.arch
    name = attention(train)
    # A kernel of the hub may name its revision (@) and its function (:), too.
    able = name.partition("@")[0].partition(":")[0] in _PACKING
    able |= name == "sdpa" and train.get("sdpa_varlen") is True
    remedy = f'SET="{_FROM_WHEELS}", or set train.sample_packing=false'
    if train.get("sample_packing") and not able:
        why = "rows packed together would see one another"
        if name in ("sdpa", "eager"):
            why = "it keeps rows apart by a mask of the packed length squared"
        said = f"train.sample_packing without variable-length attention ({name or 'none'}): {why}"
        yield fail("train.sample_packing", said, remedy)
    if train.get("sample_packing") and name in _FORGETS_WINDOWS and arch and arch.window:
        said = f"train.attn_implementation {name} forgets the window ({arch.window}) of packed rows"
        yield fail("train.attn_implementation", said, remedy)


def evaluation_packing(recipe: Recipe, facts: Facts) -> Faults:
    """Held-out rows count whole, those of a last pack or batch that is not full, too."""
    train = recipe.train
    if KINDS[recipe.model.kind].parted:
        return
    # Axolotl makes it true where it is left open.
    if train.get("sample_packing") and train.get("eval_sample_packing") is not False:
        said = "train.eval_sample_packing is true: a pack that is not full is dropped, rows and all"
        yield warn("train.eval_sample_packing", said, "set train.eval_sample_packing=false")
    if train.get("dataloader_drop_last"):
        said = "train.dataloader_drop_last is true: held-out rows that fill no batch are dropped"
        yield warn("train.dataloader_drop_last", said, "leave it out")


def window(recipe: Recipe, facts: Facts) -> Faults:
    """Neither training nor serving goes beyond what the model can see."""
    model, train, most = recipe.model, recipe.train, facts["max_tokens"]
    length = train.get("sequence_len") or 512  # Axolotl's default
    if length > model.context:
        said = f"train.sequence_len {length} is more than {model.id} can see"
        yield fail("train.sequence_len", said, f"set it to {model.context} or less")
    elif length > most and not train.get("sample_packing"):
        said = f"train.sequence_len {length} is above the contract's {most} tokens, unpacked"
        yield warn("train.sequence_len", said, f"set it to {most}, or train.sample_packing=true")
    if recipe.serve.context > model.context:
        said = f"serve.context {recipe.serve.context} is more than {model.id} can see"
        yield fail("serve.context", said, f"set it to {min(model.context, most)}")


def padding(recipe: Recipe, facts: Facts) -> Faults:
    """Padding is masked, the end of a text must not be."""
    if recipe.model.pad == recipe.model.eos:
        said = (
            f"model.pad and model.eos are both {recipe.model.eos}: padding is masked, eos with it"
        )
        yield fail("model.pad", said, "set model.pad to another token, or the model never stops")


def adapter(recipe: Recipe, facts: Facts) -> Faults:
    """The adapter fits how the base's weights are loaded."""
    train = recipe.train
    name, four, eight = (train.get(key) for key in ("adapter", "load_in_4bit", "load_in_8bit"))
    if "adapter" not in train:
        said = "train.adapter is not set: it is not said what is to be trained"
        remedy = "set it to lora or qlora, or to null: all weights are trained"
        yield fail("train.adapter", said, remedy)
    elif not name and (four or eight):
        key = "train.load_in_4bit" if four else "train.load_in_8bit"
        said = f"train.adapter is null with {key}: all weights are trained, which rounded ones"
        said += " cannot be"
        yield fail(key, said, f"set {key}=false, or train.adapter={'qlora' if four else 'lora'}")
    elif name == "dora":
        said = "train.adapter dora: Axolotl has DoRA as a way of LoRA"
        yield fail("train.adapter", said, 'SET="train.adapter=lora train.peft_use_dora=true"')
    # A plugin may bring an adapter of its own.
    elif name and name not in ("lora", "qlora") and not train.get("plugins"):
        said = f"train.adapter {name} is no adapter of ours{nearest(name, ['lora', 'qlora'])}"
        yield fail("train.adapter", said, "set train.adapter to lora or qlora")
    if name == "qlora" and not four:
        said = "train.adapter is qlora without load_in_4bit: qlora is LoRA on a 4-bit base"
        yield fail("train.adapter", said, "set train.load_in_4bit=true")
    if name == "lora" and four:
        said = "train.adapter is lora with load_in_4bit: LoRA on a 4-bit base is called qlora"
        yield fail("train.adapter", said, "set train.adapter=qlora")
    if eight and (four or name == "qlora"):
        said = "train.load_in_8bit with a 4-bit base: weights have one format"
        yield fail("train.load_in_8bit", said, "set train.load_in_8bit=false")


_QUANTIZED = {"gptq", "awq", "exl2", "bnb", "4bit", "8bit", "int4", "int8", "fp8", "nvfp4",
              "mxfp4", "hqq", "aqlm", "w4a16", "w8a8"}  # fmt: skip


def merging(recipe: Recipe, facts: Facts) -> Faults:
    """The adapter goes into whole weights, as near as can be to those it was trained on."""
    model, train, method = recipe.model, recipe.train, recipe.merge.method
    if marks := sorted(parts(model.id) & _QUANTIZED):
        said = f"model.id {model.id} is quantized ({marks[0]}): no adapter can be merged into it"
        yield fail("model.id", said, "take the model it was made from; quantize.format comes after")
    for key in ("gptq", "model_quantization_config"):
        if train.get(key):
            said = f"train.{key} trains on a quantized base: no adapter can be merged into it"
            yield fail(f"train.{key}", said, "take the whole base, with train.adapter=qlora")
    for key in ("lora_target_parameters", "peft_layer_replication"):
        told = key == "lora_target_parameters" and has_experts(model)  # by a rule of their own
        if train.get(key) and not told:
            said = f"train.{key}: what it trains cannot be merged tensor by tensor"
            yield fail(f"train.{key}", said, "train layers, by train.lora_target_modules")
    if train.get("trust_remote_code"):
        said = "train.trust_remote_code: training alone would run the hub's code: merge, quantize"
        remedy = "take a base that transformers has, and leave it out"
        yield fail("train.trust_remote_code", f"{said} and the worker run none", remedy)
    kind = str(train.get("peft_init_lora_weights") or "")
    if kind.startswith(CHANGE_BASE):
        said = f"train.peft_init_lora_weights {kind} takes its start out of the base's own weights"
        remedy = "merge adds to them whole: leave it out, or take gaussian, orthogonal or eva"
        yield fail("train.peft_init_lora_weights", said, remedy)
    if (train.get("peft") or {}).get("loftq_config"):
        said = "train.peft.loftq_config changes the base's weights before the adapter is trained"
        yield fail("train.peft", said, "merge adds to them as they were: leave it out")
    if train.get("adapter") == "qlora" and method == "plain":
        said = "merge.method plain adds a qlora adapter to other weights than it was trained on"
        yield warn("merge.method", said, "set merge.method=nf4_aware")
    if train.get("adapter") == "lora" and train.get("load_in_8bit"):
        said = "train.load_in_8bit: the adapter is trained on 8-bit weights and merged into whole"
        yield warn("train.load_in_8bit", said, "leave it out where memory allows")


def four_bits(recipe: Recipe, facts: Facts) -> Faults:
    """The 4-bit weights of training, merging and serving are of one kind."""
    train, key = recipe.train, "train.bnb_config_kwargs.bnb_4bit_quant_type"
    kind = (train.get("bnb_config_kwargs") or {}).get("bnb_4bit_quant_type", "nf4")
    later = {"merge.method": recipe.merge.method, "quantize.format": recipe.quantize.format}
    for stage, value in later.items():
        if train.get("load_in_4bit") and kind != "nf4" and value in ("nf4", "nf4_aware"):
            said = f"{key} is {kind}, {stage} is {value}: trained on other weights than served"
            yield fail(key, said, f"set {key}=nf4")


def template(recipe: Recipe, facts: Facts) -> Faults:
    """A prompt is served in the form that was trained."""
    for key in ("chat_template", "chat_template_jinja", "default_system_message"):
        if recipe.train.get(key):
            said = f"train.{key} is set, but rows and served prompts are written without a template"
            remedy = (
                f"--set '~train.{key}'; write the form into data.sources.NAME.prompt, or set "
                "data.sources.NAME.form=chat_template"
            )
            yield fail(f"train.{key}", said, remedy)
    yield from _chats(recipe)
    wraps = {name: rule.wrap for name, rule in recipe.serve.rules.items() if rule.wrap}
    if not wraps:
        return
    from tools.data.shapes.detect import form as form_of

    forms = [form_of(source) for source in recipe.data.sources.values()]
    for name, wrap in wraps.items():
        if not any(_same_form(wrap, form) for form in forms):
            key = f"serve.rules.{name}.wrap"
            said = f"{key} asks in a form that no data source's prompt has"
            remedy = "take the form of data.sources.NAME.prompt, or leave wrap out"
            # Rows that come as they are may have any form.
            yield (warn if any(_bare(form) for form in forms) else fail)(key, said, remedy)


def _chats(recipe: Recipe) -> Faults:
    """Where turns are written in the model's chat template it has one."""
    from tools.data.shapes import chats

    names = [name for name, source in recipe.data.sources.items() if chats.is_chat(source)]
    if not names:
        return
    key, form = f"data.sources.{names[0]}.form", chats.at_hand(recipe)
    if form is None:
        said = (
            f"{key}: {recipe.model.id} is not here yet: `make data` will tell if it has a template"
        )
        yield warn(key, said, "nothing to do, where you know that it has one")
    elif not form.is_there:
        yield fail(key, f"{key}: {chats.lacking(recipe)}", chats.REMEDY)


def _bare(form: str) -> bool:
    return form.strip().startswith("{") and form.strip().endswith("}") and form.count("{") == 1


def _same_form(wrap: str, form: str) -> bool:
    """Whether a wrapped prompt begins and ends as the trained ones do."""
    before, _, after = wrap.partition("{prompt}")
    return form.strip().startswith(before.strip()) and form.strip().endswith(after.strip())


def best_checkpoint(recipe: Recipe, facts: Facts) -> Faults:
    """The best checkpoint can be told only where one was evaluated (transformers' Trainer)."""
    train = recipe.train
    if not train.get("load_best_model_at_end"):
        return
    # What the Trainer takes where nothing is said.
    evaluated, saved = train.get("eval_strategy") or "no", train.get("save_strategy") or "steps"
    key = "train.save_strategy"
    if evaluated == "no":
        said = "train.load_best_model_at_end without train.eval_strategy: nothing tells the best"
        yield fail("train.eval_strategy", said, "set train.eval_strategy=steps")
    elif saved not in (evaluated, "best"):
        said = f"{key} {saved}, train.eval_strategy {evaluated}: load_best_model_at_end wants one"
        yield fail(key, said, f"set {key}={evaluated}")
    elif saved == "steps":
        yield from _same_steps(train)


def _same_steps(train: dict[str, Any]) -> Faults:
    """Every checkpoint is one that was evaluated: steps of one are a multiple of the other's."""
    # An epoch's count runs the other way: the more saves in it, the fewer steps apart.
    pairs = {"save_steps": "eval_steps", "evals_per_epoch": "saves_per_epoch"}
    for more, fewer in pairs.items():
        first, second = train.get(more), train.get(fewer)
        ratio = first / second if first and second else 0
        # With a margin: steps may be shares of all, and 0.3 / 0.1 is not quite 3.
        if (first or second) and not (ratio > 0.999 and abs(ratio - round(ratio)) < 0.001):
            said = f"train.{more} {first} is no multiple of train.{fewer} {second}: a checkpoint"
            remedy = "set both to the same, or train.load_best_model_at_end=false"
            yield fail(f"train.{more}", f"{said} would be saved that was not evaluated", remedy)


# What Axolotl 0.21.0 refuses together, after it has loaded the rows (axolotl.utils.schemas).
_EITHER = [
    ("warmup_steps", "warmup_ratio"),
    ("gradient_accumulation_steps", "batch_size"),
    ("save_steps", "saves_per_epoch"),
    ("eval_steps", "evals_per_epoch"),
    ("neftune_noise_alpha", "noisy_embedding_alpha"),
    ("lr_groups", "loraplus_lr_ratio"),
    ("max_memory", "gpu_memory_limit"),
    ("deepspeed", "fsdp_config"),
    ("batch_flattening", "sample_packing"),
    ("chunked_cross_entropy", "cut_cross_entropy"),
    ("chunked_cross_entropy", "liger_cross_entropy"),
    ("chunked_cross_entropy", "liger_fused_linear_cross_entropy"),
]


def either(recipe: Recipe, facts: Facts) -> Faults:
    """Settings of which Axolotl takes one."""
    for first, second in _EITHER:
        if recipe.train.get(first) and recipe.train.get(second):
            said = f"train.{first} and train.{second} are both set, Axolotl takes one of them"
            yield fail(f"train.{second}", said, f"--set '~train.{first}', or '~train.{second}'")
    for kind in ("save", "eval"):
        strategy, steps = (recipe.train.get(f"{kind}_{part}") for part in ("strategy", "steps"))
        if steps and strategy not in (None, "steps"):
            said = f"train.{kind}_steps with train.{kind}_strategy {strategy}: steps are not used"
            yield fail(f"train.{kind}_steps", said, f"set train.{kind}_strategy=steps")
    if recipe.train.get("activation_offloading") and not recipe.train.get("gradient_checkpointing"):
        said = "train.activation_offloading without train.gradient_checkpointing"
        yield fail("train.activation_offloading", said, "set train.gradient_checkpointing=true")


def warmup(recipe: Recipe, facts: Facts) -> Faults:
    """Warm-up, evaluations and checkpoints come before training ends."""
    for key, said, remedy in beyond(recipe.train, _most_steps(recipe)):
        # A rate that never comes down spoils the model; the others only tell less of it.
        yield (fail if key == "train.warmup_steps" else warn)(key, said, remedy)


def _most_steps(recipe: Recipe) -> int:
    """Steps that training can have: a row for each question, unpacked; 0 when nothing tells."""
    train, sources = recipe.train, recipe.data.sources.values()
    if (steps := train.get("max_steps") or 0) > 0:
        return int(steps)
    if not sources or any(source.rows is None for source in sources):
        return 0
    rows = sum((source.rows or 0) * source.weight for source in sources)
    sizes = (train.get("micro_batch_size") or 1, train.get("gradient_accumulation_steps") or 1)
    a_step = train.get("batch_size") or math.prod(sizes) * recipe.hardware.gpus
    # An epoch's last step may have fewer rows.
    epochs = train.get("num_epochs") or 1
    return math.ceil(math.ceil(rows / max(a_step, 1)) * epochs)


def checkpointing(recipe: Recipe, facts: Facts) -> Faults:
    """The architecture can compute activations again, by Axolotl's reckoning of which it is."""
    if not recipe.train.get("gradient_checkpointing"):
        return
    remedy = "set train.gradient_checkpointing=false"
    if "mpt" in recipe.model.id.lower():
        said = "train.gradient_checkpointing: Axolotl refuses it for MPT models"
        yield fail("train.gradient_checkpointing", said, remedy)
    elif recipe.model.source == "local" and "mpt" in recipe.model.path.lower():
        said = f"model.path {recipe.model.path}: Axolotl takes a path with the letters mpt for MPT"
        yield fail("model.path", f"{said}, and refuses it checkpointing", f"rename it, or {remedy}")


_MATMULS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")


def selective(recipe: Recipe, facts: Facts) -> Faults:
    """What is kept of layers that are computed again: Axolotl 0.21.0 refuses these together."""
    train, key = recipe.train, "train.selective_checkpointing"
    regional = train.get("torch_compile") and train.get("torch_compile_regional")
    if regional and train.get("gradient_checkpointing"):
        said = "train.torch_compile_regional with train.gradient_checkpointing: a layer that is"
        said += " computed again may take another compiled form"
        yield fail("train.torch_compile_regional", said, "set train.torch_compile_regional=false")
    wanted = train.get("selective_checkpointing")
    if not wanted:
        return
    if not train.get("gradient_checkpointing"):
        said = f"{key} without train.gradient_checkpointing: every layer is kept whole already"
        yield fail(key, said, f"set {key}=false, or train.gradient_checkpointing=true")
    if (train.get("gradient_checkpointing_kwargs") or {}).get("use_reentrant"):
        said = f"{key} with use_reentrant: nothing can be kept of a layer that is computed that way"
        yield fail(key, said, "set train.gradient_checkpointing_kwargs.use_reentrant=false")
    if train.get("activation_offloading") not in (None, False, "hidden_states"):
        said = f"{key} with train.activation_offloading: its layers are not computed again"
        yield fail(key, said, "set train.activation_offloading=hidden_states, or false")
    if isinstance(wanted, dict):
        yield from _beside_kernels(wanted, lora_kernels.turned_on(train))


def _beside_kernels(wanted: dict[str, Any], kernels: set[str]) -> Faults:
    """No product within a fused kernel can be kept: the adapter's part is added into it."""
    key, said = (
        "train.selective_checkpointing",
        "keeps products that Axolotl's LoRA kernels compute",
    )
    saves = [str(entry) for entry in wanted.get("save") or () if entry != "attention"]
    bad = [entry for entry in saves if any(entry in name for name in _MATMULS)]
    if kernels and bad:
        yield fail(f"{key}.save", f"{key}.save {', '.join(bad)} {said}", _without(kernels))
    if kernels and wanted.get("save_matmul_min_k"):
        at = f"{key}.save_matmul_min_k"
        yield fail(at, f"{at} {said}", _without(kernels))
    for entry in wanted.get("save_modules") or ():
        last = str(entry).rsplit(".", 1)[-1]
        within = {name for name in kernels if fnmatch.filter(_names(name), last)}
        if within:
            at = f"{key}.save_modules"
            yield fail(at, f"{at} {entry} {said}", f"{_without(within)}, or leave {entry} out")


def _names(kernel: str) -> tuple[str, ...]:
    """Modules a kernel computes, and those around them."""
    around = {"qkv": ("self_attn",), "o": ("self_attn", "out_proj"), "mlp": ("mlp",)}
    return (*lora_kernels.MODULES[kernel], *around[kernel])


def _without(kernels: set[str]) -> str:
    off = " ".join(f"train.lora_{name}_kernel=false" for name in sorted(kernels))
    return f'set SET="{off}"'


def new_tokens(recipe: Recipe, facts: Facts) -> Faults:
    """Tokens that are added are trained, too, and survive the merge."""
    train = recipe.train
    trained = train.get("lora_modules_to_save") or train.get("peft_trainable_token_indices")
    if train.get("tokens") and not trained and train.get("adapter"):
        said = "train.tokens adds tokens whose embeddings nothing trains"
        remedy = "set train.lora_modules_to_save=[embed_tokens,lm_head], or leave train.tokens out"
        yield fail("train.tokens", said, remedy)


def endings(recipe: Recipe, facts: Facts) -> Faults:
    """Rows keep their end-of-text token, or the model never learns to stop."""
    if recipe.train.get("excess_length_strategy") == "truncate":
        said = "train.excess_length_strategy truncate cuts the end-of-text token off long rows"
        yield warn("train.excess_length_strategy", said, "set it to drop")


# What turns a tracker of Axolotl's on; each sends the run's figures to a service.
_TRACKERS = ("wandb", "mlflow", "comet", "trackio", "swanlab", "otel_metrics")
_TURNS_ON = ("use_{}", "{}_project", "{}_project_name", "{}_tracking_uri", "{}_experiment_name")


def trackers(recipe: Recipe, facts: Facts) -> Faults:
    """Nothing is sent anywhere, unless the recipe itself asks for it: then it is said."""
    for name in _TRACKERS:
        keys = [key for form in _TURNS_ON if recipe.train.get(key := form.format(name))]
        if keys:
            said = f"train.{keys[0]}: the run's figures would be sent to {name}"
            remedy = f"--set '~train.{keys[0]}': make report and logs/tensorboard show them here"
            yield warn(f"train.{keys[0]}", said, remedy)
