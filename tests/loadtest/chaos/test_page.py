"""The report in a browser: no complaint, nothing cut off on a phone, and the cursor moves by keys."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from loadtest.chaos.report import page

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed"),
]


def facts(seconds: int = 60) -> dict[str, Any]:
    """A run in which little happened."""
    times = {"n": 4, "p50": 1.0, "p99": 20.5, "p99_9": 30.0, "max": 31.0}
    moment = {"typing": 20, "away": 0, "events": 60.0, "accepted": 1.0, "stored": 1.0, "reconnects": 0.0}
    fault = {"part": "node-1 → kafka", "sort": "way", "kind": "cut", "words": "cut for 3.0 s", "trouble": None}
    return {
        "seed": 7,
        "began": "2026-11-26 12:00",
        "command": "python -m loadtest.chaos --seed 7 # <b>",
        "options": {"typists": 20},
        "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 24},
        "calm_s": 40.0,
        "settled_s": float(seconds),
        "faults": [
            fault | {"begun_s": 10.0, "ended_s": 13.0, "well_s": 15.0},
            fault
            | {"part": "node-1", "sort": "node", "kind": "kill", "begun_s": 30.0, "ended_s": 33.0, "well_s": None},
        ],
        "parts": {"node-1": "node", "node-1 → kafka": "way"},
        "moments": [
            moment | {"at_s": at, "tick_age_p99_ms": None if at == 31 else 900, "spooled": at % 7}
            for at in range(seconds)
        ],
        "people": {
            **dict.fromkeys(("started", "accepted", "stored", "raced", "races", "events"), 3),
            **dict.fromkeys(("reconnects", "resumed", "resent_events"), 2),
            **{"errors": {"closed 1006": 2}, "verdicts": {"ok": 3}, "given_up": {}},
            **{"times_ms": {"to_stored": times}, "late_ms": times},
        },
        "checks": [
            {"law": "Every result is there", "holds": True, "found": "3 of 3"},
            {"law": "... exactly once", "holds": False, "found": "x" * 300},
        ],
    }


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
async def test_it_is_readable_and_moves_by_keys(tmp_path: Path, width: int, scheme: Any) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(facts()), encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            context = await browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            tab = await context.new_page()
            complaints: list[str] = []
            tab.on("pageerror", lambda fault: complaints.append(str(fault)))
            tab.on("console", lambda message: complaints.append(message.text))
            await tab.goto(file.as_uri())
            assert await tab.inner_text("#verdict") == "✗ 1 of 2 do not hold"
            assert await tab.inner_text("#command") == facts()["command"]
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width
            await tab.focus("#figure")
            await tab.keyboard.press("n")
            assert "0:10" in await tab.inner_text("#readout")
            assert "node-1 → kafka: cut for 3.0 s" in await tab.inner_text("#readout")
            for key in ("n", "ArrowRight", "Shift+ArrowRight"):
                await tab.keyboard.press(key)
            assert "0:41" in await tab.inner_text("#readout")
            assert await tab.locator("svg [data-fault]").count() == 2
            assert complaints == []
        finally:
            await browser.close()
