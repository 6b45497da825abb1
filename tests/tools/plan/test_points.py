"""Points: published peaks within 8 % where conditions hold; odd points are listed, not fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.errors import UserError
from tools.plan.points import TOLERANCE, TOLERANCE_KEPT, as_json, compare, render

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "golden" / "memory_points.json"
LLAMA = {
    **{"hidden": 4096, "layers": 32, "mlp": 14336, "vocab": 128256, "heads": 32, "kv_heads": 8},
    "tied": False,
}
# Unsloth's table, HF + FA2.
POINT: dict[str, Any] = {
    "model": "llama3.1-8b",
    "arch": LLAMA,
    "method": "qlora",
    "sequence_len": 2551,
    "micro_batch": 1,
    "lora_r": 32,
    "targets": "all linear",
    "gradient_checkpointing": True,
    "loss": "hf",
    "optimizer": "adamw_torch",
    "peak_gb": 16,
    "tokens_per_s": None,
    "gpu": None,
    "source": "a table",
}


def store(folder: Path, *points: Any) -> Path:
    path = folder / "points.json"
    path.write_text(json.dumps({"unit": "GB", "points": list(points)}), encoding="utf-8")
    return path


def test_a_published_point(tmp_path: Path) -> None:
    (row,) = compare(store(tmp_path, POINT))
    assert row.error is not None and abs(row.error) < 0.03
    assert row.reason == "" and row.assumed == ()


@pytest.mark.skipif(not GOLDEN.is_file(), reason="shared/golden/memory_points.json is not here")
def test_all_golden_points_are_within_the_tolerance() -> None:
    rows = compare(GOLDEN)
    errors = [row.beyond for row in rows]
    assert len(rows) == len(json.loads(GOLDEN.read_text())["points"]) >= 13
    assert all(error is not None and abs(error) <= TOLERANCE for error in errors), errors
    text = render(rows)
    assert f"points: {len(rows)} of {len(rows)} within 8%" in text
    assert all(row.error is not None and abs(row.error) < 0.1 for row in rows)  # rounding and all


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"peak_gb": 60, "gradient_checkpointing": False, "loss": "fused"}, "4-bit layer"),
        ({"peak_gb": 30, "method": "lora", "gradient_checkpointing": False}, "up to the kernels"),
        ({"peak_gb": 13}, "embeddings_skip_upcast: true) it would be 13."),
        ({"peak_gb": 4, "loss": "fused"}, "host memory"),
        ({"peak_gb": 20, "method": "full"}, "backward pass"),
        ({"peak_gb": 30, "loss": None}, "assumed: loss hf"),
        ({"peak_gb": 30, "gradient_checkpointing": "unsloth"}, "in flight"),
        ({"peak_gb": 30}, "off all the same"),
        ({"method": "ia3"}, "method ia3 is none of lora"),
        ({"arch": None}, "arch tells no hidden, layers, mlp, vocab, heads"),
        ({"arch": {**LLAMA, "mlp": None}}, "arch tells no mlp"),
        ({"sequence_len": "short"}, "sequence_len short is no whole number"),
        ({"sequence_len": float("nan")}, "sequence_len nan is no whole number"),
        ({"micro_batch": 0}, "micro_batch 0 is no whole number"),
    ],
)
def test_what_is_off_is_listed_with_a_reason(
    fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    rows = compare(store(tmp_path, POINT, {**POINT, **fields}))
    assert reason in rows[1].reason and rows[0].reason == ""
    text = render(rows)
    assert "\n  2. " in text and "points: 1 of 2 within 8%" in text
    assert as_json(rows)[1]["within"] is False


@pytest.mark.parametrize(
    "fields",
    [
        {"targets": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"},
        {"targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
        {"targets": None, "micro_batch": None, "optimizer": None, "gradient_checkpointing": None},
        {"targets": "linear", "method": "QLoRA", "loss": "HF", "sequence_len": "2,551"},
        {"arch": {key: str(value) for key, value in LLAMA.items() if key != "tied"}},
        {"something": "more"},
    ],
)
def test_other_spellings_and_gaps(fields: dict[str, Any], tmp_path: Path) -> None:
    plain, other = compare(store(tmp_path, POINT, {**POINT, **fields}))
    assert plain.peak == other.peak


def test_fewer_targets_take_less(tmp_path: Path) -> None:
    all_of_them, two = compare(store(tmp_path, POINT, {**POINT, "targets": "qv"}))
    assert all_of_them.peak and two.peak and two.peak.adapters < all_of_them.peak.adapters / 4


def test_sixteen_bit_embeddings(tmp_path: Path) -> None:
    """Fused losses leave them so, and trainers that quantize linear layers only: a key says it."""
    others: list[dict[str, Any]] = [{"loss": "fused"}, {"embeddings_skip_upcast": True}]
    upcast, *rest = compare(store(tmp_path, POINT, *({**POINT, **fields} for fields in others)))
    difference = 2 * 2 * 128256 * 4096
    assert upcast.peak
    for row in rest:
        assert row.peak and row.peak.weights == upcast.peak.weights - difference


def test_a_base_that_peft_made_fp32_keeps_four_bytes_between_layers(tmp_path: Path) -> None:
    plain, upcast = compare(store(tmp_path, POINT, {**POINT, "embeddings_skip_upcast": False}))
    assert plain.peak and upcast.peak
    assert upcast.peak.activations - plain.peak.activations >= 2551 * 32 * 2 * 4096


def test_true_16_bit_holds_fewer_copies_of_the_logits(tmp_path: Path) -> None:
    mixed, true = compare(store(tmp_path, POINT, {**POINT, "precision": "bf16-true"}))
    assert mixed.peak and true.peak
    held = [row.peak.logits / 2551 / 128256 for row in (mixed, true) if row.peak]
    assert held == [16.5, 12]


@pytest.mark.parametrize(
    ("peak", "half"), [(16, 0.5), (16.0, 0.05), ("16", 0.5), (15.77, 0.005), ("15.8", 0.05)]
)
def test_rounding_is_no_error(peak: Any, half: float, tmp_path: Path) -> None:
    (row,) = compare(store(tmp_path, {**POINT, "peak_gb": peak}))
    assert row.error is not None and row.beyond is not None and row.published
    rest = abs(row.error) - half * 1e9 / row.published
    assert abs(row.beyond) == pytest.approx(max(0, rest))


def test_without_checkpointing_more_may_be_off(tmp_path: Path) -> None:
    kept = {**POINT, "gradient_checkpointing": False, "peak_gb": None}
    (row,) = compare(store(tmp_path, kept))
    assert row.peak and row.tolerance == TOLERANCE_KEPT > TOLERANCE
    near = {**kept, "peak_gb": row.peak.total / 1e9 * 1.12}
    assert as_json(compare(store(tmp_path, near)))[0]["within"] is True


@pytest.mark.parametrize("key", ["packed", "sample_packing"])
def test_rows_are_packed_where_the_point_says_so(key: str, tmp_path: Path) -> None:
    a100 = {**POINT, "gpu": "A100-40GB"}
    rows = compare(store(tmp_path, a100, {**a100, key: True}, {**a100, key: False}))
    unsaid, packed, padded = (row.speed for row in rows)
    assert unsaid and packed and padded
    assert unsaid == padded and packed.low > 3 * padded.low and packed.high == padded.high


def test_speed_beside_published(tmp_path: Path) -> None:
    (row,) = compare(store(tmp_path, {**POINT, "gpu": "A100-40GB", "tokens_per_s": 2500}))
    assert row.speed and row.speed.low < 2500 < row.speed.high
    assert "2,500" in render([row])


def test_a_bare_list_and_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps([POINT]), encoding="utf-8")
    assert len(compare(path)) == 1
    assert render([]).endswith("points: 0 of 0 within 8% (15% without checkpointing)")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"points": 3}', "nonsense"])
def test_not_the_format(content: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match='a JSON file with "points", a list of mappings'):
        compare(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        compare(tmp_path / "none.json")
