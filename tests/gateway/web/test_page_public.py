"""A result that is shared from the page: what is said before, what others see then, and how it is taken back."""

from typing import Any

import pytest

from tests.gateway.web.conftest import Visit, Visitor, whole
from tests.gateway.web.racing import type_as_a_person
from tests.gateway.web.test_page_access import CONTRASTS

FEW = {"mode": "words", "count": 10}
VISIBILITY = "#result .visibility"


async def typed(visit: Visit, **options: Any) -> Visitor:
    """A visitor with a result that is saved; typed as a person does, for one that is void is shown to nobody."""
    visitor = await visit(settings=FEW, **options)
    await type_as_a_person(visitor, await visitor.typed_text(), wpm=180)
    await visitor.state("stored")
    await visitor.page.wait_for_selector(f"{VISIBILITY}[data-state=private] button:enabled")
    return visitor


async def shared(visit: Visit, **options: Any) -> tuple[Visitor, str]:
    """A visitor with a public result, and its link's path."""
    visitor = await typed(visit, **options)
    await visitor.page.click("text=Share …")
    await visitor.page.click("text=Make it public")
    link = await visitor.page.get_attribute(f"{VISIBILITY}[data-state=public] a", "href")
    assert link is not None
    assert link.startswith(f"{visitor.url}r/")
    return visitor, link.removeprefix(visitor.url)


async def gone(visitor: Visitor) -> None:
    """The page says that there is nothing; the browser's own complaint of that answer is none of ours."""
    await visitor.page.wait_for_selector("#result .message:has-text('There is no result to be seen here')")
    assert [text for text in visitor.complaints if "Failed to load resource" not in text] == []
    visitor.complaints.clear()


async def test_others_see_a_shared_result_until_it_is_taken_back(visit: Visit) -> None:
    """Figures, plot, replay and a race, under a name; the history says which are public; then there is nothing more."""
    owner, link = await shared(visit)
    result = owner.got("result")[0]
    for browser_of_a_guest in (False, True):
        other = await visit(settings=FEW, path="" if browser_of_a_guest else link, ready=browser_of_a_guest)
        if browser_of_a_guest:
            await other.page.goto(other.url + "r/" + link.removeprefix("r/").upper())  # as some programs write them
        await other.page.wait_for_selector("#result [data-figure=wpm] dd")
        assert await other.figure("wpm") == whole(result["wpm"])
        assert (await other.page.inner_text("#result h1")).startswith("Guest ")
        assert await other.page.is_hidden(VISIBILITY)
        assert await other.page.locator("#result .replay").count() == 1
        assert "to the same figures" in await other.page.inner_text("#result .state")
    rival = await visit(settings=FEW, path=link, ready=False)
    name = await rival.page.inner_text("#result h1")
    await rival.page.click("text=Race against this")
    await rival.page.wait_for_selector("#lobby:not([hidden]) .seat")
    assert name in await rival.page.locator("#lobby .seat .name").all_inner_texts()
    await rival.page.click("#lobby button:text-is('Ready')")
    await rival.until(lambda: bool(rival.got("started")))
    assert rival.got("started")[0]["text"] == owner.got("started")[0]["text"]
    await owner.page.click("#nav-history")
    await owner.page.wait_for_selector(".results .chip.public")
    await owner.page.click(".results tbody tr:first-child a")
    await owner.page.click("text=Make private again")
    await owner.page.wait_for_selector(f"{VISIBILITY}[data-state=private]")
    assert "for a minute" in await owner.page.inner_text(f"{VISIBILITY} [role=status]")
    await other.page.reload()
    await gone(other)
    await owner.page.goto(owner.url + link)
    await owner.page.wait_for_selector(f"{VISIBILITY}[data-state=private]")
    assert await owner.page.inner_text("#result h1") == "Your result"


async def test_it_is_done_by_the_keyboard_alone_and_never_by_a_slip(visit: Visit) -> None:
    """What becomes visible has the focus and is read out first; Esc leads back; it takes two steps."""
    visitor = await typed(
        visit, script='localStorage.setItem(\'typegate.settings\', \'{"restart":"esc","mode":"words","count":10}\')'
    )
    page = visitor.page
    await page.focus("text=Share …")
    await page.keyboard.press("Enter")
    said = await page.evaluate("document.activeElement.textContent")
    assert "rhythm" in said
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.textContent") == "Share …"
    assert await page.is_visible("#result")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{VISIBILITY}[data-state=public]")
    assert "/r/" in await page.evaluate("document.activeElement.textContent")
    await visitor.announced("This result is public now.")
    await page.focus("text=Make private again")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{VISIBILITY}[data-state=private]")
    assert await page.evaluate("document.activeElement.textContent") == "Share …"


async def test_who_wrote_what_they_liked_is_told_that_it_will_be_read(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "zen"})
    await type_as_a_person(visitor, "dear diary, what a day", wpm=180)
    await visitor.page.keyboard.press("Shift+Enter")
    await visitor.page.click(f"{VISIBILITY}[data-state=private] button:enabled")
    said = await visitor.page.inner_text(f"{VISIBILITY}[data-state=asking]")
    assert "all that you wrote" in said
    assert "race against it" not in said


async def test_an_own_text_is_not_offered_to_others(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "text", "text": "one two three"})
    await visitor.type("one two three", delay_ms=40)
    await visitor.state("stored")
    assert await visitor.page.is_hidden(VISIBILITY)


@pytest.mark.parametrize("path", ["r/01900000-0000-7000-8000-000000000001", "r/nothing", "r/%E0%A4%A"])
async def test_what_is_not_to_be_seen_is_said_in_words(visit: Visit, path: str) -> None:
    """And the page offers something else to do."""
    visitor = await visit(path=path, ready=False)
    await gone(visitor)
    await visitor.page.click("#result .message a")
    await visitor.page.wait_for_selector("#test:not([hidden])")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_and_fits_a_phone(visit: Visit, scheme: str) -> None:
    small = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    visitor = await typed(visit, **small)
    for button in ("Share …", "Make it public"):
        await visitor.page.click(f"text={button}")
        await visitor.page.wait_for_selector(f"{VISIBILITY}:not([data-state=private])")
        await legible(visitor)
    link = await visitor.page.get_attribute(f"{VISIBILITY}[data-state=public] a", "href")
    assert link is not None
    other = await visit(path=link.removeprefix(visitor.url), ready=False, **small)
    await other.page.wait_for_selector("#result .replay")
    await legible(other)


async def legible(visitor: Visitor) -> None:
    """Contrast as elsewhere, and nothing cut off."""
    await visitor.still()
    assert await visitor.page.evaluate(CONTRASTS.replace("product", "[]")) == []
    wide, room = await visitor.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room
