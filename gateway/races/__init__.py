"""Races: rooms in which people type the same text at the same time, on whichever node each of them is.

`Racing` hears what connections say; a `Room` is one race as long as somebody of it is connected here, with a file for
each thing that there is to do in it; `Rooms` are all of a node's; its `Courier` brings other nodes' rooms what ours
have to tell. The race itself is a value of `session.race`, kept by `persistence.races`; what is typed is an ordinary
typing session on the racer's node. Never here: a rule of a race, a score.
"""

from gateway.races.racing import Racing
from gateway.races.room import Room
from gateway.races.rooms import Rooms

__all__ = ["Racing", "Room", "Rooms"]
