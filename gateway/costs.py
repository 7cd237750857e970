"""What frames take of a client's byte allowance beside their bytes: what they cost us, in bytes' worth."""

from typing import Final

__all__ = ["FRAME_COST", "RACE_COST", "RARE_COST", "RESUME_COST", "WATCH_COST"]

FRAME_COST: Final = 48
"""What a frame takes of the byte allowance beside its payload, so that many tiny frames cost too."""

RARE_COST: Final = 512
"""What a ping or a fragment takes of it: taking one apart costs as much as a dozen messages."""

WATCH_COST: Final = 2048
"""What a `watch` takes of it: other nodes are asked, and what was typed so far is sent."""

RESUME_COST: Final = 4096
"""What a `resume` takes of it: a look into the store, and a text to be made anew."""

RACE_COST: Final = 512
"""What a message about races takes of it: a change of what all nodes share."""
