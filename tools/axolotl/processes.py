"""Several processes of one training: what Axolotl and accelerate leave out where they have no card.

torchrun starts the jobs; with a card each they need nothing of this. On a CPU they speak through
gloo, which is how a recipe for several cards can be tried by anyone. Axolotl 0.21 and accelerate
1.15 can do that but for four places, each mended here: accelerate takes jobs without a card for
jobs that are alone, unless it is told otherwise in a call that is Axolotl's; Axolotl asks whether
the cards reach each other, lays its mesh of devices over CUDA, and loads the model onto the card
with the job's number.
"""

import os
from typing import Any

from tools.trainers.telling import several


def join() -> None:
    """Let this job find the others; before Axolotl is imported."""
    import torch

    if several() and not torch.cuda.is_available():
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        # accelerate would hand the job's number to DDP as that of a card.
        os.environ["ACCELERATE_BYPASS_DEVICE_MAP"] = "true"
        _meet_through_gloo()
        _ask_no_card()
        _lay_mesh_over_cpu()
        _load_onto_cpu()


def _meet_through_gloo() -> None:
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    def backend(self: Any, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
        # What accelerate knows as several CPUs it does not shard; as several cards it does.
        sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        return "gloo", DistributedType.MULTI_GPU if sharded else DistributedType.MULTI_CPU

    state: Any = PartialState
    state._prepare_backend = backend


def _ask_no_card() -> None:
    from axolotl.utils import environment

    module: Any = environment
    module.check_cuda_p2p_support = lambda: True


def _lay_mesh_over_cpu() -> None:
    from accelerate import ParallelismConfig

    plain = ParallelismConfig.build_device_mesh

    def build(self: ParallelismConfig, device_type: str) -> Any:
        return plain(self, "cpu")

    config: Any = ParallelismConfig
    config.build_device_mesh = build


def _load_onto_cpu() -> None:
    from axolotl.loaders.model import ModelLoader

    plain = ModelLoader._set_device_map_config

    def settle(self: ModelLoader) -> None:
        self.cfg.device_map = {"": "cpu"}
        plain(self)

    loader: Any = ModelLoader
    loader._set_device_map_config = settle
