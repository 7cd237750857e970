"""What a finished test shows, and the history."""

import asyncio
import json
from typing import Any

from playwright.async_api import Route, WebSocketRoute, expect

from tests.gateway.web.conftest import PATIENCE_S, Visit, Visitor, whole

TEXT = {"mode": "text", "text": "one two three four five six seven"}


async def finished(visit: Visit, typed: str = "one twx thrre four five six seven", **page: Any) -> Visitor:
    """A result with a wrong word or two, saved."""
    visitor = await visit(settings=TEXT, **page)
    await visitor.type(typed, delay_ms=45)
    await visitor.state("stored")
    return visitor


async def test_every_figure_says_what_it_means_on_focus_and_on_hover_and_esc_puts_it_away(visit: Visit) -> None:
    visitor = await finished(visit)
    terms = visitor.page.locator("#result .term")
    assert await terms.count() >= 8
    for index in range(await terms.count()):
        term = terms.nth(index)
        tip = visitor.page.locator(f"#{await term.get_attribute('aria-describedby')}")
        assert await tip.is_hidden()
        await visitor.page.keyboard.press("ArrowDown")  # a keyboard's focus, not a mouse's
        await term.focus()
        assert await tip.is_visible()
        assert len(await tip.inner_text()) > 30
        box = await tip.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1280
        await visitor.page.keyboard.press("Escape")
        assert await tip.is_hidden()
    await terms.nth(0).hover()
    tip = visitor.page.locator(f"#{await terms.nth(0).get_attribute('aria-describedby')}")
    assert await tip.is_visible()


async def test_the_plot_is_read_by_arrow_keys_and_as_a_table(visit: Visit) -> None:
    visitor = await finished(visit)
    result = visitor.got("result")[0]
    await visitor.page.focus(".summary .board")
    await visitor.page.keyboard.press("ArrowRight")
    reading = await visitor.page.inner_text(".summary .reading")
    assert f"each second {result['series']['burst'][0]}, wpm so far {result['series']['wpm'][0]}" in reading
    await visitor.page.keyboard.press("End")
    assert f"errors {result['series']['err'][-1]}" in await visitor.page.inner_text(".summary .reading")
    await visitor.page.click(".summary .as-table summary")
    rows = visitor.page.locator(".summary .as-table tbody tr")
    assert await rows.count() == len(result["series"]["wpm"])
    first = await rows.nth(0).inner_text()
    assert first.split() == ["1", *(str(result["series"][name][0]) for name in ("burst", "wpm", "raw", "err"))]


async def test_a_plot_that_is_not_drawn_yet_is_read_all_the_same(visit: Visit) -> None:
    """The browser says when there is a place for it, which on a busy machine may be later than a key."""
    visitor = await finished(visit, script="window.ResizeObserver = class { observe() {} disconnect() {} };")
    result = visitor.got("result")[0]
    await visitor.page.focus(".summary .board")
    await visitor.page.keyboard.press("ArrowRight")
    assert f"wpm so far {result['series']['wpm'][0]}" in await visitor.page.inner_text(".summary .reading")
    assert await visitor.page.locator(".summary .board svg").count() == 0


async def test_the_plot_becomes_as_narrow_as_its_place(visit: Visit) -> None:
    """What was drawn for a wide window does not hold the page wide."""
    visitor = await finished(visit)
    await visitor.page.set_viewport_size({"width": 900, "height": 800})
    fits = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    await visitor.page.wait_for_function(fits)
    boards = (
        "() => [...document.querySelectorAll('.plot svg')].every((one) => one.getBoundingClientRect().right <= 900)"
    )
    await visitor.page.wait_for_function(boards)


async def test_errors_show_on_the_keyboard_and_in_its_table(visit: Visit) -> None:
    visitor = await finished(visit)
    caps = visitor.page.locator(".keyboard .cap")
    heat = {await cap.get_attribute("title"): await cap.get_attribute("data-heat") for cap in await caps.all()}
    assert heat["o: 1 of 3 wrong"] == "high"
    assert heat["space: 0 of 6 wrong"] == "good"
    await visitor.page.click(".keys .as-table summary")
    first = (await visitor.page.locator(".keys .as-table tbody tr").nth(0).inner_text()).split("\t")
    assert first[:4] == ["o", "3", "1", "33%"]


async def test_the_replay_plays_pauses_and_seeks(visit: Visit) -> None:
    visitor = await finished(visit)
    page = visitor.page
    shown = "[...CSS.highlights.get('typed')].filter((r) => r.startContainer.parentElement?.closest('.replay'))"
    count = f"{shown}.map((r) => r.toString()).join('').length"
    assert await page.evaluate(count) == 0
    await page.select_option(".controls select", "4")
    await page.click(".play")
    await page.wait_for_selector(".play:text('Play again')")
    assert await page.evaluate(count) == 25  # right letters of the text
    seek = page.locator(".controls input")
    await seek.fill("0")
    assert await page.evaluate(count) == 1
    press = (
        "const press = () => { const play = document.querySelector('.play'); play.click(); return play.textContent; };"
    )
    assert await page.evaluate(f"() => {{ {press} return [press(), press()]; }}") == ["Pause", "Play"]  # before its end


async def test_missed_words_can_be_practised(visit: Visit) -> None:
    visitor = await finished(visit)
    assert await visitor.page.locator(".missed li").all_inner_texts() == ["two", "three"]
    await visitor.page.click("text=Practise missed words")
    await visitor.until(lambda: len(visitor.got("started")) == 2)
    await visitor.ready()
    assert sorted(set((await visitor.typed_text()).split())) == ["three", "two"]


async def test_a_verdict_that_becomes_stricter_is_said(visit: Visit) -> None:
    """Wherever the visitor is by then; one that comes late and is milder is not."""
    lines: list[WebSocketRoute] = []

    def connected(line: WebSocketRoute) -> None:
        server = line.connect_to_server()
        lines.append(line)

        def heard(text: str | bytes) -> None:
            message = json.loads(text)
            if message["t"] == "stored":  # whatever the server thinks of keys in a step so even
                text = json.dumps({**message, "verdict": "ok"})
            line.send(text)

        server.on_message(heard)

    visitor = await visit(settings=TEXT, path="v1/languages", ready=False)
    await visitor.page.route_web_socket("**/ws", connected)
    await visitor.page.goto(visitor.url)
    await visitor.ready()
    await visitor.type(TEXT["text"], delay_ms=45)
    await visitor.state("stored")
    session = visitor.got("stored")[0]["session"]

    def told(verdict: str) -> None:
        lines[-1].send(json.dumps({"t": "stored", "session": session, "verdict": verdict}))

    told("review")
    assert await visitor.announced("looked at again") == "This result was looked at again: under review."
    await visitor.page.keyboard.press("Tab")
    await visitor.ready()
    told("ok")
    told("void")
    assert await visitor.notice("looked at again") == "An earlier result was looked at again: does not count."


async def test_the_same_text_again(visit: Visit) -> None:
    visitor = await finished(visit)
    await visitor.page.click("text=Same text again")
    await visitor.until(lambda: len(visitor.got("started")) == 2)
    await visitor.ready()
    assert await visitor.typed_text() == TEXT["text"]


async def test_the_same_quote_again_whatever_is_chosen_in_the_options(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "quote", "difficulty": "easy", "category": "nature"})
    text = await visitor.typed_text()
    await visitor.type(text, delay_ms=5)
    await visitor.state("stored")
    await visitor.page.click("text=Same text again")
    await visitor.until(lambda: len(visitor.got("started")) == 2)
    await visitor.ready()
    assert await visitor.typed_text() == text
    assert visitor.got("started")[1]["mode"] == "quote"


async def test_history_lists_results_and_opens_an_old_one(visit: Visit) -> None:
    """Newest first, with a plot of progress; an old result opens with its plot, its replay and its keys."""
    visitor = await finished(visit)
    await visitor.page.keyboard.press("Tab")
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")
    await visitor.page.click("#nav-history")
    await visitor.page.wait_for_selector(".results tbody tr")
    rows = visitor.page.locator(".results tbody tr")
    assert await rows.count() == 2
    by_session = {result["session"]: result for result in visitor.got("result")}  # one may come twice
    oldest, newest = by_session.values()
    assert f"{newest['wpm']:.1f}" in await rows.nth(0).inner_text()
    await expect(visitor.page.locator("#history .plot .dot")).to_have_count(2)  # drawn when its width is known
    await rows.nth(1).locator("a").click()
    await visitor.page.wait_for_selector("#result:not([hidden]) .replay")
    assert await visitor.figure("wpm") == whole(oldest["wpm"])
    assert await visitor.page.locator(".keyboard .cap[data-heat=high]").count() > 0
    await visitor.page.reload()
    await visitor.page.wait_for_selector("#result:not([hidden]) .replay")
    assert await visitor.figure("wpm") == whole(oldest["wpm"])


async def test_an_old_result_that_comes_late_does_not_take_the_place_of_the_one_that_shows(visit: Visit) -> None:
    """It was opened, left while it was loading, and a test was typed: that one's result stays."""
    visitor = await finished(visit)
    page = visitor.page
    old = visitor.got("result")[0]["session"]
    await page.keyboard.press("Tab")
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")
    asked, may_go = asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        asked.set()
        await may_go.wait()
        await route.continue_()

    await page.route(f"**/v1/results/{old}/replay", slow)
    await page.click("#nav-history")
    await page.click(f".results tbody a[href$='{old}']")
    async with asyncio.timeout(PATIENCE_S):
        await asked.wait()
    await page.click("#nav-test")
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")
    async with page.expect_event("requestfinished", lambda request: request.url.endswith(f"{old}/replay")):
        may_go.set()
    await page.evaluate("() => fetch('/v1/languages').then((answer) => answer.json())")  # what came before is shown
    assert await visitor.figure("acc") == "100%"
    assert old not in page.url


async def test_history_shows_one_kind_of_test_alone(visit: Visit) -> None:
    """Figures, plot and table are of what is chosen."""
    visitor = await finished(visit)
    await visitor.page.click("#nav-test")
    await visitor.page.check("input[name=mode][value=words]")
    await visitor.page.check("input[name=count][value='10']")
    await visitor.until(lambda: visitor.got("started")[-1].get("count") == 10)
    await visitor.ready()
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")
    await visitor.page.click("#nav-history")
    rows = visitor.page.locator(".results tbody tr")
    await visitor.page.wait_for_selector(".results tbody tr")
    assert await rows.count() == 2
    await visitor.page.select_option("#history-kind", "words 10")
    kinds = [text.split(" ·")[0] for text in await visitor.page.locator(".results td.what").all_inner_texts()]
    assert kinds == ["words 10"]
    assert await visitor.page.inner_text(".totals .figure-box:first-child dd") == "1"
    await visitor.page.select_option("#history-kind", "")
    assert await rows.count() == 2


async def test_history_of_a_newcomer_is_empty_and_says_so(visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.click("#nav-history")
    await visitor.page.wait_for_selector("#history:has-text('after your first test')")


async def test_a_result_that_is_not_there_says_so(visit: Visit) -> None:
    visitor = await visit(path="#/result/00000000-0000-7000-8000-000000000000", ready=False)
    await visitor.page.wait_for_selector("#result .message")
    visitor.complaints.clear()  # the 404 that it asked for


async def test_a_verdict_is_explained_with_its_reasons(visit: Visit) -> None:
    """Keys in perfect step are no person's: the result says what is unusual about them, by how much."""
    text = "the quick brown fox jumps over the lazy dog and does it all over again until it is tired of it " * 3
    visitor = await visit(settings={"mode": "text", "text": text.strip()})
    await visitor.page.evaluate(
        """async (keys) => {
          const field = document.getElementById("field");
          const start = performance.now();
          for (const [i, data] of keys.entries()) {
            while (performance.now() < start + 25 * i) await new Promise((done) => setTimeout(done));
            field.dispatchEvent(new InputEvent("beforeinput", { inputType: "insertText", data, cancelable: true }));
          }
        }""",
        list(text.strip()),
    )
    await visitor.state("stored")
    assert visitor.got("result")[0]["verdict"] == "ok"  # provisional, and not shown
    assert visitor.got("stored")[0]["verdict"] != "ok"
    await visitor.page.wait_for_selector(".verdict li")
    assert any("usual limit" in reason for reason in await visitor.page.locator(".verdict li").all_inner_texts())
