"""Random tests and random logs for properties: every kind of text and key, and typists who mostly type on."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from scoring.scorer import Scorer
from scoring.text import Passage, Word, prepare

TOKENS = [
    "a",
    "ab",
    "the",
    "I'm",
    "é",
    "naïve",
    "q̣̇a",
    "नमस्ते",
    "क्षत्रि",
    "กำ",
    "แพง",
    "東京",
    "です。",
    "한글",
    "ᄒᅠ",
    "👨‍👩‍👧",
    "🇩🇪🇫🇷",
    "iPhoneを",
    "x" * 103,
]
"""Words of all kinds: composed and not, with marks, conjuncts, jamo, joiners, flags, without spaces, over-long."""

KEYS = [
    *"abthex'Iq",
    "é",
    "e",
    "\u0301",
    "\u0323",
    "\u0307",
    "न",
    "म",
    "स",
    "\u094d",
    "त",
    "\u0947",
    "क",
    "ष",
    "ก",
    "\u0e33",
    "東",
    "京",
    "で",
]
KEYS += [
    "ᄒ",
    "ᅡ",
    "ᆫ",
    "한",
    "하",
    "👨",
    "\u200d",
    "👩",
    "👧",
    "👨‍👩‍👧",
    "🇩",
    "🇪",
    "🇩🇪",
    "e\u0301",
    "\u0600",
    " ",
    "\u00a0",
    "\u3000",
    "\b",
    "\x17",
]

texts = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=6).flatmap(
    lambda tokens: st.lists(st.sampled_from([" ", " ", " ", ""]), min_size=len(tokens), max_size=len(tokens)).map(
        lambda gaps: "".join(token + gap for token, gap in zip(tokens, gaps, strict=True))
    )
)

gaps = st.sampled_from([0, 1, 40, 90, 150, 150, 210, 333, 500, 999, 1000, 1001, 2600, 8000])


@dataclass(frozen=True)
class Case:
    """A test and what was typed in it."""

    words: tuple[Word, ...]
    options: dict[str, Any]
    events: list[Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A test of any mode with a log, most of whose keys are the one that is due."""
    mode = draw(st.sampled_from(["words", "words", "time", "text", "zen"]))
    options: dict[str, Any] = {}
    passage = Passage("", ())
    if mode == "zen":
        options["zen"] = True
    else:
        passage = prepare(draw(texts), timed=mode == "time")
        if mode == "time":
            options |= {"limit_ms": draw(st.sampled_from([1000, 2500, 15000])), "cyclic": draw(st.booleans())}
    if mode != "time" and draw(st.booleans()):
        options["longest_ms"] = draw(st.sampled_from([3000, 20500]))
    options["exact_duration"] = mode == "text"
    options["from_start"] = draw(st.booleans())
    return Case(passage.words, options, draw(logs(passage.words, options)))


@st.composite
def logs(draw: st.DrawFn, words: tuple[Word, ...], options: dict[str, Any]) -> list[Any]:
    """Flat events for this test; a scorer plays along to say which key is due, and nothing else."""
    scorer = Scorer(words, **options)
    events: list[Any] = []
    for action in draw(st.lists(st.sampled_from("ddddddddddspprrb wm+"), max_size=60)):
        due = scorer.due or "a"
        match action:
            case "d":
                keys = [due]
            case "s":
                keys = ["\u3000" if due == " " else due]
            case "p":
                keys = list(due)  # a cluster by its code points
            case "b":
                keys = ["\b"]
            case "w":
                keys = ["\x17"]
            case " ":
                keys = [" "]
            case "m":
                keys = [draw(st.sampled_from(KEYS))] * draw(st.integers(2, 30))
            case "+":
                keys = ["\u0301"] * draw(st.integers(1, 3))
            case _:
                keys = [draw(st.sampled_from(KEYS))]
        for key in keys:
            events += [draw(gaps) if len(keys) < 5 else 50, key]
            scorer.feed(events, len(events) - 2)
    return events
