"""The trainers of answers on tiny models: their loss, whatever the batches, and what is adapted."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import kin
from tools.recipe.kinds import KINDS
from tools.trainers import answering, masked, seq2seq
from tools.trainers.answering import adapted, loaded
from tools.trainers.token_loss import TokenLoss

EXAMPLES = [
    {"prompt_ids": [7 * i % 50 + 5 for i in range(4 + n)], "answer_ids": [9 + n] * (1 + n) + [1]}
    for n in range(5)
]
MAKERS: dict[str, Any] = {"t5": seq2seq.make, "bart": seq2seq.make, "bert": masked.make}


def settings(folder: Path, family: str, **values: Any) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in EXAMPLES))
    return {
        "base_model": str(folder / family), "kind": "encoder" if family == "bert" else "seq2seq",
        "device": "cpu", "train_rows": str(file), "validation_rows": str(file), "seed": 1,
        "order": "shuffled", "output_dir": str(folder / "out"), "new_head": [],
        "special_ids": {"end": 1, "pad": 0, "mask": 4, "trail": [1]}, **values,
    }  # fmt: skip


def by_hand(family: str, network: Any) -> float:
    """Mean loss of every answer's token, each example and place alone."""
    lost: list[float] = []
    for row in EXAMPLES:
        answer = row["answer_ids"]
        if family == "bert":
            for place in range(len(answer)):
                asked = masked.at_place(row, place, {"mask": 4, "trail": [1]})
                logits = network(torch.tensor([asked["input_ids"]])).logits[0, asked["where"]]
                lost.append(-float(logits.log_softmax(-1)[answer[place]]))
        else:
            asked = torch.tensor([[*row["prompt_ids"], 1]])
            made = network(input_ids=asked, labels=torch.tensor([answer]))
            lost += [float(made.loss)] * len(answer)
    return sum(lost) / len(lost)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("family", MAKERS)
def test_eval_loss_is_the_mean_over_all_answers_tokens(
    family: str, batch: int, tmp_path: Path
) -> None:
    network = kin.network(family, 320)
    with torch.no_grad():
        wanted = by_hand(family, network)
    trainer = MAKERS[family](settings(tmp_path, family, micro_batch_size=batch), network)
    TokenLoss(trainer, shifted=False)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("family", MAKERS)
def test_two_batches_of_a_step_are_one_of_twice_the_size(family: str, tmp_path: Path) -> None:
    """However many tokens are in either."""
    made = []
    for batch, steps in ((2, 2), (4, 1)):
        network = kin.network(family, 320)
        still(network)
        values = {
            "micro_batch_size": batch, "gradient_accumulation_steps": steps, "max_steps": 1,
            "learning_rate": 0.1, "optimizer": "sgd", "max_grad_norm": 0.0, "save_strategy": "no",
            "order": "listed",
        }  # fmt: skip
        trainer = MAKERS[family](settings(tmp_path, family, **values), network)
        trainer.train()
        made.append(dict(network.named_parameters()))
    for name, one in made[0].items():
        assert torch.allclose(one, made[1][name], atol=1e-5), name


def still(network: Any) -> None:
    """Without dropout, which draws anew for each batch."""
    for part in network.modules():
        for name in ("p", "dropout", "activation_dropout", "attention_dropout"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)


def test_what_is_trained(tmp_path: Path) -> None:
    kin.folder("bert", tmp_path / "bert")
    head = ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"]
    asked = settings(
        tmp_path, "bert", adapter="lora", lora_r=2, lora_target_modules=["query", "dense"],
        new_head=head, peft_use_rslora=True,
    )  # fmt: skip
    kind = KINDS["encoder"]
    network = adapted(loaded(asked, kind), asked, kind)
    names = [name for name, one in network.named_parameters() if one.requires_grad]
    of_head = [name for name in names if "cls.predictions" in name]
    assert len(of_head) == 4 and not any("lora" in name for name in of_head), of_head
    assert any(".attention.output.dense.lora_B" in name for name in names)
    assert not any(".key." in name for name in names)
    assert network.peft_config["default"].use_rslora
    assert network.peft_config["default"].task_type is None


def test_all_weights_are_trained_where_no_adapter_is_named(tmp_path: Path) -> None:
    kin.folder("t5", tmp_path / "t5")
    asked = settings(tmp_path, "t5", adapter=None)
    network = adapted(loaded(asked, KINDS["seq2seq"]), asked, KINDS["seq2seq"])
    assert all(one.requires_grad for one in network.parameters())
    assert math.isclose(sum(1 for _ in network.parameters()), len(network.state_dict()), abs_tol=4)


def test_bf16_holds_the_base_and_not_the_adapter(tmp_path: Path) -> None:
    kin.folder("t5", tmp_path / "t5")
    asked = settings(tmp_path, "t5", adapter="lora", bf16=True, lora_target_linear=True)
    network = adapted(loaded(asked, KINDS["seq2seq"]), asked, KINDS["seq2seq"])
    kinds = {one.requires_grad: one.dtype for one in network.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}


RATES = [{"name": "head", "modules": ["cls"], "lr": 5e-3}]


def test_parts_have_rates_of_their_own(tmp_path: Path) -> None:
    network = kin.network("bert", 320)
    trainer = masked.make(settings(tmp_path, "bert", learning_rate=1e-3), network)
    trainer.lr_groups = RATES
    rates = {
        id(one): group["lr"] for group in trainer.create_optimizer().param_groups
        for one in group["params"]
    }  # fmt: skip
    named = dict(network.named_parameters())
    assert set(rates) == {id(one) for one in named.values()}, "each is trained once"
    for name, one in named.items():
        assert rates[id(one)] == (5e-3 if name.startswith("cls.") else 1e-3), name


def test_a_rate_for_nothing_is_told(tmp_path: Path) -> None:
    trainer = masked.make(settings(tmp_path, "bert"), kin.network("bert", 320))
    trainer.lr_groups = [{"name": "head", "modules": ["lm_head"], "lr": 1e-3}]
    with pytest.raises(ValueError, match="lm_head in its name; the model's parts are bert, cls"):
        trainer.create_optimizer()


def test_what_is_not_named_is_frozen() -> None:
    network = kin.network("bert", 320)
    adapted(network, {"unfrozen_parameters": ["cls", r"bert\.encoder"]}, KINDS["encoder"])
    named = dict(network.named_parameters())
    trained = {name for name, one in named.items() if one.requires_grad}
    assert trained == {name for name in named if name.startswith(("cls.", "bert.encoder."))}
    assert len(trained) < len(named)
    adapted(network, {}, KINDS["encoder"])
    assert all(one.requires_grad for one in network.parameters())


def test_a_name_that_is_no_parameters_is_told() -> None:
    settings = {"unfrozen_parameters": ["lm_head", "cls"]}
    with pytest.raises(
        ValueError, match=r"lm_head: no parameter's name begins so; .*bert\.encoder"
    ):
        adapted(kin.network("bert", 320), settings, KINDS["encoder"])


def test_values_of_the_models_config_are_ones_own(tmp_path: Path) -> None:
    kin.folder("bert", tmp_path / "bert")
    asked = settings(tmp_path, "bert", overrides_of_model_config={"hidden_dropout_prob": 0.25})
    network = loaded(asked, KINDS["encoder"])
    assert network.bert.embeddings.dropout.p == 0.25 and network.dtype == torch.float32
    asked["overrides_of_model_config"] = {"hidden_dropout_prop": 0.25}
    with pytest.raises(ValueError, match="bert has none; did you mean hidden_dropout_prob"):
        loaded(asked, KINDS["encoder"])


@pytest.mark.parametrize("head", [[], ["cls.predictions.transform.dense"]])
def test_a_new_heads_first_loss_has_no_bound(
    head: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kin.folder("bert", tmp_path / "bert")
    seen: list[dict[str, Any]] = []

    def attach(trainer: Any, **how: Any) -> None:
        seen.append(how)
        raise KeyboardInterrupt

    monkeypatch.setattr(answering.callbacks, "attach", attach)
    with pytest.raises(KeyboardInterrupt):
        answering.train(settings(tmp_path, "bert", new_head=head), masked.make)
    assert seen == [{"shifted": False, "told": not head}]
