"""Every way to type: dead keys, input methods, on-screen keyboards; and what is not typing."""

from typing import Any

import pytest
from playwright.async_api import CDPSession

from tests.gateway.web.conftest import Visit, Visitor


def text_of(text: str, language: str = "en") -> dict[str, Any]:
    """Settings for an own text."""
    return {"mode": "text", "text": text, "language": language}


async def cdp(visitor: Visitor) -> CDPSession:
    """What drives an input method as the system would."""
    return await visitor.page.context.new_cdp_session(visitor.page)


async def compose(session: CDPSession, text: str) -> None:
    await session.send(
        "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
    )


def keys(visitor: Visitor) -> list[str]:
    """The keys that the server was sent."""
    return [part for frame in visitor.sent("keys") for part in frame["e"]][1::2]


async def test_hangul_is_composed_and_becomes_keys_when_it_is_committed(visit: Visit) -> None:
    """What is being composed shows over the text; the last syllable needs no further key to end the test."""
    visitor = await visit(settings=text_of("한국 말", "ko"))
    ime = await cdp(visitor)
    for part in ("ㅎ", "하", "한"):
        await compose(ime, part)
    assert await visitor.page.inner_text(".preedit") == "한"
    assert await visitor.marks("typed") == []
    await ime.send("Input.insertText", {"text": "한"})
    await compose(ime, "국")
    await ime.send("Input.insertText", {"text": "국"})
    assert await visitor.page.is_hidden(".preedit")
    await visitor.type(" ")
    assert await visitor.marks("typed") == ["한국"]
    for part in ("ㅁ", "마", "말"):
        await compose(ime, part)
    await visitor.state("stored")
    assert keys(visitor) == ["한", "국", " ", "말"]
    assert visitor.got("result")[0]["chars"] == [4, 0, 0, 0]


async def test_a_composition_that_is_given_up_is_no_key(visit: Visit) -> None:
    visitor = await visit(settings=text_of("ab", "en"))
    ime = await cdp(visitor)
    await compose(ime, "´")
    await compose(ime, "")
    await visitor.type("ab")
    await visitor.state("stored")
    assert keys(visitor) == ["a", "b"]


async def test_a_dead_key_composes_one_letter(visit: Visit) -> None:
    visitor = await visit(settings=text_of("né", "fr"))
    ime = await cdp(visitor)
    await visitor.type("n")
    await compose(ime, "´")
    await ime.send("Input.insertText", {"text": "é"})
    await visitor.state("stored")
    assert keys(visitor) == ["n", "é"]


async def test_letters_of_another_form_are_normalised(visit: Visit) -> None:
    visitor = await visit(settings=text_of("é!"))
    ime = await cdp(visitor)
    await ime.send("Input.insertText", {"text": "e\u0301"})
    await visitor.type("!")
    await visitor.state("stored")
    assert keys(visitor) == ["é", "!"]


async def test_an_on_screen_keyboard_that_composes_words_gives_its_letters_as_they_come(visit: Visit) -> None:
    """Android's keyboards compose each word and tell no keys: every change of the word is followed."""
    visitor = await visit(
        settings=text_of("hello you"), viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    ime = await cdp(visitor)

    async def composed(text: str) -> None:
        down = {"type": "rawKeyDown", "key": "Unidentified", "windowsVirtualKeyCode": 229}
        await ime.send("Input.dispatchKeyEvent", down)
        await compose(ime, text)
        await ime.send("Input.dispatchKeyEvent", {**down, "type": "keyUp"})

    for part in ("h", "he", "hel", "helo", "hel", "hell", "hello"):
        await composed(part)
    assert await visitor.marks("typed") == ["hello"]
    await ime.send("Input.insertText", {"text": "hello"})  # committed
    await ime.send("Input.insertText", {"text": " "})
    for part in ("y", "yo", "you"):
        await composed(part)
    await visitor.state("stored")
    assert "".join(keys(visitor)) == "helo\blo you"
    assert visitor.sent("start")[-1]["input"] == "touch"


async def test_the_field_suits_an_on_screen_keyboard(visit: Visit) -> None:
    """No zoom on focus, nothing corrected, capitalised or suggested; something to delete."""
    visitor = await visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    field = visitor.page.locator("#field")
    assert await field.evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16
    for name, value in {
        "autocorrect": "off",
        "autocapitalize": "none",
        "spellcheck": "false",
        "autocomplete": "off",
    }.items():
        assert await field.get_attribute(name) == value
    assert await field.input_value() == " "
    ime = await cdp(visitor)
    text = await visitor.typed_text()
    await ime.send("Input.insertText", {"text": text[0]})
    await field.evaluate(
        """field => field.dispatchEvent(
          new InputEvent("beforeinput", { inputType: "deleteContentBackward", cancelable: true }))"""
    )
    await visitor.until(lambda: keys(visitor) == [text[0], "\b"])


@pytest.mark.parametrize("way", ["paste", "drop", "insertFromPaste", "insertReplacementText"])
async def test_what_was_not_typed_is_refused_with_a_quiet_note(visit: Visit, way: str) -> None:
    visitor = await visit(settings=text_of("some text"))
    await visitor.type("s")
    prevented = await visitor.page.evaluate(
        """(way) => {
          const field = document.getElementById("field");
          const data = new DataTransfer();
          data.setData("text/plain", "ome text");
          const event =
            way === "paste" ? new ClipboardEvent("paste", { clipboardData: data, cancelable: true, bubbles: true })
            : way === "drop" ? new DragEvent("drop", { dataTransfer: data, cancelable: true, bubbles: true })
            : new InputEvent("beforeinput", { inputType: way, data: "ome text", cancelable: true, bubbles: true });
          field.dispatchEvent(event);
          return event.defaultPrevented;
        }""",
        way,
    )
    assert prevented
    await visitor.notice("pasted")
    assert await visitor.marks("typed") == ["s"]


async def test_pasting_with_the_keyboard_types_nothing(visit: Visit) -> None:
    visitor = await visit(settings=text_of("some text"), permissions=["clipboard-read", "clipboard-write"])
    await visitor.page.evaluate("navigator.clipboard.writeText('some text')")
    await visitor.page.keyboard.press("Control+v")
    await visitor.notice("pasted")
    assert await visitor.page.is_visible("#test")
    assert keys(visitor) == []


async def test_caps_lock_is_told(visit: Visit) -> None:
    visitor = await visit()
    press = """(on) => document.getElementById("field").dispatchEvent(
      new KeyboardEvent("keydown", { key: "Shift", code: "ShiftLeft", modifierCapsLock: on }))"""
    assert await visitor.page.is_hidden("#caps")
    await visitor.page.evaluate(press, True)
    assert await visitor.page.inner_text("#caps") == "Caps Lock is on"
    await visitor.page.evaluate(press, False)
    assert await visitor.page.is_hidden("#caps")


async def test_a_key_held_down_is_typed_once_but_deletes_go_on(visit: Visit) -> None:
    visitor = await visit(settings=text_of("aaa bbb"))
    await visitor.type("aaa b")
    for key in ("b", "b", "b", "Backspace", "Backspace"):
        await visitor.page.keyboard.down(key)  # again without a release: the system's repeat
    await visitor.until(lambda: "".join(keys(visitor)) == "aaa bb\b\b")


async def test_without_the_focus_the_text_is_veiled_and_any_key_brings_it_back(visit: Visit) -> None:
    """Before the test the key is typed; in its middle only if it is the right one."""
    visitor = await visit(settings=text_of("some text"))
    for typed, key in (("", "s"), ("s", "x"), ("s", "o")):
        await visitor.page.evaluate("document.activeElement.blur()")
        assert await visitor.page.is_visible("#unfocused")
        await visitor.page.keyboard.press(key)
        assert await visitor.page.is_hidden("#unfocused")
        wanted = typed + key if key != "x" else typed
        assert "".join(await visitor.marks("typed")) == wanted
        assert await visitor.marks("wrong") == []


async def test_a_click_on_the_veil_brings_the_text_back(visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.evaluate("document.activeElement.blur()")
    await visitor.page.click("#unfocused")
    assert await visitor.page.evaluate("document.activeElement.id") == "field"


async def test_characters_that_no_text_has_are_not_sent(visit: Visit) -> None:
    """A zero-width space or a control character would break the protocol."""
    visitor = await visit(settings=text_of("ab"))
    ime = await cdp(visitor)
    await ime.send("Input.insertText", {"text": "a\u200b"})
    await ime.send("Input.insertText", {"text": "\u2060b"})
    await visitor.state("stored")
    assert keys(visitor) == ["a", "b"]


async def test_korean_words_are_not_parted_at_a_lines_end(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "words", "count": 50, "language": "ko"})
    lines = await visitor.page.evaluate(
        """[...document.querySelectorAll(".flow .w")].map((word) => {
          const range = new Range();
          range.selectNodeContents(word.firstChild);
          return range.getClientRects().length;
        })"""
    )
    assert set(lines) == {1}


@pytest.mark.parametrize(
    ("language", "text", "start"),
    [("ar", "هذا كتاب", "right"), ("hi", "क्षमा करें", "left"), ("ko", "한국 말", "left"), ("en", "今天 好", "left")],
)
async def test_scripts_keep_their_shapes_and_the_caret_its_place(
    visit: Visit, language: str, text: str, start: str
) -> None:
    """Each word stays one text node, so letters join; the caret stands at the next letter's beginning."""
    visitor = await visit(settings=text_of(text, language))
    shown = await visitor.page.evaluate("document.querySelector('.flow').textContent.trimEnd()")
    assert shown == text
    pieces = await visitor.page.evaluate(
        "[...document.querySelectorAll('.flow .w')].map((w) => w.firstChild.nodeType === Node.TEXT_NODE)"
    )
    assert all(pieces)
    ime = await cdp(visitor)
    places = []
    for key in [None, *visitor.got("started")[-1]["text"].split(" ")[0]]:
        if key:
            await ime.send("Input.insertText", {"text": key})
        await visitor.still()
        box = await visitor.page.locator(".caret").bounding_box()
        assert box is not None
        places.append(box["x"])
    assert places == sorted(places, reverse=start == "right")
    assert places[0] != places[-1]
