"""The page's scorer gives the figures of `scoring`, to the digit."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.gateway.web.conftest import Server
from tests.gateway.web.logs import random_logs

OURS = {
    "v0392": [2, 2, 0, 0, 0],
    "v0393": [2, 2, 0, 0, 0],
    "v0394": [2, 2, 0, 0, 0],
    "v0395": [4, 4, 0, 0, 0],
    "v0396": [2, 2, 0, 0, 0],
}
"""Cases that count code units; Typegate counts clusters of normalised text."""

ANSWER = """
async ({ fn, input }) => {
  const S = await import("/assets/scoring.js");
  if (fn === "roundTo2") return S.roundTo2(input.num);
  if (fn === "kogasa") return S.kogasa(input.cov);
  if (fn === "calculateWpm") return S.wordsPerMinute(input.charCount, input.durationSeconds * 1000);
  if (fn.startsWith("consistency")) {
    const { mean, sd } = S.spread(input.perSecondRawWpm);
    return { consistency: S.evenness(input.perSecondRawWpm), mean, stdDev: sd };
  }
  if (fn === "countChars") {
    const [typed, target] = [input.inputWord, input.targetWord].map((word) => S.clusters(word.normalize("NFC")));
    const c = S.countChars(typed, target, input.creditPartial);
    return [c.allCorrect, c.correctWord, c.incorrect, c.extra, c.missed];
  }
  if (fn === "soukoreff_mackenzie") {
    const rates = S.errorRates({
      presented: [...input.presented], transcribed: [...input.transcribed], keys: [...input.inputStream].length,
      correct: input.C, wrongLeft: input.INF, wrongFixed: input.IF,
    });
    return {
      MSD_error_rate: rates.msd, KSPC: rates.kspc, total_error_rate: rates.total,
      corrected_error_rate: rates.corrected, not_corrected_error_rate: rates.uncorrected,
    };
  }
  const timed = input.mode === "time" || input.customLimitMode === "time";
  const scorer = new S.Scorer(input.targetWords.map((word) => S.clusters(word)), {
    limitMs: timed ? input.endMs : null, zen: input.mode === "zen",
  });
  for (const [t, key] of input.keystrokes) scorer.at(t, key);
  const r = scorer.summary({ endMs: input.endMs, gaveUp: input.bailedOut, exact: input.mode === "custom" });
  const keys = S.keyTimes(input.keystrokes.filter(([, key]) => key !== "\\b"));
  return {
    wpm: r.wpm, rawWpm: r.raw, charStats: r.chars, charTotal: r.total_chars, acc: r.acc,
    accuracyCounts: { correct: r.inserts[0], incorrect: r.inserts[1] }, testDuration: r.seconds,
    afkDuration: r.afk_ms / 1000, consistency: r.consistency, keyConsistency: r.key_consistency,
    wpmConsistency: r.wpm_consistency, chartData: { wpm: r.series.wpm, burst: r.series.burst, err: r.series.err },
    rawHistory: r.series.raw, lastKeyToEnd: input.mode === "zen" ? 0 : S.roundTo2(input.endMs - scorer.lastPressMs),
    startToFirstKey: scorer.pressTimes[0], keyOverlap: keys.overlap, keySpacing: keys.spacing,
    keyDuration: keys.duration, inputHistory: r.input,
  };
}
"""

SCORED = """
async (cases) => {
  const { Scorer } = await import("/assets/scoring.js");
  const { wordsOf } = await import("/assets/passage.js");
  return cases.map(({ passage, options, events, gaveUp, exact }) => {
    const words = options.zen ? [] : wordsOf(passage);
    const scorer = new Scorer(words, options);
    const ticks = [];
    for (let i = 0; i < events.length; i += 2) {
      scorer.key(events[i], events[i + 1]);
      const { wpm, raw, acc, word, cluster, err } = scorer.figures();
      ticks.push([wpm, raw, acc, word, cluster, err]);
    }
    return { words, ended: scorer.ended, ticks, summary: scorer.summary({ gaveUp, exact }) };
  });
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, server: Server) -> AsyncIterator[Page]:
    """A bare page of the server's origin."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(server.url + "assets/icon.svg")
    yield page
    await context.close()


def close(wanted: Any) -> Any:
    """The wanted figures, with a relative 1e-6 where they are not rounded."""
    if isinstance(wanted, dict):
        return {name: close(value) for name, value in wanted.items()}
    return pytest.approx(wanted, rel=1e-6) if isinstance(wanted, float) else wanted


@pytest.mark.reference
async def test_every_case_comes_out_to_the_digit(page: Page, reference_data: Path) -> None:
    vectors = json.loads((reference_data / "vectors" / "scoring.json").read_text())["vectors"]
    assert len(vectors) == 95
    for vector in vectors:
        got = await page.evaluate(ANSWER, {"fn": vector["fn"], "input": vector["input"]})
        wanted = vector["expected"]
        if vector["fn"] == "countChars":
            names = ("allCorrect", "correctWord", "incorrect", "extra", "missed")
            wanted = OURS.get(vector["id"], [wanted[name] for name in names])
        if vector["fn"] == "fullResult":
            for name in ("keySpacing", "keyDuration"):
                assert got.pop(name) == close(wanted.pop(name)), (vector["id"], name)
        rounded = vector["fn"] in ("roundTo2", "calculateWpm", "countChars", "fullResult")
        assert got == (wanted if rounded else close(wanted)), vector["id"]


async def test_a_thousand_random_logs_are_scored_as_the_server_scores_them(page: Page) -> None:
    """After every key the tick's figures agree, and at the end the whole summary: in all modes, with deletes of both
    kinds, extra characters, clusters of many code points, and keys that continue them."""
    cases = random_logs(1000, seed=20261123)
    fields = ("passage", "options", "events", "gaveUp", "exact")
    scored = await page.evaluate(SCORED, [{name: case[name] for name in fields} for case in cases])
    for case, got in zip(cases, scored, strict=True):
        assert got["words"] == case["words"], case["kind"]
        assert got["ticks"] == [list(tick) for tick in case["ticks"]], case["kind"]
        assert got["ended"] == case["ended"], case["kind"]
        wanted = case["summary"]
        counts, inserts = wanted.pop("chars"), wanted.pop("inserts")
        assert got["summary"]["chars"] == [counts[n] for n in ("correct", "incorrect", "extra", "missed")], case["kind"]
        assert got["summary"]["inserts"] == [inserts["correct"], inserts["wrong"]], case["kind"]
        assert {name: got["summary"][name] for name in wanted} == wanted, case["kind"]
