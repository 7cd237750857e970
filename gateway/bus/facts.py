"""What a bus counts."""

from dataclasses import dataclass

__all__ = ["BusFacts"]


@dataclass(slots=True)
class BusFacts:
    """Totals since a bus was opened, and what holds now. Its own of the event loop; a scrape reads it."""

    messages_sent: int = 0
    """Messages that are under way, or were."""
    frames_sent: int = 0
    """The frames that they went in."""
    bytes_sent: int = 0
    """Of these frames."""
    messages_heard: int = 0
    """Messages that came on channels with subscribers here, our own included."""
    frames_heard: int = 0
    """The frames that they came in."""
    bytes_heard: int = 0
    """Of these frames."""
    unsent: int = 0
    """Messages that were given up: what carries them was away, or too many waited."""
    dropped: int = 0
    """Messages that a subscriber was too slow for, counted for each."""
    gaps: int = 0
    """Times that a channel's subscribers were told that they may have missed something."""
    repeated: int = 0
    """Frames that came twice."""
    malformed: int = 0
    """Frames that no bus of ours sends."""
    newer: int = 0
    """Frames of a newer version."""
    foreign: int = 0
    """Frames of another cluster, with other keys."""
    failures: int = 0
    """Subscribers that raised something."""
    subscriptions: int = 0
    """Subscriptions now."""
    channels: int = 0
    """Channels that they are of."""
