"""Several processes' figures as one scrape."""

import asyncio

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from gateway.joined import fetch, join
from gateway.metrics import Metrics
from tests.listening import listening


async def test_each_process_s_figures_bear_its_number() -> None:
    """Counters, histograms and gauges, each family told once; what bears a number of its own keeps it."""
    texts = {}
    for number in range(2):
        metrics = Metrics(node="here", process=str(number))
        metrics.watch(connections=lambda number=number: 10 + number)  # type: ignore[misc]  # bound early
        metrics.auth("guest", "ok")
        metrics.db_write("a", 0.002 * (1 + number))
        texts[str(number)] = await metrics.scrape()
    joined = join(texts, [GaugeMetricFamily("ours", "Our own", value=7)]).decode()
    lines = joined.splitlines()
    for line in (
        'typegate_ws_connections{node="here",process="0"} 10.0',
        'typegate_ws_connections{node="here",process="1"} 11.0',
        'typegate_auth_total{kind="guest",outcome="ok",process="1"} 1.0',
        'typegate_db_write_seconds_bucket{le="0.0025",process="0",shard="a"} 1.0',
        'typegate_db_write_seconds_bucket{le="0.0025",process="1",shard="a"} 0.0',
        "ours 7.0",
    ):
        assert line in lines, line
    assert lines.count("# TYPE typegate_auth_total counter") == 1
    families = [family.name for family in text_string_to_metric_families(joined)]
    assert len(families) == len(set(families))


async def test_who_does_not_answer_or_says_something_else_is_told_from_who_does() -> None:
    said = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with listening(answer) as port:
        url = f"http://127.0.0.1:{port}/"
        whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nnot now"
        said = whole
        assert await fetch(url, "/readyz", limit_s=60) == (503, b"not now")
        for length in (40, len(whole) - 1):  # its process was killed amid the answer
            said = whole[:length]
            with pytest.raises(ValueError, match="breaks off"):
                await fetch(url, "/readyz", limit_s=60)
        said = b"220 mail.example ESMTP\r\n"
        with pytest.raises(ValueError, match="no HTTP"):
            await fetch(url, "/readyz", limit_s=60)
    with pytest.raises(OSError, match=r"onnect"):
        await fetch(url, "/readyz", limit_s=60)
