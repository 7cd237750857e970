"""For everybody: keyboard alone, screen readers, contrast, calm layout, no JavaScript, small screens."""

import re
from itertools import product

import pytest
from playwright.async_api import Browser

from tests.gateway.web.conftest import Server, Visit

TEXT = {"mode": "text", "text": "one two three four"}

CONTRASTS = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const under = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return rgba(getComputedStyle(document.documentElement).backgroundColor);
  };
  const low = [];
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || seen.has(element) || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".unseen, [disabled], option, script, noscript, style")) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const color = rgba(element instanceof SVGElement ? style.fill : style.color);
    const ground = under(element);
    const alpha = color[3] / 255;
    const mixed = color.slice(0, 3).map((v, i) => v * alpha + ground[i] * (1 - alpha));
    const [a, b] = [light(mixed), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${text.slice(0, 30)} <${element.tagName}> ${ratio.toFixed(2)}`);
  }
  for (const [name, ground] of product) {
    const style = getComputedStyle(document.documentElement);
    const [a, b] = [name, ground].map((v) => light(rgba(style.getPropertyValue(v)))).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(`${name} on ${ground} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return low;
}
"""
MARKS = list(product(["--ink", "--untyped", "--wrong", "--soft", "--accent"], ["--ground", "--sunken", "--raised"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_has_a_contrast_of_4_5(visit: Visit, scheme: str) -> None:
    """WCAG 2.2, 1.4.3 (AA), computed for every text that shows: test, result, history, dialogs; and for the marks."""
    visitor = await visit(settings=TEXT, color_scheme=scheme)
    page = visitor.page
    # only the veiled and the faded are exempt: nothing is typed here when it is measured
    contrasts = CONTRASTS.replace("product", str([list(pair) for pair in MARKS]))

    async def legible() -> None:
        await visitor.still()
        assert await page.evaluate(contrasts) == []

    await legible()
    await page.click("#open-settings")
    await legible()
    await page.keyboard.press("Escape")
    await visitor.ready()
    await visitor.type("one txo threx fourx ", delay_ms=30)
    await visitor.state("stored")
    await legible()
    await page.click("#nav-history")
    await page.wait_for_selector(".results tbody tr")
    await legible()
    await page.click("#nav-leaderboards")
    await page.wait_for_selector(".own:has-text('guest')")
    await legible()


async def test_the_theme_can_be_turned_over_and_is_remembered(visit: Visit) -> None:
    visitor = await visit(color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = await visitor.page.evaluate(ground)
    await visitor.page.click("#theme")
    dark = await visitor.page.evaluate(ground)
    assert light != dark
    again = await visit(context=visitor.page.context)
    assert await again.page.evaluate(ground) == dark


async def test_everything_is_reached_by_keyboard_with_a_visible_focus(visit: Visit) -> None:
    """From the skip link through every control, without a trap; each shows where the focus is."""
    visitor = await visit(settings={**TEXT, "restart": "tab-enter"})
    page = visitor.page
    seen: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        name, outlined = await page.evaluate(
            """() => {
              const at = document.activeElement;
              if (at === document.body) return ["", true];
              const shown = at.matches("input") ? at.nextElementSibling : at;
              const style = getComputedStyle(shown);
              const outline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
              return [at.id || at.name || at.className || at.textContent.trim(), outline || at.id === "field"];
            }"""
        )
        if seen and name == seen[0]:
            break
        assert outlined, name
        seen += [name] if name else []  # none: the browser's own controls had it
    for wanted in (
        "skip",
        "nav-history",
        "nav-leaderboards",
        "theme",
        "open-settings",
        "mode",
        "language",
        "field",
        "restart",
    ):
        assert wanted in seen, seen


async def test_a_test_can_be_typed_and_left_by_keyboard_alone(visit: Visit) -> None:
    """Options, a test, its result, the history and back, without a mouse."""
    visitor = await visit(settings=TEXT)
    page = visitor.page
    await page.keyboard.press("Shift+Tab")
    assert await page.evaluate("document.activeElement.name") == "language"
    await page.keyboard.press("Shift+Tab")
    assert await page.evaluate("document.activeElement.id") == "edit-text"
    await page.keyboard.press("o")  # any letter leads back to the text, and is typed where it is the first
    await visitor.type("ne two three four")
    await visitor.state("stored")
    await page.keyboard.press("ArrowDown")
    assert await page.evaluate("document.activeElement.textContent") == "Next test"
    await page.focus("#nav-history")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".results tbody tr")
    await page.focus("#nav-test")
    await page.keyboard.press("Enter")
    await visitor.ready()


async def test_a_screen_reader_is_told_what_matters(visit: Visit) -> None:
    """The field has a name and the text as its description; the end is announced; what moves is hidden from it."""
    visitor = await visit(settings=TEXT)
    page = visitor.page
    session = await page.context.new_cdp_session(page)
    tree = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    field = next(node for node in tree if node.get("name", {}).get("value") == "Type the text here")
    assert field["role"]["value"] == "textbox"
    assert "one two three four" in field["description"]["value"]
    assert "new test" in field["description"]["value"]
    unnamed = [
        node["role"]["value"]
        for node in tree
        if node["role"]["value"] in ("button", "link", "radio", "checkbox", "combobox", "textbox", "dialog")
        and not node["ignored"]
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
    await visitor.type("one two three four")
    await visitor.state("stored")
    said = await visitor.announced("Test finished")
    assert re.search(r"\d+ words per minute, 100 per cent accuracy", said)


async def test_a_screen_reader_is_not_talked_over(visit: Visit) -> None:
    """Of a whole test it hears the new text's first words, the end, and "Saved"; figures and progress stay silent."""
    listen = """
    window.told = [];
    addEventListener("DOMContentLoaded", () => {
      const listener = new MutationObserver((changes) => {
        for (const { target } of changes) {
          const at = target instanceof Element ? target : target.parentElement;
          const live = at.closest("[role=status], [aria-live]");
          if (live?.textContent.trim()) window.told.push(live.textContent);
        }
      });
      listener.observe(document.body, { childList: true, characterData: true, subtree: true });
    });
    """
    visitor = await visit(settings=TEXT, script=listen)
    await visitor.page.evaluate("window.told.length = 0")  # where the connection took long, that was said
    await visitor.page.keyboard.press("Tab")
    await visitor.announced("New test")
    await visitor.ready()
    await visitor.type("one two three four", delay_ms=60)
    await visitor.announced("Saved")
    first, second, *rest = await visitor.page.evaluate("window.told")
    assert first == "New test. one two three four"
    assert second.startswith("Test finished: ")
    assert rest == ["Saved"]


async def test_nothing_moves_by_itself(visit: Visit) -> None:
    """Cumulative layout shift below 0.01 from the first paint through a test to its result and "Saved"."""
    for options in ({}, {"viewport": {"width": 390, "height": 844}}):
        visitor = await visit(settings=TEXT, **options)
        await visitor.type("one two three four", delay_ms=60)
        await visitor.state("stored")
        await visitor.page.wait_for_timeout(600)
        assert await visitor.page.evaluate("window.shift") < 0.01


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (768, 1024), (1280, 800)])
async def test_nothing_is_cut_off_sideways(visit: Visit, width: int, height: int) -> None:
    visitor = await visit(settings=TEXT, viewport={"width": width, "height": height})
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await visitor.page.evaluate(over) <= 0
    await visitor.type("one txo three four", delay_ms=40)
    await visitor.state("stored")
    assert await visitor.page.evaluate(over) <= 0


async def test_on_any_phone_every_view_keeps_within_the_margins(visit: Visit) -> None:
    """By finger the header's links are larger; its last button lies no farther out than the text, on any phone."""
    beyond = """
    () => {
      const { paddingRight } = getComputedStyle(document.body);
      const edge = document.body.getBoundingClientRect().right - parseFloat(paddingRight) + 0.5;
      const within = Array.from(document.querySelectorAll(".top *, main:not([hidden]) > :not([hidden])"));
      const out = within.filter((one) => one.getBoundingClientRect().right > edge).map((one) => one.outerHTML);
      const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      return over > 0 ? [over, ...out] : out;
    }
    """
    phone = {"viewport": {"width": 390, "height": 667}, "has_touch": True, "is_mobile": True}
    visitor = await visit(settings={**TEXT, "mode": "zen"}, **phone)
    page = visitor.page

    async def kept() -> None:
        for width in (320, 344, 360, 375, 390, 393, 412):
            await page.set_viewport_size({"width": width, "height": 667})
            await page.wait_for_function("width => document.documentElement.clientWidth === width", arg=width)
            assert await page.evaluate(beyond) == [], (page.url, width)

    for view in ("test", "history", "leaderboards"):
        await page.tap(f"#nav-{view}")
        await page.wait_for_selector(f"#{view}:not([hidden])")
        await kept()
    await page.goto(visitor.url + "race")
    await page.wait_for_selector("#entrance:not([hidden])")
    await kept()
    await page.goto(visitor.url + "docs")
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    await kept()


async def test_with_large_text_everything_still_fits(visit: Visit) -> None:
    """Twice the reader's text size, and the largest size of the passage (WCAG 2.2, 1.4.4)."""
    visitor = await visit(settings={**TEXT, "size": "huge"}, viewport={"width": 800, "height": 900})
    session = await visitor.page.context.new_cdp_session(visitor.page)
    await session.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    assert await visitor.page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await visitor.page.evaluate(over) <= 0
    await visitor.type("one txo three four", delay_ms=40)
    await visitor.state("stored")
    assert await visitor.page.evaluate(over) <= 0


async def test_reduced_motion_is_respected(visit: Visit) -> None:
    visitor = await visit(reduced_motion="reduce")
    durations = await visitor.page.evaluate(
        """[".caret", ".sheet", ".text", ".top"].map(
          (name) => getComputedStyle(document.querySelector(name)).transitionDuration)"""
    )
    assert all(part == "0s" for value in durations for part in value.split(", "))


async def test_without_javascript_a_sentence_says_so(browser: Browser, server: Server) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(server.url)
    assert "needs JavaScript" in await page.inner_text("noscript")
    await context.close()


async def test_the_first_paint_needs_no_script_and_no_other_file_than_ours(visit: Visit) -> None:
    """The shell is in the HTML; every module is announced for loading ahead, and nothing is asked for twice."""
    asked: list[str] = []
    visitor = await visit()
    visitor.page.on("request", lambda request: asked.append(request.url.removeprefix(visitor.url)))
    await visitor.page.reload()
    await visitor.ready()
    html = await visitor.page.evaluate("fetch('/').then((answer) => answer.text())")
    ahead = set(re.findall(r'rel="modulepreload" href="/([^"]+)"', html))
    modules = {name for name in asked if name.endswith(".js")}
    assert modules == ahead | set(re.findall(r'src="/([^"]+)"', html))
    assert len(asked) == len(set(asked)) + 1  # the page itself, fetched above
    assert "style=" not in html
    assert not re.search(r"<script(?![^>]*src=)", html)


async def test_text_is_never_parsed_as_html(visit: Visit) -> None:
    """Trusted types are demanded, so that no code of the page could; and a text full of tags is just typed."""
    text = "<img src=x onerror=alert(1)> <b>bold</b> &amp;"
    visitor = await visit(settings={"mode": "text", "text": text})
    assert await visitor.page.evaluate("document.querySelector('.flow').textContent") == text
    await visitor.type(text)
    await visitor.state("stored")
    refused = await visitor.page.evaluate(
        "() => { try { document.body.innerHTML = '<p>'; return false; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError"
    await visitor.page.wait_for_function("() => window.violations.length")
    await visitor.page.evaluate("window.violations.length = 0")
    visitor.complaints.clear()  # what the lines above were for
