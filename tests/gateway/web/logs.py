"""Random tests and logs, of every mode and with every kind of key, and what `scoring` says of them."""

from dataclasses import asdict
from random import Random
from typing import Any

from scoring import Scorer, clusters, prepare

__all__ = ["random_logs"]

TEXTS = {
    "latin": "the quick brown fox jumps over a lazy dog while seven wizards sing it is so",
    "accents": "où est l'été à Noël? déjà vu, el niño, große Straße, naïve café",
    "hangul": "나는 오늘 학교에 가서 친구를 만나고 책을 읽었다",
    "jamo": "각 닭 값 삶",
    "devanagari": "नमस्ते दुनिया यह एक छोटा वाक्य है क्षमा",
    "arabic": "هذا نص قصير للكتابة مع لا شيء",
    "hebrew": "שלום עולם זה משפט קצר",
    "han": "你好世界 今天天气很好 我们去学校",
    "mixed": "go 你好 then 世界 back",
    "kana": "これは テスト です ひらがな",
    "thai": "สวัสดี ชาวโลก",
    "emoji": "hi 👍 ok 👨‍👩‍👧 so 🇩🇪 end",
}
LETTERS = "etaoinshrdlu,.é한字न́̈ाا ä👍ㅏ"
LIMITS_MS = (4000, 15000)
VIRAMA = "\u094d"


def random_logs(count: int, *, seed: int) -> list[dict[str, Any]]:
    """`count` cases: the fields that the page's scorer takes, the log, and the figures that must come out."""
    chance = Random(seed)
    return [_case(chance, kind) for kind in _kinds(count)]


def _kinds(count: int) -> list[str]:
    kinds = ["words", "time", "text", "zen", "timed text", "gave up"]
    return [kinds[i % len(kinds)] for i in range(count)]


def _case(chance: Random, kind: str) -> dict[str, Any]:
    name = chance.choice(list(TEXTS))
    timed = kind in ("time", "timed text")
    parts = TEXTS[name].split(" ")
    text = " ".join(chance.choices(parts, k=chance.randint(1, 12)))
    passage = prepare(text, timed=timed)
    zen = kind == "zen"
    words = () if zen else passage.words
    limit = chance.choice(LIMITS_MS) if timed else None
    cyclic = timed and chance.random() < 0.8
    from_start = kind in ("words", "time") and chance.random() < 0.5
    events = _events(chance, text if zen else passage.text, cyclic=timed)
    if from_start and events:
        events[0] += chance.choice((0, 300, 1000, 2600))
    scorer = Scorer(
        words,
        exact_duration=kind in ("text", "timed text"),
        limit_ms=limit,
        zen=zen,
        cyclic=cyclic,
        from_start=from_start,
    )
    ticks = []
    for i in range(0, len(events), 2):
        scorer.feed(events[i : i + 2])
        ticks.append(scorer.figures())
    gave_up = kind == "gave up" and not scorer.ended
    return {
        "kind": f"{kind}, {name}",
        "passage": {
            "text": "" if zen else passage.text,
            "breaks": None if zen else passage.breaks,
            "word_lengths": None if zen else passage.word_lengths,
            "timed": timed,
        },
        "options": {"limitMs": limit, "zen": zen, "cyclic": cyclic, "fromStart": from_start},
        "events": events,
        "gaveUp": gave_up,
        "exact": kind in ("text", "timed text"),
        "words": [list(word) for word in words],
        "ended": scorer.ended,
        "ticks": ticks,
        "summary": asdict(scorer.summary(gave_up=gave_up)),
    }


def _events(chance: Random, text: str, *, cyclic: bool) -> list[Any]:
    """Somebody types the text, makes mistakes, mends some of them, skips, and goes on too long."""
    slip = chance.choice((0.0, 0.05, 0.2, 0.5))
    pace = chance.choice((40, 150, 400))
    by_code_point = chance.random() < 0.5
    # A conjunct comes as one key: where only its end is left after a delete, `regex` joins more than UAX 29 does.
    pieces = [list(part) if by_code_point and VIRAMA not in part else [part] for part in clusters(text)]
    wanted = [key for piece in pieces for key in piece]
    wanted *= 3 if cyclic else 1
    keys: list[str] = []
    for key in wanted[: chance.randint(1, len(wanted))]:
        roll = chance.random()
        if roll < slip:
            wrong = chance.choice(LETTERS)
            keys += [wrong] * chance.choice((1, 1, 1, 2, 25))
            if chance.random() < 0.5:
                keys += ["\b"] * chance.choice((1, 1, 2, 5))
            elif chance.random() < 0.4:
                keys += ["\x17"] * chance.choice((1, 2))
        elif roll < slip * 1.3:
            keys.append(" ")
        elif roll < slip * 1.5:
            continue
        keys.append(key)
    if chance.random() < 0.3:
        keys += chance.choices(["\b", "\x17", " ", "e"], k=chance.randint(1, 4))
    gaps = [chance.choice((0, 0, 1)) if chance.random() < 0.1 else int(chance.expovariate(1 / pace)) for _ in keys]
    if chance.random() < 0.2 and gaps:
        gaps[chance.randrange(len(gaps))] += 2600
    if chance.random() < 0.1:
        gaps = [gap - gap % 1000 for gap in gaps]  # events exactly on the seconds
    return [part for gap, key in zip(gaps, keys, strict=True) for part in (gap, key)]
