"""What a Typegate on `websockets` would be: its codec, sessions and ticks behind the library's connections."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from itertools import cycle
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast

from gateway.codec import MSGPACK
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from scoring.slices import at_once
from session.identity import RANDOM_BITS, mint_session
from session.machine import TypingSession
from session.messages import Error, Ready, Start, parse
from session.options import SessionLimits
from session.receipt import KeyRing

__all__ = ["scorer"]


async def scorer() -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A handler that scores and ticks as Typegate does: one task a connection, one ticker for all."""
    loop = asyncio.get_running_loop()
    limits = SessionLimits()
    ring = KeyRing([(1, secrets.token_bytes(32))])
    catalogue = await EmbeddedCatalogue(None).__aenter__()  # open until the program ends
    texts = Texts(catalogue, limits=limits)
    await texts.warm()
    buckets: list[dict[Any, TypingSession]] = [{} for _ in range(40)]
    places = cycle(range(40))
    decode, encode = MSGPACK.decode, MSGPACK.encode

    async def tick() -> None:
        at = loop.time()
        for bucket in cycle(buckets):
            at += 0.025
            await asyncio.sleep(at - loop.time())
            now_ms = loop.time() * 1000
            for connection, session in list(bucket.items()):
                message = session.tick(now_ms=now_ms)
                if message is not None:
                    broadcast((connection,), encode(message))  # the cheapest way that the library has

    ticker = loop.create_task(tick())

    async def handler(connection: ServerConnection) -> None:
        user = -1 - secrets.randbits(52)
        bucket = buckets[next(places)]
        session: TypingSession | None = None
        try:
            async for payload in connection:
                assert type(payload) is bytes
                message = decode(payload)
                if session is not None and message["t"] == "keys":
                    session.keys(message["n"], message["e"], message.get("h"), now_ms=loop.time() * 1000)
                    continue
                match message["t"]:
                    case "auth":
                        await connection.send(encode(Ready(user=user, guest=True, token="-").to_wire()))
                    case "start":
                        start = parse(message)
                        assert isinstance(start, Start)
                        options = start.choose(limits)
                        assert not isinstance(options, Error)
                        material = at_once(texts.choosing(options, seed=secrets.randbits(53), ref=start.ref))
                        assert not isinstance(material, Error)
                        epoch_ms = time.time_ns() // 1_000_000
                        session = TypingSession.begin(
                            options,
                            material,
                            session=mint_session(user, epoch_ms=epoch_ms, random_bits=secrets.randbits(RANDOM_BITS)),
                            user=user,
                            seed=1,
                            ref=start.ref,
                            ring=ring,
                            limits=limits,
                            now_ms=loop.time() * 1000,
                            epoch_ms=epoch_ms,
                        )
                        bucket[connection] = session
                        await connection.send(encode(session.started(material).to_wire()))
                    case _:
                        pass
        finally:
            bucket.pop(connection, None)
            if ticker.done():
                ticker.result()

    return handler
