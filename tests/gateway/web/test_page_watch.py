"""Looking on in a browser: a second visitor sees what the first one types, by a link that the first one hands out."""

import json
from typing import Any

import pytest

from tests.gateway.web.conftest import Server, Visit, Visitor, whole
from tests.gateway.web.test_page_access import CONTRASTS
from tests.gateway.web.test_page_past import _accounts as accounts
from tests.gateway.web.test_page_past import signed

__all__ = ["accounts"]

FEW = {"mode": "words", "count": 10}


async def shared(visit: Visit, **options: Any) -> tuple[Visitor, str]:
    """A visitor who lets others look on, and the link's path."""
    typist = await visit(settings=FEW, **options)
    assert await typist.page.is_hidden("#shared")
    await typist.page.click("#share")
    link = await typist.page.get_attribute("#shared a", "href")
    assert link is not None
    assert link.startswith(typist.url + "watch/")
    await typist.ready()
    return typist, link.removeprefix(typist.url)


def known(frame: dict[str, Any]) -> int:
    """How many keys there are by then."""
    return int(frame["n"]) + len(frame["k"])


async def state(onlooker: Visitor, name: str) -> None:
    await onlooker.page.wait_for_selector(f"#watch[data-state={name}]")


async def test_a_link_shows_what_is_typed_and_the_next_test_too(visit: Visit) -> None:
    """Right and wrong letters as the typist sees them, live figures, the result, and the test after it."""
    typist, link = await shared(visit)
    text = await typist.typed_text()
    wrong = 3 if text[3] != " " else 2  # a letter: in the place of a space all that follows would be too much
    await typist.type(text[:wrong])
    onlooker = await visit(path=link, ready=False)
    await state(onlooker, "typing")
    await typist.type("~" + text[wrong + 1 : 6])
    await onlooker.until(lambda: sum(len(frame["k"]) for frame in onlooker.got("watch.keys")) >= 6)
    await onlooker.still()
    assert await onlooker.marks("wrong") == await typist.marks("wrong")
    assert await onlooker.marks("typed") == await typist.marks("typed")
    await onlooker.page.wait_for_selector("#live-acc:text-is('83')")
    for _ in range(6 - wrong):
        await typist.page.keyboard.press("Backspace")
    await typist.type(text[wrong:])
    await typist.state("stored")
    await state(onlooker, "waiting")
    result = typist.got("result")[0]
    assert await onlooker.page.inner_text("[data-figure=wpm] dd") == whole(result["wpm"])
    assert await onlooker.page.inner_text("#progress") == "10/10"
    said = await onlooker.page.inner_text("#state")
    assert said.startswith("Finished: ")
    assert said.endswith("The next test shows here by itself.")
    await typist.page.keyboard.press("Tab")
    await typist.ready()
    await state(onlooker, "typing")
    again = await typist.typed_text()
    await typist.type(again[:4])
    await onlooker.until(lambda: known(onlooker.got("watch.keys")[-1]) == 4)
    await onlooker.still()
    assert "".join(await onlooker.marks("typed")) == again[:4].replace(" ", "")
    assert await onlooker.page.is_hidden("#end")


async def test_it_is_off_in_every_new_tab_and_off_again_at_once(visit: Visit) -> None:
    """What runs is given up when the switch is turned; an own text is never shown."""
    typist, link = await shared(visit)
    assert typist.sent("start")[-1]["watch"] is True
    onlooker = await visit(path=link, ready=False)
    await state(onlooker, "typing")
    await typist.type("ab")
    await typist.page.click("#share")
    await typist.until(lambda: "watch" not in typist.sent("start")[-1])
    await state(onlooker, "waiting")
    assert await typist.page.is_hidden("#shared")
    other = await visit(settings=FEW, context=typist.page.context)
    assert await other.page.get_attribute("#share", "aria-pressed") == "false"


@pytest.mark.parametrize("path", ["watch/01900000-0000-7000-8000-000000000001", "watch/nothing", "watch/%E0%A4%A"])
async def test_what_is_not_to_be_seen_is_said_in_words(visit: Visit, path: str) -> None:
    """And the page offers something else to do."""
    onlooker = await visit(path=path, ready=False)
    await state(onlooker, "gone")
    assert (await onlooker.page.inner_text("#state")).startswith("There is nothing to be seen here")
    await onlooker.page.click("#onward a")
    await onlooker.page.wait_for_selector("#test:not([hidden])")


async def test_one_who_leaves_is_said_to_have_left(visit: Visit) -> None:
    typist, link = await shared(visit)
    onlooker = await visit(path=link, ready=False)
    await state(onlooker, "typing")
    await typist.type(await typist.typed_text())
    await typist.state("stored")
    await state(onlooker, "waiting")
    await typist.page.close()
    await state(onlooker, "gone")
    assert (await onlooker.page.inner_text("#state")).endswith("has left; nothing more comes.")


async def test_a_server_that_starts_again_is_come_back_to(visit: Visit, own_server: Server) -> None:
    """Killed in the middle: both pages come back, and go on with the same test."""
    typist, link = await shared(visit, server=own_server, may_lose_server=True)
    onlooker = await visit(path=link, ready=False, server=own_server, may_lose_server=True)
    await state(onlooker, "typing")
    text = await typist.typed_text()
    await typist.type(text[:8])
    await onlooker.until(lambda: bool(onlooker.got("watch.keys")))
    own_server.kill()
    own_server.start()
    await typist.until(lambda: bool(typist.got("resumed")))
    await onlooker.until(lambda: len(onlooker.got("watched")) >= 2)
    await typist.type(text[8:])
    await typist.state("stored")
    await onlooker.page.wait_for_selector("#end:not([hidden])")
    assert await onlooker.page.inner_text("[data-figure=acc] dd") == "100%"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_and_says_little(visit: Visit, scheme: str) -> None:
    """Contrast as elsewhere, nothing cut off on a phone, and a screen reader is told of states and not of keys."""
    typist, link = await shared(visit)
    watch = """
    addEventListener("DOMContentLoaded", () => {
      window.spoken = [];
      for (const node of document.querySelectorAll("[role=status], [aria-live]")) {
        const changes = { childList: true, characterData: true, subtree: true };
        new MutationObserver(() => window.spoken.push(node.textContent)).observe(node, changes);
      }
    });
    """
    small = {"viewport": {"width": 360, "height": 640}, "color_scheme": scheme}
    onlooker = await visit(path=link, ready=False, script=watch, **small)
    await state(onlooker, "typing")
    text = await typist.typed_text()
    await typist.type(text)
    await typist.state("stored")
    await state(onlooker, "waiting")
    await onlooker.until(lambda: any("verdict" in end for end in onlooker.got("watch.end")))
    await onlooker.still()
    assert await onlooker.page.evaluate(CONTRASTS.replace("product", "[]")) == []
    wide, room = await onlooker.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room
    spoken = [line for line in await onlooker.page.evaluate("window.spoken") if line]
    assert len(spoken) <= 4, spoken
    assert "by itself" in spoken[-1]


@pytest.mark.parametrize("name", ["You", "W" * 20], ids=["a word of ours", "the widest"])
async def test_an_account_is_called_by_its_name_whatever_that_is(visit: Visit, accounts: Server, name: str) -> None:
    """In the page's room; and who is called "You" is not oneself."""
    script = f"localStorage.setItem('typegate.token', {json.dumps(signed(1, nickname=name))});"
    _, link = await shared(visit, server=accounts, script=script)
    onlooker = await visit(path=link, ready=False, server=accounts, viewport={"width": 320, "height": 640})
    await state(onlooker, "typing")
    assert await onlooker.page.inner_text("#who") == name
    assert await onlooker.page.title() == f"{name} – Watch – Typegate"
    assert await onlooker.page.inner_text("#state") == "Types now; every key shows here."
    assert await onlooker.page.evaluate("document.documentElement.scrollWidth") <= 320
