"""Racers on pages: what their tests do all the time."""

import asyncio
import json
from random import Random
from typing import Any

from playwright.async_api import expect

from tests.gateway.web.conftest import Server, Visit, Visitor

__all__ = ["choosing", "meet", "ready", "run", "table", "to_the_end", "type_as_a_person"]

TEN = {"mode": "words", "count": 10}


def choosing(**choices: Any) -> str:
    """A script that makes these the visitor's choices, unless there are some."""
    chosen = json.dumps(json.dumps({**TEN, **choices}))
    return f"if (!localStorage.getItem('typegate.race')) localStorage.setItem('typegate.race', {chosen});"


async def meet(
    visit: Visit, server: Server, *names: str, choices: dict[str, Any] | None = None, **options: Any
) -> list[Visitor]:
    """Pages in one lobby: the first makes the race, the others follow its link."""
    racers: list[Visitor] = []
    for name in names:
        path = racers[0].page.url.removeprefix(server.url) if racers else "race"
        script = choosing(name=name, **(choices or {}))
        visitor = await visit(server=server, path=path, ready=False, script=script, **options)
        if not racers:
            await visitor.page.click("#make button[type=submit]")
        await visitor.page.wait_for_selector("#lobby:not([hidden])")
        racers.append(visitor)
    await racers[0].page.wait_for_selector(f".seat:not(.free) >> nth={len(names) - 1}")
    return racers


async def ready(*racers: Visitor) -> None:
    """All say that they are ready, and the text comes."""
    for visitor in racers:
        await visitor.page.get_by_role("button", name="Ready", exact=True).click()
    for visitor in racers:
        await visitor.page.wait_for_selector("#race:not([hidden]) #typing:not(.waiting) .text .w")


async def run(visitor: Visitor, *, part: float = 1, done: float = 0, wpm: float = 130, seed: int = 1) -> None:
    """Type a part of the text from the start on as a person does, in mid-race from where the last part ended."""
    await visitor.page.wait_for_selector("html.typing-now")
    if await visitor.page.is_visible(".unfocused .with-touch"):
        await visitor.page.tap(".unfocused")
    text = await visitor.typed_text()
    await type_as_a_person(visitor, text[round(done * len(text)) : round(part * len(text))], wpm=wpm, seed=seed)


async def type_as_a_person(visitor: Visitor, text: str, *, wpm: float, seed: int = 1) -> None:
    """With uneven gaps, so that the result counts."""
    chance = Random(seed)
    for key in text:
        await visitor.page.keyboard.type(key)
        await asyncio.sleep(chance.lognormvariate(0, 0.35) * 12 / wpm)


async def to_the_end(*racers: Visitor) -> None:
    """Wait until places change no more."""
    for visitor in racers:
        await expect(visitor.page.locator("#outcome > .after .quiet")).to_have_text("Places are final.")


async def table(visitor: Visitor) -> list[list[str]]:
    """The rows of the table: place, name, time, wpm, accuracy."""
    rows: list[list[str]] = await visitor.page.evaluate(
        """() => [...document.querySelectorAll(".standings tbody tr")].map((row) =>
          [...row.cells].map((cell) => (cell.querySelector(".name") ?? cell).textContent))"""
    )
    return rows
