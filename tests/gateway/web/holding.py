"""Messages of the server that reach a page only when the test lets them: which comes first is the test's to say."""

import json
from collections import Counter

from playwright.async_api import BrowserContext, WebSocketRoute

__all__ = ["Held"]


class Held:
    """Holds back one kind of message on each connection of the pages to come; any other goes on its way."""

    def __init__(self, kind: str) -> None:
        self.sent: list[Counter[str]] = []
        """What each connection's page has sent, by kind."""
        self._kind = kind
        self._lets_go = False
        self._held: list[tuple[WebSocketRoute, str | bytes]] = []

    @classmethod
    async def back(cls, context: BrowserContext, kind: str) -> "Held":
        """From now on, in all pages of a context that open after this."""
        held = cls(kind)
        await context.route_web_socket("**/ws", held._connected)
        return held

    def let_go(self) -> None:
        """What was held goes on its way, and so does all that comes."""
        self._lets_go = True
        for page, message in self._held:
            page.send(message)
        self._held.clear()

    def _connected(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        sent: Counter[str] = Counter()
        self.sent.append(sent)

        def said(message: str | bytes) -> None:
            sent[json.loads(message)["t"]] += 1
            server.send(message)

        def heard(message: str | bytes) -> None:
            if self._lets_go or json.loads(message)["t"] != self._kind:
                page.send(message)
            else:
                self._held.append((page, message))

        page.on_message(said)
        server.on_message(heard)
