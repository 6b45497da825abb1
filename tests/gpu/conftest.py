"""Tests that need an NVIDIA card; without one each is skipped and says why."""

import pytest

# Dense bf16 peaks of NVIDIA's data sheets, TFLOP/s, by compute capability.
TFLOPS = {"8.0": 312, "8.9": 165, "9.0": 989}
HARDWARE = """\
hardware:
  name: {name}
  track: none
  device: cuda
  memory_gib: {memory:.2f}
  capability: "{capability}"
  tflops: {tflops}
  quantize_formats: [none, nf4, int8, fp8]
"""


@pytest.fixture(scope="session", autouse=True)
def card() -> str:
    """The ``hardware`` section of a recipe for the card that is here."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA card here: torch.cuda.is_available() is false")
    found = torch.cuda.get_device_properties(0)
    capability = f"{found.major}.{found.minor}"
    return HARDWARE.format(
        name=found.name.replace(" ", "-").lower(),
        memory=found.total_memory / 2**30,
        capability=capability,
        tflops=TFLOPS.get(capability, 100),
    )
