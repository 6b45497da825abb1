"""``plan --points FILE``: the memory formula beside published runs, each with its error."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.plan.job import ALL_LINEAR, FP32, KERNELS, NF4, NF4_DOUBLE, Job, Loss, Method, parts
from tools.plan.memory import Peak, peak
from tools.plan.probes import CARDS
from tools.plan.speed import Range, tokens_per_second
from tools.recipe.schema import Architecture, Hardware

# Of the published peak, where the formula's conditions hold: with gradient checkpointing, without.
TOLERANCE, TOLERANCE_KEPT = 0.08, 0.15
_METHODS: dict[str, Method] = {"lora": "lora", "qlora": "qlora", "full": "full", "dora": "lora",
                               "qdora": "qlora"}  # fmt: skip
_LOSSES: dict[str, Loss] = {
    # What was published was measured with transformers of its time.
    **dict.fromkeys(("hf", "full", "plain", "eager"), "hf_2024"),
    **dict.fromkeys(("chunked", "chunked_cross_entropy"), "chunked"),
    **dict.fromkeys(("fused", "cce", "cut_cross_entropy", "liger", "linear"), "fused"),
}


@dataclass(frozen=True)
class Row:
    """One published run.

    Attributes:
        point: as in the file.
        peak: predicted, None when the point does not tell enough.
        published: bytes, None when unknown.
        speed: predicted tokens/s, None without a known GPU.
        reason: why it is worse than the tolerance, or not predicted; empty when it is neither.
        assumed: what the point leaves open, and the formula took for it.
        tolerance: share of the published peak that the formula may be off by.
    """

    point: dict[str, Any]
    peak: Peak | None
    published: float | None
    speed: Range | None
    reason: str
    assumed: tuple[str, ...]
    tolerance: float = TOLERANCE

    @property
    def error(self) -> float | None:
        """Predicted less published, as a share of published."""
        if self.peak is None or not self.published:
            return None
        return self.peak.total / self.published - 1

    @property
    def beyond(self) -> float | None:
        """The part of the error that rounding of the published figure does not explain."""
        if self.error is None or not self.published:
            return None
        rounding = _rounding(self.point.get("peak_gb")) * 1e9 / self.published
        beyond = max(0.0, abs(self.error) - rounding)
        return math.copysign(beyond, self.error) if beyond else 0.0

    @property
    def within(self) -> bool:
        """Whether the formula is as good as it promises."""
        return self.beyond is not None and abs(self.beyond) <= self.tolerance


def compare(path: Path) -> list[Row]:
    """Predict every point of a file.

    Raises:
        UserError: the file is absent or not of the format.
    """
    return [_row(point) for point in _read(path)]


def render(rows: list[Row]) -> str:
    """The table, what is worse than the tolerance with its reason, and the sum."""
    from tabulate import tabulate

    head = ["", "model", "method", "tokens", "r", "GC", "loss", "predicted", "published", "error",
            "beyond rounding", "tokens/s", "published"]  # fmt: skip
    lines = [[number, *_cells(row)] for number, row in enumerate(rows, 1)]
    aligned = ("right", "left", "left", *["right"] * 2, "left", "left", *["right"] * 6)
    table = tabulate(lines, head, tablefmt="plain", colalign=aligned, disable_numparse=True)
    reasons = [f"{number:>3}. {row.reason}" for number, row in enumerate(rows, 1) if row.reason]
    return "\n".join(["peak memory in GB (10^9 bytes)", table, *reasons, _sum(rows)])


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The same for programs; GB and shares as numbers."""
    return [
        {
            **{key: row.point.get(key) for key in ("model", "method", "sequence_len", "source")},
            "predicted_gb": round(row.peak.total / 1e9, 3) if row.peak else None,
            "published_gb": row.published and row.published / 1e9,
            "error": row.error,
            "beyond_rounding": row.beyond,
            "tolerance": row.tolerance,
            "within": row.within,
            "reason": row.reason,
            "assumed": list(row.assumed),
            "parts_gb": _gigabytes(row.peak) if row.peak else None,
            "tokens_per_s": [row.speed.low, row.speed.high] if row.speed else None,
        }
        for row in rows
    ]


def _gigabytes(found: Peak) -> dict[str, float]:
    return {name: round(size / 1e9, 3) for name, size in dataclasses.asdict(found).items()}


def _read(path: Path) -> list[dict[str, Any]]:
    wanted = 'a JSON file with "points", a list of mappings'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--points {path}: {error.strerror}; give {wanted}") from None
    except ValueError as error:
        raise UserError(f"--points {path}: no JSON ({error}); give {wanted}") from None
    points = content.get("points") if isinstance(content, dict) else content
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise UserError(f"--points {path}: not of the format; give {wanted}")
    return points


def _row(point: dict[str, Any]) -> Row:
    published = _number(point.get("peak_gb"))
    published = published * 1e9 if published else None
    reader = _Reader(point)
    job = reader.job()
    if job is None:
        why = "; ".join(reader.faults)
        return Row(point, None, published, None, f"not predicted: {why}", ())
    tolerance = TOLERANCE if job.checkpointing else TOLERANCE_KEPT
    speed, assumed = _speed(job, point), tuple(reader.assumed)
    row = Row(point, peak(job), published, speed, "", assumed, tolerance)
    if row.error is None or row.within:
        return row
    return dataclasses.replace(row, reason=_reason(row, job))


class _Reader:
    """A point's keys, with what is missing or unknown noted, not fatal where a guess is fair."""

    def __init__(self, point: dict[str, Any]) -> None:
        self.faults: list[str] = []
        self.assumed: list[str] = []
        self._point = point

    def job(self) -> Job | None:
        """What the point describes, None when a number is missing that nothing can stand for."""
        method, arch = self._choice("method", _METHODS), self._arch()
        sequence = self._whole("sequence_len")
        rank = 0 if method == "full" else self._whole("lora_r", 8)  # PEFT's default
        batch = self._whole("micro_batch", 1)
        if method is None or arch is None or not sequence or batch is None or rank is None:
            return None
        loss: Loss = self._choice("loss", _LOSSES, "hf") or "hf_2024"
        if loss == "hf_2024" and "true" in str(self._point.get("precision")).lower():
            loss = "hf"  # no fp32 copies of the logits but the loss's own
        checkpointing = self._assume("gradient_checkpointing", True)
        upcast = method == "qlora" and self._upcast(loss)
        return Job(
            arch=arch,
            method=method,
            sequence=sequence,
            micro_batch=batch,
            rank=rank,
            targets=self._targets(method),
            checkpointing=bool(checkpointing),
            offload=checkpointing in ("offload", "unsloth"),
            loss=loss,
            optimizer=str(self._assume("optimizer", "adamw_torch")),
            base_bytes=self._base_bytes() if method == "qlora" else 2.0,
            embedding_bytes=4 if upcast else 2,
            dora="dora" in str(self._point["method"]).lower(),
            dropout=bool(_number(self._point.get("lora_dropout"))),
            # Who fuses the loss fuses the layers, too: Unsloth, whose kernels Axolotl's come from,
            # Liger by default, torchtune by compiling them.
            liger=("rms_norm", "glu") if loss == "fused" else (),
            kernels=tuple(KERNELS) if loss == "fused" and method != "full" else (),
            upcast=upcast and self._point.get("embeddings_skip_upcast") is False,
        )

    def _assume(self, key: str, default: Any) -> Any:
        value = self._point.get(key)
        if value is None:
            self.assumed.append(f"{key} {default}")
            return default
        return value

    def _choice(self, key: str, known: dict[str, Any], default: str = "") -> Any:
        value = str(self._assume(key, default) if default else self._point.get(key)).lower()
        if value in known:
            return known[value]
        (self.assumed if default else self.faults).append(
            f"{key} {value} is none of {', '.join(known)}" + (f", {default} taken" * bool(default))
        )
        return None

    def _whole(self, key: str, default: int = 0) -> int | None:
        value = _number(self._assume(key, default) if default else self._point.get(key))
        if value is None or value < 1:
            self.faults.append(f"{key} {self._point.get(key)} is no whole number from 1")
            return None
        return int(value)

    def _arch(self) -> Architecture | None:
        given = self._point.get("arch")
        given = given if isinstance(given, dict) else {}
        fields = [field.name for field in dataclasses.fields(Architecture)]
        numbers = {key: _number(given.get(key)) for key in fields}
        found: dict[str, Any] = {key: int(n) for key, n in numbers.items() if n is not None}
        found.setdefault("kv_heads", found.get("heads"))
        found.setdefault("tied", False)
        needed = ("hidden", "layers", "mlp", "vocab", "heads")
        if missing := [key for key in needed if not found.get(key)]:
            self.faults.append(f"arch tells no {', '.join(missing)}")
            return None
        found |= {key: bool(found[key]) for key in ("tied", "gated") if key in found}
        return Architecture(**found)

    def _targets(self, method: Method) -> tuple[str, ...]:
        if method == "full":
            return ()
        found, unknown = parts(self._assume("targets", "all linear"))
        if unknown or not found:
            self.assumed.append(f"targets {self._point.get('targets')} are all linear parts")
            return ALL_LINEAR
        return found

    def _base_bytes(self) -> float:
        return NF4 if self._point.get("double_quant") is False else NF4_DOUBLE

    def _upcast(self, loss: Loss) -> bool:
        """Whether embedding and head became fp32, as PEFT does; fused losses want 16 bit."""
        said = self._point.get("embeddings_skip_upcast")
        return loss != "fused" if said is None else not said


def _rounding(value: Any) -> float:
    """Half a unit of the last digit that is written, in the value's own unit."""
    digits = str(value).partition(".")[2]
    return 0.5 * 10.0 ** -len(digits) if digits.isdigit() or not digits else 0.0


def _number(value: Any) -> float | None:
    """A finite number, also when written as text; True and False are 1 and 0."""
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _speed(job: Job, point: dict[str, Any]) -> Range | None:
    gpu = str(point.get("gpu")).lower()
    found = next((facts for name, facts in CARDS.items() if name in gpu), None)
    if not found:
        return None
    card = Hardware(gpu, "none", "cuda", 0.0, found[0], found[1], [])
    packed = next((point[key] for key in ("packed", "sample_packing") if key in point), None)
    # Rows that nobody says are packed may be padded, which the low end counts.
    return tokens_per_second(job, card, packed=bool(packed))


def _reason(row: Row, job: Job) -> str:
    """The first that holds of what is known to break the formula."""
    over = (row.error or 0) > 0
    known: Iterable[tuple[bool, str]] = (
        (
            not job.checkpointing and job.method == "qlora",
            "no gradient checkpointing: what layers keep is up to the kernels, and bitsandbytes "
            "once kept the input of every 4-bit layer, which it no longer does",
        ),
        (not job.checkpointing, "no gradient checkpointing: what layers keep is up to the kernels"),
        (
            over and job.embedding_bytes == FP32,
            "embedding and head are counted in fp32, as PEFT leaves them; from a trainer that "
            f"keeps them in 16 bit (embeddings_skip_upcast: true) it would be {_in_16_bit(job)}",
        ),
        (bool(row.assumed), f"not published, so assumed: {', '.join(row.assumed)}"),
        (job.offload, "layer inputs go to host memory; what of them is in flight is not known"),
        (
            over and job.loss == "fused",
            "a fused loss often comes with layer inputs in host memory (Unsloth, activation "
            "offloading), which the point does not say",
        ),
        (
            over and job.method == "full",
            "gradients or states may not be kept (optimizer step in the backward pass, paged "
            "states), which the point does not say",
        ),
    )
    outside = "its conditions hold as far as the point says, and the formula is off all the same"
    return next((text for holds, text in known if holds), outside)


def _in_16_bit(job: Job) -> str:
    return f"{peak(dataclasses.replace(job, embedding_bytes=2)).total / 1e9:.2f} GB"


def _cells(row: Row) -> list[str]:
    point = row.point
    checkpointing = str(point.get("gradient_checkpointing"))
    speed = f"{row.speed.low:,.0f} to {row.speed.high:,.0f}" if row.speed else "-"
    return [
        *(str(point.get(key) or "?") for key in ("model", "method")),
        f"{point.get('micro_batch')} x {point.get('sequence_len')}",
        str(point.get("lora_r") or ""),
        {"True": "yes", "False": "no", "None": "?"}.get(checkpointing, checkpointing),
        str(point.get("loss") or "?"),
        _cell(row.peak.total / 1e9 if row.peak else None, "{:.2f}"),
        _cell(row.published / 1e9 if row.published else None, "{:.2f}"),
        _cell(row.error, "{:+.1%}"),
        _cell(row.beyond, "{:+.1%}"),
        speed,
        _cell(_number(point.get("tokens_per_s")), "{:,.0f}"),
    ]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _sum(rows: list[Row]) -> str:
    found = [abs(row.beyond) for row in rows if row.beyond is not None]
    within = sum(row.within for row in rows)
    worst = f", the worst off by {max(found):.1%} beyond rounding" if found else ""
    limits = f"{TOLERANCE:.0%} ({TOLERANCE_KEPT:.0%} without checkpointing)"
    return f"points: {within} of {len(rows)} within {limits}{worst}"
