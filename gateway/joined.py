"""The figures of several processes as one scrape: each process's own, with a label `process`.

Prometheus sums over it as over `instance`. A process that does not answer is missing; `typegate_process_up` says so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.exposition import Given

__all__ = ["fetch", "join"]

LIMIT_S = 2.0
_LIMIT_BYTES = 16 << 20


async def fetch(base: str, path: str, *, limit_s: float = LIMIT_S) -> tuple[int, bytes]:
    """Status and body of a GET from a process of ours on this machine.

    Raises OSError (TimeoutError is one) where it does not answer, ValueError where it answers nothing that is HTTP, or
    breaks off: half a figure would be a smaller one.
    """
    where = urlsplit(base)
    async with asyncio.timeout(limit_s):
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=_LIMIT_BYTES)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode("ascii"))
            answer = await reader.read(-1)
        finally:
            writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    protocol, _, rest = head.partition(b" ")
    if not protocol.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise ValueError("no HTTP")
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head)
    if length is None or len(body) != int(length[1]):
        raise ValueError("the answer breaks off")
    return int(rest[:3]), body


def join(texts: Mapping[str, bytes], own: Iterable[Metric]) -> bytes:
    """The figures of several processes, by the process's name, and our own. Takes milliseconds: not on the loop."""
    families: dict[str, Metric] = {}
    for process, text in texts.items():
        for found in text_string_to_metric_families(text.decode()):
            family = families.get(found.name)
            if family is None:
                family = families[found.name] = Metric(found.name, found.documentation, found.type)
            for sample in found.samples:
                labels = {"process": process, **sample.labels}
                family.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(Given([*families.values(), *own]))
    return generate_latest(registry)
