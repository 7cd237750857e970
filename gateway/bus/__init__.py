"""The bus: what the processes of a cluster say to each other, and which of them are there.

`Bus` holds the guarantee; a `Carrier` brings its frames from process to process: within one process, or through Redis.
The `Directory` knows who is there. Never on it: a keystroke, a result, or anything else that must not be missed.
"""

from gateway.bus.bus import Bus, Subscription
from gateway.bus.directory import Directory, LocalDirectory, Node
from gateway.bus.facts import BusFacts
from gateway.bus.lease import LeasedDirectory
from gateway.bus.local import Exchange
from gateway.bus.port import Carrier, Hearer
from gateway.bus.redis import RedisCarrier

__all__ = [
    "Bus",
    "BusFacts",
    "Carrier",
    "Directory",
    "Exchange",
    "Hearer",
    "LeasedDirectory",
    "LocalDirectory",
    "Node",
    "RedisCarrier",
    "Subscription",
]
