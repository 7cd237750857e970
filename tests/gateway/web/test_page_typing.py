"""A test typed in a browser: marks, live figures, the end, the result and what follows."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.gateway.web.conftest import Visit, whole

TEN = {"mode": "words", "count": 10}


async def test_a_whole_test_is_typed_and_saved(visit: Visit) -> None:
    """Every key reaches the server, its figures stand in the result, and "Saved" comes with `stored`."""
    visitor = await visit(settings=TEN)
    text = await visitor.typed_text()
    assert len(text.split(" ")) == 10
    await visitor.type(text)
    await visitor.state("stored")
    keys = [part for frame in visitor.sent("keys") for part in frame["e"]]
    assert "".join(keys[1::2]) == text
    assert [frame["n"] for frame in visitor.sent("keys")] == _gapless(visitor.sent("keys"))
    assert visitor.sent("finish")[0]["n"] == len(text)
    result = visitor.got("result")[0]
    assert result["chars"] == [len(text), 0, 0, 0]
    assert await visitor.figure("wpm") == whole(result["wpm"])
    assert await visitor.figure("acc") == "100%"
    ways = [(frame["way"], frame["t"]) for frame in visitor.frames]
    assert ways.index(("<", "result")) < ways.index(("<", "stored"))
    assert await visitor.logs() == []  # the log is dropped only now
    assert any(frame.get("h") for frame in visitor.sent("keys")), "holds are sent with later keys"


def _gapless(frames: list[dict[str, Any]]) -> list[int]:
    numbers, n = [], 0
    for frame in frames:
        numbers.append(n)
        n += len(frame["e"]) // 2
    return numbers


async def test_saved_is_not_said_before_the_server_says_stored(visit: Visit) -> None:
    """While `stored` is withheld the page says "being saved" and keeps the log; with it, "Saved"."""
    script = """
    const Real = WebSocket;
    window.WebSocket = class extends Real {
      set onmessage(listener) {
        super.onmessage = (event) => {
          if (JSON.parse(event.data).t !== "stored") return listener.call(this, event);
          window.release = () => listener.call(this, event);
          document.documentElement.dataset.held = "";
        };
      }
    };
    """
    visitor = await visit(settings=TEN, script=script)
    await visitor.type(await visitor.typed_text())
    await visitor.state("accepted")
    await visitor.page.wait_for_selector("html[data-held]", state="attached")
    assert "Saved" not in await visitor.page.inner_text(".state")
    assert len(await visitor.logs()) == 1
    await visitor.page.evaluate("window.release()")
    await visitor.state("stored")
    assert await visitor.page.inner_text(".state") == "Saved"
    assert await visitor.logs() == []


async def test_marks_show_typed_wrong_missed_and_extra(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "text", "text": "alpha beta gamma delta"})
    await visitor.type("alpha bxt gammaZZ de")
    await visitor.page.wait_for_selector(".extra >> text=/^ZZ$/")
    assert await visitor.marks("typed") == ["alpha", "b", "t", "gamma", "de"]
    assert await visitor.marks("wrong") == ["e"]
    assert await visitor.marks("missed") == ["a"]


async def test_deletes_take_back_one_cluster_or_one_word_and_reach_into_a_wrong_word(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "text", "text": "one two three four"})
    await visitor.type("one twx thr")
    await visitor.page.keyboard.press("Control+Backspace")
    await visitor.page.keyboard.press("Backspace")
    await visitor.page.keyboard.press("Backspace")
    await visitor.type("o ")
    assert await visitor.marks("typed") == ["one", "two"]
    assert await visitor.marks("wrong") == []
    await visitor.page.keyboard.press("Backspace")  # a right word is not opened again
    await visitor.type("three four")
    await visitor.state("stored")
    keys = [part for frame in visitor.sent("keys") for part in frame["e"]][1::2]
    assert "".join(keys) == "one twx thr\x17\b\bo \bthree four"
    assert visitor.got("result")[0]["chars"] == [18, 0, 0, 0]


async def test_live_figures_are_the_servers(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "words", "count": 50})
    words = (await visitor.typed_text()).split(" ")
    typed = " ".join(words[:4]) + " "
    await visitor.type(typed, delay_ms=40)
    await visitor.until(lambda: bool(visitor.got("tick")) and visitor.got("tick")[-1]["n"] == len(typed))
    tick = visitor.got("tick")[-1]
    await visitor.page.wait_for_selector(f"#live-wpm:text-is('{whole(tick['wpm'])}')")
    assert await visitor.page.inner_text("#live-acc") == "100"
    assert await visitor.page.inner_text("#progress") == "4/50"


async def test_a_first_key_goes_out_at_once_and_later_ones_within_250_ms(visit: Visit) -> None:
    """And not each in a frame of its own, however fast they come."""
    visitor = await visit(settings={"mode": "words", "count": 25})
    text = await visitor.typed_text()
    late, sends = await visitor.page.evaluate(
        """async (keys) => {
          const sends = [];
          const send = WebSocket.prototype.send;
          WebSocket.prototype.send = function (data) {
            const message = JSON.parse(data);
            if (message.t === "keys") sends.push([message.n, message.e.length / 2]);
            return send.call(this, data);
          };
          const sent = () => sends.reduce((all, [, count]) => all + count, 0);
          const field = document.getElementById("field");
          const checks = [];
          const late = [];
          // timers of one page run in the order of their times, however busy the machine is
          const check = (number, after) =>
            new Promise((done) => setTimeout(() => done(sent() < number && late.push(number)), after));
          let typed = 0;
          const type = (count) => {
            for (const data of keys.slice(typed, (typed += count))) {
              field.dispatchEvent(new InputEvent("beforeinput", { inputType: "insertText", data, cancelable: true }));
            }
          };
          type(1);
          await check(1, 0);
          while (typed < keys.length) {
            type(5);
            checks.push(check(typed, 250));
            await new Promise((again) => setTimeout(again, 100));
          }
          await Promise.all(checks);
          return [late, sends];
        }""",
        list(text[:41]),
    )
    assert late == []
    assert sends[0] == [0, 1]
    assert sum(count for _, count in sends) == 41
    assert len(sends) <= 9  # the first, and at most one for each five at once


@pytest.mark.parametrize(("restart", "keys"), [("tab", ["Tab"]), ("esc", ["Escape"]), ("tab-enter", ["Tab", "Enter"])])
async def test_restart_brings_a_new_text_in_the_same_connection(visit: Visit, restart: str, keys: list[str]) -> None:
    visitor = await visit(settings={**TEN, "restart": restart})
    before = await visitor.typed_text()
    await visitor.type(before[:5])
    for key in keys:
        await visitor.page.keyboard.press(key)
    await visitor.until(lambda: len(visitor.got("started")) == 2)
    await visitor.ready()
    assert await visitor.typed_text() != before
    assert await visitor.marks("typed") == []
    assert len(visitor.got("hello")) == 1
    assert await visitor.logs() == []
    ways = [frame["t"] for frame in visitor.frames if frame["t"] in ("start", "abort")]
    assert ways == ["start", "abort", "start"]  # given up even if the next start should be refused


async def test_a_test_is_asked_for_before_the_answer_to_who_is_there(visit: Visit) -> None:
    """`auth` and `start` go out together, so that the text comes a round trip sooner."""
    visitor = await visit(settings=TEN)
    ways = [(frame["way"], frame["t"]) for frame in visitor.frames]
    assert ways.index((">", "start")) == ways.index((">", "auth")) + 1
    assert ways.index((">", "start")) < ways.index(("<", "ready"))


async def test_a_start_that_must_wait_is_asked_again_and_says_why(visit: Visit) -> None:
    """A server that takes no new tests for the moment: the page tells it in its own words, and tries by itself."""
    refusing = """
    const send = WebSocket.prototype.send;
    let starts = 0;
    WebSocket.prototype.send = function (data) {
      const { t, ref } = JSON.parse(data);
      if (t !== "start" || ++starts > 1) return send.call(this, data);
      const answer = { t: "error", code: "full", message: "3 results wait to be stored (limit 2)", retry: 2000, ref };
      this.onmessage(new MessageEvent("message", { data: JSON.stringify(answer) }));
    };
    """
    visitor = await visit(settings=TEN, script=refusing, ready=False)
    await visitor.notice("takes no new tests for the moment")
    await visitor.ready()
    assert await visitor.page.inner_text("#notice") == ""


async def test_tab_on_a_fresh_result_is_the_next_test(visit: Visit) -> None:
    visitor = await visit(settings=TEN)
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")
    await visitor.page.keyboard.type(" x")  # typed on after the end: must not press anything
    await visitor.page.keyboard.press("Tab")
    await visitor.until(lambda: len(visitor.got("started")) == 2)
    await visitor.ready()
    assert await visitor.page.is_hidden("#result")


async def test_a_timed_test_ends_by_the_clock(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "time", "seconds": 15})
    text = await visitor.typed_text()
    await visitor.type(text[:20], delay_ms=60)
    await visitor.state("stored")
    result = visitor.got("result")[0]
    assert result["duration_ms"] == 15_000
    assert len(result["series"]["wpm"]) == 15
    assert visitor.sent("finish")[0]["n"] == 20
    assert await visitor.page.locator(".plot .curve.wpm").count() == 1


async def test_zen_takes_what_is_written_and_ends_with_shift_enter(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "zen"})
    await visitor.type("free as a bird")
    assert await visitor.page.inner_text(".flow") == "free as a bird "
    await visitor.page.keyboard.press("Shift+Enter")
    await visitor.state("stored")
    assert visitor.got("result")[0]["chars"] == [14, 0, 0, 0]


async def test_zen_is_finished_by_a_tap_where_there_is_no_shift_and_enter(visit: Visit) -> None:
    """On a phone the button that ends it shows with the first key, and moves nothing."""
    visitor = await visit(
        settings={"mode": "zen"}, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    assert await visitor.page.is_hidden("#finish")
    await visitor.type("free")
    await visitor.page.tap("#finish")
    await visitor.state("stored")
    assert visitor.got("result")[0]["chars"] == [4, 0, 0, 0]


async def test_own_text_can_be_given_up_and_is_scored_as_it_stands(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "text", "text": "some long text of my own"})
    await visitor.type("some lo")
    await visitor.page.keyboard.press("Shift+Enter")
    await visitor.state("stored")
    assert visitor.got("result")[0]["chars"] == [7, 0, 0, 0]
    assert await visitor.figure("wpm") == whole(visitor.got("result")[0]["wpm"])


async def test_a_quote_by_difficulty_and_category_tells_its_title(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "quote", "difficulty": "easy", "category": "nature"})
    start = visitor.sent("start")[-1]
    assert (start["difficulty"], start["category"]) == ("easy", "nature")
    title = visitor.got("started")[-1]["title"]
    assert await visitor.notice(title) == title


async def test_options_are_remembered(visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.check("input[name=mode][value=words]")
    await visitor.page.check("input[name=count][value='100']")
    await visitor.page.check("input[name=punctuation]")
    await visitor.page.select_option("select[name=language]", "de")
    await visitor.until(lambda: bool(visitor.got("started")) and visitor.got("started")[-1]["language"] == "de")
    again = await visit(context=visitor.page.context)
    start = again.sent("start")[0]
    assert (start["mode"], start["count"], start["punctuation"], start["language"]) == ("words", 100, True, "de")
    assert await again.page.is_checked("input[name=count][value='100']")
    await expect(again.page.locator("#options select[name=language]")).to_have_value("de")  # once its names have come


async def test_own_text_is_asked_for_in_a_dialog(visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.check("input[name=mode][value=text]")
    await visitor.page.fill("#own-text-area", "Lines\nbecome   spaces.")
    assert "characters, 3 words" in await visitor.page.inner_text("#own-text-count")
    await visitor.page.click("#own-text-use")
    await visitor.until(lambda: visitor.sent("start")[-1].get("text") == "Lines become spaces.")
    await visitor.ready()
    assert await visitor.typed_text() == "Lines become spaces."


async def test_own_text_that_is_too_long_cannot_be_sent(visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.check("input[name=mode][value=text]")
    await visitor.page.fill("#own-text-area", "x" * 20_001)
    assert "Too long" in await visitor.page.inner_text("#own-text-count")
    assert await visitor.page.is_disabled("#own-text-use")


async def test_a_text_of_the_longest_kind_keeps_a_window_of_words(visit: Visit) -> None:
    """However long the text, the document holds a few hundred words, and the caret stays on the second line."""
    text = " ".join(f"word{i % 97}" for i in range(2500))
    visitor = await visit(settings={"mode": "text", "text": text})
    assert await visitor.page.locator(".flow .w").count() < 400
    for start in range(0, 3000, 500):
        await visitor.page.evaluate(
            """(keys) => {
              const field = document.getElementById("field");
              for (const data of keys) {
                field.dispatchEvent(new InputEvent("beforeinput", { inputType: "insertText", data, cancelable: true }));
              }
            }""",
            list(text[start : start + 500]),
        )
        await visitor.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert await visitor.page.locator(".flow .w").count() < 400
    await visitor.still()  # the line glides
    box = await visitor.page.locator(".caret").bounding_box()
    area = await visitor.page.locator("#text").bounding_box()
    assert box is not None
    assert area is not None
    assert area["y"] + 30 < box["y"] < area["y"] + area["height"] - 50


async def test_handling_a_key_adds_no_nodes(visit: Visit) -> None:
    """A right key changes ranges, not the document, so that handling it stays far below a millisecond."""
    visitor = await visit(settings={"mode": "words", "count": 100})
    text = (await visitor.typed_text())[:300]
    changes = await visitor.page.evaluate(
        """async (keys) => {
          const field = document.getElementById("field");
          let handled = 0;
          let changes = 0;
          const observer = new MutationObserver((records) => (changes += records.length));
          observer.observe(document.querySelector(".flow"), { childList: true, characterData: true, subtree: true });
          for (const data of keys) {
            const event = new InputEvent("beforeinput", { inputType: "insertText", data, cancelable: true });
            field.dispatchEvent(event);
            handled += 1;
            if (handled % 10 === 0) await new Promise(requestAnimationFrame);
          }
          return changes;
        }""",
        list(text),
    )
    assert changes <= 2  # a batch of words added ahead


async def test_a_language_that_is_not_there_any_more_becomes_english_not_the_first_listed(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "words", "count": 10, "language": "xx"}, ready=False)
    await visitor.page.wait_for_selector("select[name=language] option[value=ar]", state="attached")
    await visitor.page.click("#notice button:has-text('New test')")
    await visitor.ready()
    assert visitor.got("started")[-1]["language"] == "en"
    assert await visitor.page.input_value("select[name=language]") == "en"


async def test_a_language_without_quotes_offers_none(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "quote"})
    await visitor.page.select_option("select[name=language]", "hi")
    await visitor.until(lambda: visitor.got("started")[-1]["language"] == "hi")
    assert visitor.got("started")[-1]["mode"] == "words"
    assert await visitor.page.is_disabled("input[value=quote]")
    await visitor.page.select_option("select[name=language]", "en")
    assert await visitor.page.is_enabled("input[value=quote]")
