"""A broker that wants TLS and a name: what the settings say about both, on the real thing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from loadtest.servers.certificate import write_certificate
from loadtest.servers.kafka import Kafka
from loadtest.servers.process import HOST, unused_port
from persistence.errors import StoreError
from persistence.kafka.admin import check_topics
from persistence.kafka.cluster import Cluster
from persistence.kafka.lot import Lot
from persistence.kafka.options import KafkaOptions
from persistence.kafka.producer import Producer
from persistence.kafka.topics import TopicOptions
from tests.persistence.kafka.brokers import admin
from tests.persistence.kafka.producing import WITHIN_S, brought, record
from tests.servers import skip_without


@dataclass(frozen=True)
class Guarded:
    """A broker on two guarded ports, and what one needs to come in."""

    sasl: KafkaOptions
    """By TLS and SCRAM-SHA-512."""
    tls: KafkaOptions
    """By TLS with a certificate of one's own."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    skip_without("kafka")
    folder = tmp_path_factory.mktemp("guarded")
    certificate, key = write_certificate(folder)
    store = folder / "store.pem"
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    secret = folder / "secret"
    secret.write_text("correct horse\n")
    ports = {"SASL_SSL": unused_port(), "SSL": unused_port()}
    pem = {"keystore.type": "PEM", "keystore.location": store, "truststore.type": "PEM"}
    properties = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.ssl.ssl.client.auth": "required",
        **{f"ssl.{name}": value for name, value in pem.items()},
        "ssl.truststore.location": certificate,
    }
    with Kafka(folder / "kafka", brokers=1, properties=properties, listeners=ports, scram={"gateway": "correct horse"}):
        yield Guarded(
            sasl=KafkaOptions(
                servers=(f"{HOST}:{ports['SASL_SSL']}",),
                security="SASL_SSL",
                user="gateway",
                password_file=secret,
                ca_file=certificate,
            ),
            tls=KafkaOptions(
                servers=(f"{HOST}:{ports['SSL']}",),
                security="SSL",
                ca_file=certificate,
                cert_file=certificate,
                key_file=key,
            ),
        )


@pytest.mark.parametrize("how", ["sasl", "tls"])
async def test_who_may_come_in_may_produce(guarded: Guarded, how: str) -> None:
    options: KafkaOptions = getattr(guarded, how)
    options = replace(options, results_topic=f"by-{how}")
    assert "is missing" in (await check_topics(options, TopicOptions()))[0].faults[0]
    async with (
        Cluster(options, [options.results_topic], client_id="test") as cluster,
        Producer(cluster, options) as producer,
    ):
        lot = Lot(options.results_topic, 0, [record(0)])
        await producer.send([lot], within_s=WITHIN_S)
        assert "has no topic" in str(lot.answer)  # so it was let in
        async with admin(options.servers, **options.client("test")) as client:
            await client.create_topics([NewTopic(options.results_topic, 1, 1)])
        await brought(producer, lot)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("password", "invalid credentials"),
        ("no certificate", "closed"),  # TLS 1.3 has no better word for it
        ("plaintext", ""),
        ("authority", "certificate verify failed"),
    ],
)
async def test_who_may_not_is_told_why_and_nothing_hangs(
    guarded: Guarded, fault: str, why: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    elsewhere, _ = write_certificate(tmp_path)
    options = {
        "password": replace(guarded.sasl, password_file=wrong),
        "no certificate": replace(guarded.tls, cert_file=None, key_file=None),
        "plaintext": KafkaOptions(servers=guarded.sasl.servers),
        "authority": replace(guarded.sasl, ca_file=elsewhere),
    }[fault]
    # nobody answers in the clear: that one waits for its end
    options = replace(options, request_ms=5_000 if fault == "plaintext" else 60_000)
    refusal = rf"no broker of Kafka can be reached \(127\.0\.0\.1:\d+.*{why}"
    with pytest.raises(StoreError, match=refusal) as caught:
        await check_topics(options, TopicOptions())
    assert caught.value.retriable
    async with Cluster(options, ["any"], client_id="test") as cluster, Producer(cluster, options) as producer:
        lot = Lot("any", 0, [record(0)])
        await producer.send([lot], within_s=WITHIN_S)
        assert re.search(refusal, str(lot.answer)), lot.answer
