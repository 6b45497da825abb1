"""Bare Axolotl on a tiny model: what our file and our plugin make up for, or leave to it.

``python -m tests.tools.axolotl.bare MODEL FOLDER`` prints one line of JSON. Axolotl patches what it
imports, so it has a process of its own.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROWS, BATCH = 10, 4  # held out; the last batch of an evaluation is not full


def rows(count: int) -> Any:
    """Rows of token ids with what packing adds; loading them would fork, beside torch's threads."""
    from datasets import Dataset

    ids = [[number % 50, 7, 8, 1] for number in range(count)]
    more = {"attention_mask": [1] * 4, "position_ids": [0, 1, 2, 3], "length": 4}
    return Dataset.from_list([{"input_ids": row, "labels": row, **more} for row in ids])


def settle(model: str, folder: Path, **settings: Any) -> Any:
    """Axolotl's configuration of a training on packed rows."""
    import yaml
    from axolotl.cli.config import load_cfg

    file = {"path": str(folder / "rows.jsonl"), "ds_type": "json"}
    config = {
        "base_model": model,
        "datasets": [file],
        "test_datasets": [{**file, "split": "train"}],
        "dataset_prepared_path": str(folder / "prepared"),
        "output_dir": str(folder / "out"),
        "special_tokens": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        "adapter": "lora",
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_target_modules": ["q_proj"],
        "sequence_len": 64,
        "sample_packing": True,
        "eval_sample_packing": False,
        "attn_implementation": "sdpa",
        "micro_batch_size": 1,
        "eval_batch_size": BATCH,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "eval_steps": 1,
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "seed": 3,
        **settings,
    }
    (folder / "axolotl.yaml").write_text(yaml.safe_dump(config))
    return load_cfg(str(folder / "axolotl.yaml"))


def build(cfg: Any) -> Any:
    """Its trainer, with the model and the rows."""
    from axolotl.common.datasets import TrainDatasetMeta
    from axolotl.train import setup_model_and_trainer

    meta = TrainDatasetMeta(train_dataset=rows(40), eval_dataset=rows(ROWS), total_num_steps=1)
    return setup_model_and_trainer(cfg, meta)[0]


def evaluated(trainer: Any) -> int:
    """Held-out rows that an evaluation reads."""
    return sum(len(batch["input_ids"]) for batch in trainer.get_eval_dataloader())


def drawn(trainer: Any) -> list[float]:
    """The adapter that training starts from."""
    weights = trainer.model.state_dict()
    return [float(weights[name].double().sum()) for name in sorted(weights) if "lora_A" in name]


def cache_key(cfg: Any, text: str) -> str:
    """What prepared rows are looked up by when the file of rows holds this."""
    from axolotl.utils.data.shared import generate_dataset_hash_from_config

    Path(cfg.datasets[0].path).write_text(text)
    return str(generate_dataset_hash_from_config(cfg, cfg.datasets, "tokenizer"))


def main(model: str, folder: Path) -> dict[str, Any]:
    """All that the tests ask."""
    cfg = settle(model, folder)
    plain, whole = build(cfg), build(settle(model, folder, dataloader_drop_last=False))
    plain.get_train_dataloader()
    return {
        "evaluated": evaluated(plain),
        "evaluated_undropped": evaluated(whole),
        "even_batches": plain.accelerator.even_batches,
        "drawn": [drawn(plain), drawn(whole)],
        "same_cache_after_an_edit": cache_key(cfg, "1") == cache_key(cfg, "2"),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
