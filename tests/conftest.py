"""What holds for all tests."""

from hypothesis import settings

# A slow machine is no fault of what is tested: no example has a deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
