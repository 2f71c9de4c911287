"""What all of these tests share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes depends on what else the machine does: it says nothing of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
