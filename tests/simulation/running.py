"""One run of a plan: the world is made, everything is let go wrong, everything gets well, and the laws are asserted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from unittest import mock

from gateway.races import room
from tests.simulation.browser import Browser
from tests.simulation.cheat import Cheat
from tests.simulation.copies import SETTLED_S, strays
from tests.simulation.laws import Ledger
from tests.simulation.log import PREFIX
from tests.simulation.network import Line, Network, delays
from tests.simulation.node import AUTHENTICATOR, Machine, Server
from tests.simulation.page import GUEST, TOKEN
from tests.simulation.person import Person
from tests.simulation.plan import Fault, Plan
from tests.simulation.races.racer import Racer
from tests.simulation.races.rooms import SimulatedPlace
from tests.simulation.races.scene import RECORDED_S, RacesOfScene
from tests.simulation.redis import Redis
from tests.simulation.stores import Rows, Topic, Worker
from tests.simulation.world import EPOCH_S, Broken, World, no_other_world

MOST_WELL_S = 40.0
"""By then every fault is over."""
LEASE_S = 5.0
"""How long the directory takes a dead node for one that is there."""
_SILENCING = frozenset(
    {"kill", "kill at", "power", "new disk", "hang", "stop", "redis away", "redis cut", "redis loses", "island"}
)
"""Faults after which somebody may not have answered."""
VISITS_S = 40.0
"""So long after everything is well racers look at other pages, too."""
PATIENCE_S = 400.0
"""How long everybody may take until all is in, once nothing goes wrong any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a plan."""

    plan: Plan
    world: World
    broken: Broken | None

    @property
    def digest(self) -> str:
        """The same for every run of the same plan."""
        return self.world.digest()


class Scene:
    """All that there is in one world."""

    def __init__(self, plan: Plan, world: World, *, server_class: type[Server] = Server) -> None:
        self.plan = plan
        self.world = world
        self.well_s = min(MOST_WELL_S, max((fault.at_s + fault.lasts_s for fault in plan.faults), default=0.0) + 2)
        """When every fault is over."""
        self.network = Network(world)
        self.redis = Redis(world)
        self.redis.offset_s, self.redis.sharded = plan.redis_offset_s, plan.sharded
        self.rows = Rows(world)
        self.topic = Topic(world) if plan.kafka else None
        self.worker = Worker(world, self.topic, self.rows) if self.topic is not None else None
        self.machines = {
            name: Machine(world, name, redis=self.redis, rows=self.rows, topic=self.topic, offset_s=offset_s)
            for name, offset_s in zip(plan.machines, plan.offsets_s, strict=True)
        }
        for machine in self.machines.values():
            machine.server_class = server_class
            machine.races = plan.races
            machine.knows = self._is_there
        self.ledger = Ledger(world, self.rows, durable=self._is_durable, confirmed=self._is_confirmed)
        self.racing = RacesOfScene(self)
        qualities = world.chance("qualities")
        self.browsers: dict[str, Browser] = {}
        self.people: dict[str, Person] = {}
        for tabs in plan.browsers:
            browser = self.browsers[tabs.browser] = Browser(
                world,
                tabs.browser,
                self.network,
                list(self.machines.values()),
                quality=delays(qualities),
                offset_s=tabs.offset_s,
                rate=tabs.rate,
                locks=tabs.locks,
                resends=tabs.resends,
            )
            if tabs.known:
                guest = AUTHENTICATOR.guest(
                    now_ms=round(EPOCH_S * 1000), user=-int(world.chance(tabs.browser).getrandbits(50)) - 1
                )
                browser.kept[TOKEN] = guest.token
                browser.kept[GUEST] = {"user": str(guest.user), "token": guest.token}
            for number, wishes in enumerate(tabs.wishes):
                name = f"{tabs.browser}{number}"
                seed = tabs.seeds[number]
                if tabs.races is None:
                    person = Person(browser, name, seed, list(wishes), self.ledger)
                else:
                    person = Racer(browser, name, seed, tabs.races, self.ledger, self.racing.ledger)
                self.people[name] = person
                world.at(tabs.opened_s[number], person.open)
        self.cheat: Cheat | None = None
        if plan.trick is not None:
            quality = delays(qualities)
            browser = Browser(
                world, "w", self.network, list(self.machines.values()), quality=quality, offset_s=0, rate=1, locks=True
            )
            self.cheat = Cheat(browser, plan.trick, self.rows)
        self.opened_s = max(at_s for tabs in plan.browsers for at_s in tabs.opened_s)
        for machine in self.machines.values():
            machine.start()
        for fault in plan.faults:
            world.at(fault.at_s, self._go_wrong, fault)
        world.at(self.well_s, self._get_well)
        if plan.races:
            world.at(1.0, self.racing.look)

    # -- what is where ------------------------------------------------------------------------------------------------

    def _is_durable(self, session: bytes) -> bool:
        disks = [machine.disk for machine in self.machines.values()]
        return self._is_confirmed(session) or any(session in disk.sessions() | disk.lost for disk in disks)

    def _is_confirmed(self, session: bytes) -> bool:
        if self.topic is not None and self.topic.has(session):
            return True
        return self.rows.row(session) is not None

    def _is_there(self, machine: str) -> bool:
        """What the directory says, as long as Redis is there to be asked."""
        other = self.machines[machine]
        return other.renews or self.world.now - other.seen_s < LEASE_S

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def _go_wrong(self, fault: Fault) -> None:
        world = self.world
        world.note("fault", fault.kind, (fault.who, fault.other, round(fault.lasts_s, 2), round(fault.amount, 2)))
        later = partial(world.after, min(fault.lasts_s, self.well_s - world.now - 1))
        machine = self.machines.get(fault.who)
        browser = self.browsers.get(fault.who)
        person = self.people.get(fault.who)
        match fault.kind:
            case "kill" if machine is not None:
                machine.kill()
                later(machine.start)
            case "power" if machine is not None:
                machine.kill(silently=True)
                later(self._power_back, machine)
            case "new disk" if machine is not None:
                machine.kill()
                machine.disk.replace()
                later(machine.start)
            case "kill at" if machine is not None:
                machine.kill_at.append((fault.other, int(fault.amount)))
            case "hang" if machine is not None and machine.server is not None:
                process = machine.server.process
                machine.seen_s = world.now
                process.hang()
                later(process.go_on)
            case "stop" if machine is not None:
                machine.stop(grace_s=fault.amount)
                later(self._start_when_stopped, machine)
            case "cut":
                self.network.cut(fault.who, fault.other)
                later(partial(self.network.mend, fault.who, fault.other, reset=bool(fault.amount)))
            case "cut off":
                for name in self.machines:
                    self.network.cut(fault.who, name)
                    later(partial(self.network.mend, fault.who, name, reset=bool(fault.amount)))
            case "dead line" | "drop" | "slow reader":
                for line in [line for line in self.network.lines if line.browser == fault.who]:
                    self._spoil(line, fault)
            case "slow disk" if machine is not None:
                machine.disk.slow = fault.amount
                later(setattr, machine.disk, "slow", 1.0)
            case "disk refuses" if machine is not None:
                machine.disk.refuse(True)
                later(machine.disk.refuse, False)
            case "store away":
                self.rows.away = True
                later(setattr, self.rows, "away", False)
            case "topic away" if self.topic is not None:
                self.topic.away = True
                later(setattr, self.topic, "away", False)
            case "topic deaf" if self.topic is not None:
                self.topic.deaf = fault.amount
                later(setattr, self.topic, "deaf", 0.0)
            case "worker killed" if self.worker is not None:
                self.worker.restart()
            case "redis away":
                self.redis.change(away=True)
                later(partial(self.redis.change, away=False))
            case "redis loses":
                self.redis.lose()
            case "island" if machine is not None:
                self.redis.change(cut=fault.who)
                later(partial(self.redis.change, mend=fault.who))
                for name in (*self.browsers, "w"):
                    self.network.cut(name, fault.who)
                    later(partial(self.network.mend, name, fault.who, reset=True))
            case "moved" if browser is not None:
                browser.forget_node()
                for line in [line for line in self.network.lines if line.browser == fault.who]:
                    line.reset()
            case "redis cut":
                self.redis.change(cut=fault.who)
                later(partial(self.redis.change, mend=fault.who))
            case "clock" if machine is not None:
                machine.offset_s += fault.amount
            case "wall clock" if browser is not None:
                browser.offset_s += fault.amount
            case "reload" if person is not None:
                person.reload()
            case "tab crash" if person is not None:
                person.reload(crash=True)
            case "tab copied" if person is not None:
                self._copy(fault.who, person)
            case "tab closed" if person is not None:
                person.close()
                later(person.open)
            case "page hangs" if person is not None and person.page is not None:
                person.page.hangs = True
                later(person.page.go_on)
            case _:
                pass  # there is nothing that it could concern

    def _copy(self, name: str, person: Person) -> None:
        """A second tab with the same test; where there are no locks, or one lets go of its own, both type it."""
        page = person.page
        if page is None:
            return
        if page.log is not None and page.log.n:
            self.ledger.tests[page.log.session].forked = True
        while name in self.people:
            name += "'"
        copy = self.people[name] = person.duplicate(name, len(self.people))
        copy.open()

    def _spoil(self, line: Line, fault: Fault) -> None:
        if fault.kind == "dead line":
            line.die()
        elif fault.kind == "drop":
            line.reset()
        else:
            server = line.machine.server
            for wire, its in server.lines.items() if server is not None else ():
                if its is line:
                    wire.writable = False
                    self.world.after(fault.lasts_s, setattr, wire, "writable", True)

    def _power_back(self, machine: Machine) -> None:
        """Back again: who still holds a connection to it learns that it is gone, once they say something."""
        for line in [line for line in self.network.lines if line.machine is machine and line.to_server.end is None]:
            line.reset()
        machine.start()

    def _start_when_stopped(self, machine: Machine) -> None:
        if machine.up:
            self.world.after(0.5, self._start_when_stopped, machine)
        else:
            machine.start()

    def _get_well(self) -> None:
        """Nothing goes wrong from here on, and everybody whose tab is closed comes back."""
        self.world.note("world", "gets well")
        for machine in self.machines.values():
            machine.kill_at.clear()
            machine.disk.refuse(False)
            machine.disk.slow = 1.0
            if machine.server is not None:
                machine.server.process.go_on()
            self._start_when_stopped(machine) if not machine.up else None
        for person in self.people.values():
            person.open()

    # -- how it ends --------------------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Whether nothing is under way any more."""
        self._bring_in()
        return (
            self.world.now > max(self.well_s, self.opened_s)
            and all(person.idle for person in self.people.values())
            and (self.cheat is None or self.cheat.done)
            and not any(self._kept())
            and (self.worker is None or not self.worker.behind)
            and all(machine.listens and machine.disk.is_empty for machine in self.machines.values())
        )

    def _bring_in(self) -> None:
        """Racers whose browsers keep a log after all is over go to the page of tests, which brings it in."""
        if self.plan.races and self.world.now > self.well_s + VISITS_S:
            for name, browser in self.browsers.items():
                if any(each.startswith(PREFIX) for each in browser.kept) and f"{name}/" not in self.people:
                    person = self.people[f"{name}/"] = Person(browser, f"{name}/", 0, [], self.ledger)
                    person.open()

    def _kept(self) -> list[str]:
        return [
            name[len(PREFIX) :]
            for browser in self.browsers.values()
            for name in browser.kept
            if name.startswith(PREFIX)
        ]

    def _clocks_agree(self) -> bool:
        """Whether all servers' clocks were right all the time."""
        return not any(self.plan.offsets_s) and not any(fault.kind == "clock" for fault in self.plan.faults)

    def play(self) -> None:
        """Let it all happen, and assert the laws. Raises `Broken`."""
        quiet = self.world.run(self.well_s + PATIENCE_S, unless=self.is_quiet)
        if quiet and self.plan.races:  # who settles a race late may still have to record it
            self.world.run(self.world.now + RECORDED_S, unless=self.racing.ledger.is_recorded)
            quiet = self.world.run(self.world.now + PATIENCE_S, unless=self.is_quiet)
        if self.world.failures:
            raise Broken("nothing fails unseen", "; ".join(self.world.failures))
        if not quiet:
            waits = [name for name, person in self.people.items() if not person.idle]
            if waits:
                raise Broken("nobody hangs for ever", f"{', '.join(waits)} still wait")
        spooled = [name for name, machine in self.machines.items() if not machine.disk.is_empty]
        if spooled:
            raise Broken("what is spooled goes on", f"{', '.join(spooled)} have rows left")
        self._judge_copies()
        if self.cheat is not None:
            self.cheat.judge(clocks_agree=self._clocks_agree(), answered=self._all_answer(until_s=self.cheat.stored_s))
            self.ledger.pass_over(self.cheat.session)
        self.ledger.judge(self._kept())
        if self.plan.races:
            self.racing.judge()

    def _judge_copies(self) -> None:
        """One node has a test. Who missed that, and has no record of it any more to look at, may be another."""
        kinds = {fault.kind for fault in self.plan.faults}
        if "redis loses" in kinds and kinds & _SILENCING - {"redis loses"}:
            return
        machines = self.machines.values()
        found = strays(machines, self.redis)
        if found:
            self.world.run(max(self.well_s, self.world.now) + SETTLED_S)
            found &= strays(machines, self.redis)
        for machine, session, epoch in found:
            raise Broken("one node has a test", f"{machine} has {session.hex()[-6:]} of epoch {epoch} as well")

    def _all_answer(self, *, until_s: float) -> bool:
        """Whether up to then every server was there to be asked, and Redis to ask through."""
        return not any(fault.kind in _SILENCING and fault.at_s < until_s for fault in self.plan.faults)

    def end(self) -> None:
        """Let go of everything."""
        for machine in self.machines.values():
            if machine.server is not None:
                machine.server.process.kill()


def run(plan: Plan, *, server_class: type[Server] = Server) -> Run:
    """Run a plan."""
    world = World(plan.seed)
    broken = None
    with no_other_world(world), mock.patch.object(room, "Place", SimulatedPlace):
        scene = Scene(plan, world, server_class=server_class)
        try:
            scene.play()
        except Broken as exc:
            broken = exc
        finally:
            scene.end()
    return Run(plan, world, broken)
