"""The producer while brokers are away, killed, paused, restarted or cut off: nothing lost, nothing doubled, in order.

Each test sends numbered records, one lot of a partition at a time, through the fault and beyond it, and then reads the
topic. A lot is sent again until it is kept, as the drain does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from loadtest.servers.kafka import Kafka
from loadtest.servers.process import ServerProcess, unused_port
from persistence.kafka.lot import Lot
from persistence.kafka.producer import Producer
from tests.persistence.kafka.brokers import leaders, make_topic, read_all
from tests.persistence.kafka.producing import WITHIN_S, brought, numbers, once_and_in_order, producing, record
from tests.relay import Relay
from tests.servers import skip_without

PARTITIONS = 6
QUICK = {"answer_ms": 300, "request_ms": 2_000}


class Load:
    """Numbered records on their way, in the background, until it is told that it is enough."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self.sent = 0
        self._producer, self._topic = producer, topic
        self._enough = asyncio.Event()
        self._kept = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self._enough.is_set():
            lots = []
            for partition in range(PARTITIONS):
                lots.append(Lot(self._topic, partition, [record(self.sent), record(self.sent + 1)]))
                self.sent += 2
            await brought(self._producer, *lots, turn_s=0.3)
            self._kept.set()

    async def goes_on(self) -> None:
        """Wait until a round that begins from now on is kept whole."""
        async with asyncio.timeout(WITHIN_S):
            for _ in range(2):  # the first may have been under way
                self._kept.clear()
                waiting = asyncio.get_running_loop().create_task(self._kept.wait())
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                if self._task.done():  # it failed
                    await self._task

    async def end(self) -> int:
        """Stop; how many records are kept."""
        self._enough.set()
        await self._task
        return self.sent


@pytest.fixture
async def topic(faulty_kafka: Kafka, fresh_name: Callable[[str], str]) -> str:
    name = fresh_name("faults")
    await make_topic(addresses(faulty_kafka), name, PARTITIONS)
    return name


def addresses(kafka: Kafka) -> list[str]:
    found: list[str] = kafka.addresses()["bootstrap"]
    return found


async def leader_of(kafka: Kafka, topic: str, partition: int = 0) -> ServerProcess:
    return kafka.brokers[(await leaders(addresses(kafka), topic))[partition] - 1]


def alone(kafka: Kafka) -> None:
    if len(kafka.brokers) < 3:
        pytest.skip("memory for one broker only: nobody takes over from it")


async def test_a_killed_leader_s_partitions_go_on_under_others(faulty_kafka: Kafka, topic: str) -> None:
    alone(faulty_kafka)
    servers = addresses(faulty_kafka)
    async with producing(servers, topic, **QUICK) as producer:
        load = Load(producer, topic)
        await load.goes_on()
        leader = await leader_of(faulty_kafka, topic)
        leader.kill()
        await load.goes_on()  # without it
        await asyncio.to_thread(leader.start)
        await load.goes_on()
        count = await load.end()
        assert producer.facts().renewals == 0
    once_and_in_order(await read_all(servers, topic), count)


async def test_a_leader_that_is_stopped_in_order_hands_over(faulty_kafka: Kafka, topic: str) -> None:
    """As in a rolling upgrade: NOT_LEADER answers, and no broken connection before them."""
    alone(faulty_kafka)
    servers = addresses(faulty_kafka)
    async with producing(servers, topic, **QUICK) as producer:
        load = Load(producer, topic)
        for _ in range(2):
            await load.goes_on()
            leader = await leader_of(faulty_kafka, topic)
            await asyncio.to_thread(leader.stop)
            await load.goes_on()
            await asyncio.to_thread(leader.start)
        count = await load.end()
        assert producer.facts().renewals == 0
    once_and_in_order(await read_all(servers, topic), count)


async def test_a_paused_broker_holds_up_its_own_partitions_alone(faulty_kafka: Kafka, topic: str) -> None:
    """It answers nothing and its connections stay open: what a hanging disk or a lost route looks like.

    The others' partitions wait only until it counts as out of step.
    """
    alone(faulty_kafka)
    servers = addresses(faulty_kafka)
    async with producing(servers, topic, answer_ms=300, request_ms=8_000) as producer:
        await brought(producer, *(Lot(topic, p, [record(p)]) for p in range(PARTITIONS)))
        leading = await leaders(servers, topic)
        paused = leading[0]
        theirs = [p for p in range(PARTITIONS) if leading[p] != paused]
        its = [p for p in range(1, PARTITIONS) if leading[p] == paused]
        lots = {p: Lot(topic, p, [record(PARTITIONS + i)]) for i, p in enumerate([0, *its, *theirs])}
        faulty_kafka.brokers[paused - 1].pause()
        await producer.send([lots[0]], within_s=0.1)
        await producer.send([lots[p] for p in its], within_s=WITHIN_S)
        assert {str(lots[p].answer) for p in its} <= {f"Kafka's broker {paused} owes an answer"}
        assert lots[0].open
        await brought(producer, *(lots[p] for p in theirs))
        await brought(producer, *lots.values(), turn_s=0.3)  # another leads them by now
        faulty_kafka.brokers[paused - 1].resume()
        await brought(producer, *(Lot(topic, p, [record(2 * PARTITIONS + p)]) for p in range(PARTITIONS)), turn_s=0.3)
    once_and_in_order(await read_all(servers, topic), 3 * PARTITIONS)


async def test_all_brokers_killed_and_started_again(faulty_kafka: Kafka, topic: str) -> None:
    servers = addresses(faulty_kafka)
    async with producing(servers, topic, **QUICK) as producer:
        load = Load(producer, topic)
        await load.goes_on()
        for broker in faulty_kafka.brokers:
            broker.kill()
        await asyncio.to_thread(faulty_kafka.start)
        await load.goes_on()
        count = await load.end()
    once_and_in_order(await read_all(servers, topic), count)


async def test_too_few_replicas_in_step_are_no_confirmation(faulty_kafka: Kafka, topic: str) -> None:
    """With one broker of three left the leader has the record, and that is not enough (min.insync.replicas)."""
    alone(faulty_kafka)
    servers = addresses(faulty_kafka)
    async with producing(servers, topic, **QUICK) as producer:
        await brought(producer, *(Lot(topic, p, [record(p)]) for p in range(PARTITIONS)))
        others = faulty_kafka.brokers[1:]
        for broker in others:
            broker.kill()
        lots = [Lot(topic, p, [record(PARTITIONS + p)]) for p in range(PARTITIONS)]
        for _ in range(3):
            await producer.send(lots, within_s=0.5)
            assert not any(lot.kept for lot in lots)
        await asyncio.gather(*(asyncio.to_thread(broker.start) for broker in others))
        await brought(producer, *lots, turn_s=0.3)
    once_and_in_order(await read_all(servers, topic), 2 * PARTITIONS)


async def test_without_any_broker_every_send_is_answered_in_time(fresh_name: Callable[[str], str]) -> None:
    """aiokafka's own producer does not even start then."""
    topic = fresh_name("nowhere")
    lots = [Lot(topic, p, [record(p)]) for p in range(2)]
    async with asyncio.timeout(WITHIN_S), producing([f"127.0.0.1:{unused_port()}"], topic, **QUICK) as producer:
        for _ in range(3):
            await producer.send(lots, within_s=WITHIN_S)
            assert all("no broker of Kafka can be reached (127.0.0.1:" in str(lot.answer) for lot in lots)
            assert all(lot.open for lot in lots)


# -- one broker behind a relay that can lose its answers ---------------------------------------------------------------


@pytest.fixture(scope="module")
def relayed_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, int]]:
    """One broker that tells everybody to come by way of another port."""
    skip_without("kafka")
    port = unused_port()
    advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    with Kafka(tmp_path_factory.mktemp("kafka"), brokers=1, properties=advertised) as kafka:
        yield kafka, port


@pytest.fixture
async def relay(relayed_kafka: tuple[Kafka, int]) -> AsyncIterator[Relay]:
    kafka, port = relayed_kafka
    async with Relay(port, kafka.brokers[0].port) as relay:
        yield relay


@pytest.fixture
async def behind(relay: Relay, fresh_name: Callable[[str], str]) -> str:
    """A topic of the broker behind the relay."""
    name = fresh_name("behind")
    await make_topic([f"127.0.0.1:{relay.port}"], name, PARTITIONS)
    return name


async def test_a_send_that_timed_out_and_landed_is_there_once(relay: Relay, behind: str) -> None:
    """The answers are lost, so the fate is unknown, and sending again must not double it."""
    servers = [f"127.0.0.1:{relay.port}"]
    async with producing(servers, behind, **QUICK) as producer:
        await brought(producer, Lot(behind, 0, [record(0)]))
        relay.deaf = True
        lot = Lot(behind, 0, [record(1), record(2)])
        await producer.send([lot], within_s=0.1)
        async with asyncio.timeout(WITHIN_S):
            await relay.swallowed.wait()  # the broker has said that it keeps it
        assert not lot.kept
        assert lot.answer is not None
        assert lot.answer.retriable
        relay.deaf = False
        relay.cut()
        await brought(producer, lot, turn_s=0.3)
        await brought(producer, Lot(behind, 0, [record(3)]))
        assert producer.facts().again >= 1
        assert producer.facts().renewals == 0
    assert numbers(await read_all(servers, behind)) == [0, 1, 2, 3]


async def test_cut_connections_lose_and_double_nothing(relay: Relay, behind: str) -> None:
    servers = [f"127.0.0.1:{relay.port}"]
    async with producing(servers, behind, **QUICK) as producer:
        load = Load(producer, behind)
        for _ in range(5):
            await load.goes_on()
            relay.cut()
        await load.goes_on()
        count = await load.end()
    once_and_in_order(await read_all(servers, behind), count)


async def test_closing_waits_for_no_broker(relay: Relay, behind: str) -> None:
    """Neither for an answer that never comes, nor for a broker that reads nothing any more."""
    async with asyncio.timeout(WITHIN_S):
        async with producing([f"127.0.0.1:{relay.port}"], behind, answer_ms=300, request_ms=60_000) as producer:
            await brought(producer, Lot(behind, 0, [record(0)]))
            relay.deaf = True
            await producer.send([Lot(behind, 0, [record(1, size=500_000)])], within_s=0.1)


async def test_a_cluster_that_moved_is_found_by_the_configured_addresses(
    relayed_kafka: tuple[Kafka, int], kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    """All brokers that it knew are gone for good; one that it was told of at first and never knew is there."""
    kafka, port = relayed_kafka
    servers = [f"127.0.0.1:{port}", *kafka_servers]
    moved = fresh_name("moved")
    async with producing(servers, moved, **QUICK) as producer:
        async with Relay(port, kafka.brokers[0].port):
            await make_topic(servers[:1], moved)
            await brought(producer, Lot(moved, 0, [record(0)]))
        await make_topic(kafka_servers, moved)
        await brought(producer, Lot(moved, 0, [record(1)]), turn_s=0.5)
        await brought(producer, Lot(moved, 0, [record(2)]), turn_s=0.5)
    assert numbers(await read_all(kafka_servers, moved)) == [1, 2]
