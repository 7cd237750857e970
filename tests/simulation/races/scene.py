"""The races of a scene: looked at once a second while all goes well, and judged at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.plan import Fault
from tests.simulation.races.laws import RaceLedger
from tests.simulation.races.racer import Racer
from tests.simulation.races.rooms import RULES
from tests.simulation.world import Broken

if TYPE_CHECKING:
    from tests.simulation.running import Scene

RECORDED_S = 10.0
"""By then a race is recorded whose end somebody has seen."""
DESERTED_S = 90.0
"""By then a room in which nobody is any more is closed."""
_DEADLY = frozenset({"kill", "kill at", "power", "stop", "redis away", "redis cut", "hang"})
"""Faults after which all who knew of a race may be gone."""


class RacesOfScene:
    """Made before the scene's people are."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.ledger = RaceLedger(scene.world, scene.redis, scene.rows, RULES)

    def _racers(self) -> list[Racer]:
        return [person for person in self._scene.people.values() if isinstance(person, Racer)]

    def look(self) -> None:
        """Once a second: what racers see of their races."""
        scene = self._scene
        now = scene.world.now
        scene.world.after(1.0, self.look)
        if now < scene.well_s and any(_goes_on(fault, now) for fault in scene.plan.faults):
            self.ledger.look_away()
            return
        for racer in self._racers():
            page = racer.race_page
            if page is not None:
                sees = None if racer.out or page.room.wanted is not None else page.room.state
                self.ledger.look(racer.name, sees, connected=page.link.carries)

    def judge(self) -> None:
        """Hold all races to the laws; then everybody goes, and no room is left. Raises `Broken`."""
        scene = self._scene
        kinds = {fault.kind for fault in scene.plan.faults}
        shown = [page.room.id for racer in self._racers() if (page := racer.race_page) is not None]
        self.ledger.judge(shown=shown, remembers="redis loses" not in kinds, all_live=not kinds & _DEADLY)
        for racer in self._racers():
            racer.close()
        if not scene.world.run(scene.world.now + DESERTED_S, unless=self._is_deserted):
            raise Broken("a room has an end", "there are rooms in which nobody is any more")

    def _is_deserted(self) -> bool:
        servers = [machine.server for machine in self._scene.machines.values()]
        return not any(len(server.rooms) for server in servers if server is not None and server.rooms is not None)


def _goes_on(fault: Fault, now: float) -> bool:
    """Whether it is still, or was a moment ago, what goes wrong; who is to be killed may be at any time."""
    return fault.at_s <= now and (fault.kind == "kill at" or now < fault.at_s + fault.lasts_s + 1)
