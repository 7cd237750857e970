/**
 * Errors by key, on a picture of the visitor's own keyboard: which character each physical key gives is learned from
 * what was typed in the language, so that any layout shows as it is; until then it is the US one. Characters
 * that no single key gives are listed beside it; the whole is there as a table too.
 *
 * @module
 */

import { h } from "./dom.js";
import { fixed } from "./figures.js";
import { Scorer, wordsPerMinute } from "./scoring.js";

/** Physical rows (UI Events codes) with the characters of a US keyboard. */
const ROWS = [
  ["Backquote `", "Digit1 1", "Digit2 2", "Digit3 3", "Digit4 4", "Digit5 5", "Digit6 6", "Digit7 7", "Digit8 8", "Digit9 9", "Digit0 0", "Minus -", "Equal ="],
  ["KeyQ q", "KeyW w", "KeyE e", "KeyR r", "KeyT t", "KeyY y", "KeyU u", "KeyI i", "KeyO o", "KeyP p", "BracketLeft [", "BracketRight ]", "Backslash \\"],
  ["KeyA a", "KeyS s", "KeyD d", "KeyF f", "KeyG g", "KeyH h", "KeyJ j", "KeyK k", "KeyL l", "Semicolon ;", "Quote '"],
  ["IntlBackslash", "KeyZ z", "KeyX x", "KeyC c", "KeyV v", "KeyB b", "KeyN n", "KeyM m", "Comma ,", "Period .", "Slash /"],
].map((row) =>
  row.map((entry) => {
    const [, code, key] = /** @type {RegExpMatchArray} */ (entry.match(/^([A-Za-z]+\d?)\s?(.*)$/));
    return { code, key };
  }),
);
/** Shares of wrong presses at which a key's colour changes. */
const LOW = 0.05;
const MID = 0.15;
/** Characters a US keyboard gives with Shift, by the key that gives them. */
const SHIFTED = new Map(Array.from('~!@#$%^&*()_+{}|:"<>?', (c, i) => [c, "`1234567890-=[]\\;',./"[i]]));

/**
 * Presses, errors and mean gap of each wanted character.
 *
 * @param {import("./scoring.js").Word[]} words
 * @param {{limitMs: number | null, cyclic: boolean, zen: boolean, fromStart?: boolean}} options @param {(number | string)[]} events
 * @returns {Map<string, {presses: number, errors: number, gapMs: number, gaps: number}>}
 */
export function keyFigures(words, options, events) {
  const scorer = new Scorer(words, options);
  const keys = new Map();
  let since = 0;
  for (let i = 0; i < events.length; i += 2) {
    const dt = Number(events[i]);
    const key = String(events[i + 1]);
    since += dt;
    const wanted = options.zen ? key : scorer.target(scorer.active)?.[scorer.typed[scorer.active].length];
    const wrong = scorer.wrongInserts;
    const correct = scorer.correctInserts;
    scorer.key(dt, key);
    const isInsert = scorer.wrongInserts > wrong || scorer.correctInserts > correct;
    if (isInsert && wanted !== undefined) {
      const entry = keys.get(wanted) ?? { presses: 0, errors: 0, gapMs: 0, gaps: 0 };
      entry.presses++;
      if (scorer.wrongInserts > wrong) entry.errors++;
      if (i > 0) {
        entry.gapMs += since;
        entry.gaps++;
      }
      keys.set(wanted, entry);
    }
    since = 0;
  }
  return keys;
}

/**
 * @param {ReturnType<typeof keyFigures>} figures @param {Record<string, string>} learned characters by physical key
 */
export function keyboardPicture(figures, learned) {
  const rows = ROWS.map((row) => row.map(({ code, key }) => ({ code, key: learned[code] ?? key })));
  const codes = new Map(rows.flat().map(({ code, key }) => [key, code]));
  codes.set(" ", "Space");
  /** @type {Map<string, {presses: number, errors: number}>} */
  const byCode = new Map();
  /** @type {[string, {presses: number, errors: number}][]} */
  const others = [];
  for (const [character, entry] of figures) {
    const code = codes.get(character) ?? codes.get(character.toLowerCase()) ?? codes.get(SHIFTED.get(character) ?? "");
    if (code === undefined) {
      others.push([character, entry]);
      continue;
    }
    const sum = byCode.get(code) ?? { presses: 0, errors: 0 };
    byCode.set(code, { presses: sum.presses + entry.presses, errors: sum.errors + entry.errors });
  }
  const board = h(
    "div",
    { class: "keyboard", "aria-hidden": "true" },
    ...rows.map((row, i) => h("div", { class: `row row-${i}` }, ...row.filter(({ key }) => key).map(({ code, key }) => keyCap(key, byCode.get(code))))),
    h("div", { class: "row row-4" }, keyCap("space", byCode.get("Space"), "wide")),
  );
  const chips = others
    .filter(([, { errors }]) => errors > 0)
    .sort((a, b) => b[1].errors - a[1].errors)
    .slice(0, 24)
    .map(([character, entry]) => keyCap(character, entry));
  return h(
    "div",
    { class: "keys" },
    board,
    legend(),
    chips.length ? h("div", { class: "row others", "aria-hidden": "true" }, ...chips) : null,
    keyTable(figures),
  );
}

/** What the colours say. */
function legend() {
  const entry = (/** @type {string} */ heat, /** @type {string} */ text) => h("span", {}, h("i", { class: "cap", "data-heat": heat }), text);
  return h(
    "p",
    { class: "heats quiet", "aria-hidden": "true" },
    entry("good", "no errors"),
    entry("low", `under ${100 * LOW} %`),
    entry("mid", `under ${100 * MID} %`),
    entry("high", "more"),
  );
}

/** @param {string} label @param {{presses: number, errors: number} | undefined} entry @param {string} [className] */
function keyCap(label, entry, className = "") {
  const rate = entry?.presses ? entry.errors / entry.presses : 0;
  const heat = !entry ? "none" : rate === 0 ? "good" : rate < LOW ? "low" : rate < MID ? "mid" : "high";
  const title = entry ? `${label}: ${entry.errors} of ${entry.presses} wrong` : label;
  return h("span", { class: `cap ${className}`.trim(), "data-heat": heat, title }, label, entry?.errors ? h("small", {}, entry.errors) : null);
}

/** @param {ReturnType<typeof keyFigures>} figures */
function keyTable(figures) {
  const rows = [...figures]
    .sort((a, b) => b[1].errors / b[1].presses - a[1].errors / a[1].presses || b[1].presses - a[1].presses)
    .map(([key, { presses, errors, gapMs, gaps }]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, key === " " ? "space" : key),
        h("td", {}, presses),
        h("td", {}, errors),
        h("td", {}, `${fixed((100 * errors) / presses, 0)}%`),
        h("td", {}, gaps ? `${fixed(gapMs / gaps, 0)} ms` : "–"),
        h("td", {}, gaps ? fixed(wordsPerMinute(1, gapMs / gaps), 0) : "–"),
      ),
    );
  const names = ["key", "typed", "wrong", "rate", "mean gap", "wpm"].map((name) => h("th", { scope: "col" }, name));
  return h(
    "details",
    { class: "as-table" },
    h("summary", {}, "as a table"),
    h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "unseen" }, "Errors by key"), h("thead", {}, h("tr", {}, ...names)), h("tbody", {}, ...rows))),
  );
}
