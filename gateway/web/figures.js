/**
 * Every figure of a result: its name, how it is written, and what it means. Shown as a term whose explanation appears
 * on hover and on focus, and goes with Esc.
 *
 * @module
 */

import { h } from "./dom.js";

/** Halves up, to `digits`. @param {number} x @param {number} digits */
export function fixed(x, digits = 0) {
  return Number(x ?? 0).toFixed(digits);
}

/** Never more than it is: 99.96 % are not yet 100. @param {number} x @param {number} digits */
export function percent(x, digits = 0) {
  return `${fixed(Math.floor(Number(x ?? 0) * 10 ** digits + 1e-9) / 10 ** digits, digits)}%`;
}

/** @param {number} ms */
export function seconds(ms) {
  const s = Math.round(ms / 100) / 10;
  return s < 60 ? `${Number.isInteger(s) ? s : s.toFixed(1)} s` : `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")} min`;
}

/** @param {Record<string, any>} result */
export function testName(result) {
  const { mode, seconds: limit, count, title } = result;
  const also = [result.punctuation && "punctuation", result.numbers && "numbers"].filter(Boolean);
  const name = mode === "time" ? `time ${limit}` : mode === "words" ? `words ${count}` : mode === "quote" ? `quote${title ? `: ${title}` : ""}` : mode === "text" ? `own text${limit ? `, ${limit} s` : ""}` : String(mode ?? "");
  return [name, ...also].join(", ");
}

/** What a result may be compared with: others of the same mode, length and language. @param {Record<string, any>} result */
export function kindOf({ mode, seconds: limit, count, language }) {
  const length = mode === "time" ? ` ${limit}` : mode === "words" ? ` ${count}` : "";
  return `${mode === "text" ? "own text" : mode}${length}${language && language !== "en" ? `, ${language}` : ""}`;
}

/** @type {Record<string, {name: string, means: string, text: (r: Record<string, any>) => string}>} */
export const FIGURES = {
  wpm: {
    name: "wpm",
    means: "Words per minute: the characters of correctly typed words, with their spaces, divided by five and by the minutes. A word with a mistake left in it counts nothing.",
    text: (r) => fixed(r.wpm, 0),
  },
  acc: {
    name: "accuracy",
    means: "Correct characters among all that you typed. A mistake counts here also when you mended it.",
    text: (r) => percent(r.acc),
  },
  raw: {
    name: "raw wpm",
    means: "Speed of everything you typed that stands in the text: correct, incorrect and extra characters.",
    text: (r) => fixed(r.raw, 0),
  },
  consistency: {
    name: "consistency",
    means: "How even your speed was from second to second: 100 % is perfectly even.",
    text: (r) => `${fixed(r.consistency, 0)}%`,
  },
  key_consistency: {
    name: "key rhythm",
    means: "How even the gaps between single keys were. Good typists reach about 50 %; a metronome has 100 %.",
    text: (r) => `${fixed(r.key_consistency, 0)}%`,
  },
  chars: {
    name: "characters",
    means: "Correct, incorrect, extra and missed characters as they stood at the end. Correct counts only correct words.",
    text: (r) => (r.chars ?? []).join("/"),
  },
  time: {
    name: "time",
    means: "From your first key to the end of the test; in a race, from its start.",
    text: (r) => seconds(r.duration_ms ?? 0),
  },
  afk: {
    name: "idle",
    means: "Whole seconds in which you pressed no key.",
    text: (r) => seconds(r.afk_ms ?? 0),
  },
};

const VERDICTS = {
  ok: { name: "typed by hand", means: "Rhythm and clock of this test are those of a person at a keyboard." },
  review: {
    name: "Under review",
    means: "Something in the rhythm or the clock of this test is unusual. It counts for you, and is looked at before it could count among others.",
  },
  void: { name: "Does not count", means: "Several things in this test do not occur when people type. It stays in your history, but counts nowhere." },
};

/** What is held against whom, in words. @type {Record<string, string>} */
const REASONS = {
  peak_keys_per_s: "keys per second, in the fastest five seconds",
  keys_per_s: "keys per second, over the whole test",
  fastest_ten_ms: "milliseconds that the ten fastest keys took",
  joined_share: "share of keys that came together with the one before",
  gap_variation: "how much the gaps between keys vary",
  gap_skew: "how far the gaps lean towards long ones, as people's do",
  gap_core_skew: "how far the gaps lean towards long ones, without the longest and the shortest",
  same_gap_share: "share of gaps that are equal",
  order: "how far the rhythm follows the letters and the moment, as people's does",
  hold_variation: "how much the time varies that keys are held",
  drift_ms: "milliseconds that your clock and the server's went apart",
};

let serial = 0;

/**
 * A term with its explanation.
 *
 * @param {string} name @param {string} means
 * @returns {HTMLElement}
 */
export function term(name, means) {
  const id = `means-${++serial}`;
  const tip = h("span", { class: "tip", role: "tooltip", id }, means);
  const button = h("button", { type: "button", class: "term", "aria-describedby": id }, name);
  const box = h("span", { class: "explained" }, button, tip);
  const place = () => {
    box.classList.remove("dismissed");
    tip.style.translate = "0";
    const { left, right } = tip.getBoundingClientRect();
    const most = document.documentElement.clientWidth - 8;
    tip.style.translate = `${right > most ? most - right : left < 8 ? 8 - left : 0}px`;
  };
  box.addEventListener("pointerenter", place);
  button.addEventListener("focus", place);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") box.classList.add("dismissed");
  });
  return box;
}

/** @param {string} key @param {Record<string, any>} result @param {string} [className] */
export function figure(key, result, className = "") {
  const { name, means, text } = FIGURES[key];
  return h("div", { class: `figure-box ${className}`.trim(), "data-figure": key }, h("dt", {}, term(name, means)), h("dd", {}, text(result)));
}

/** What is said of a doubtful result in a list; "" of any other. @param {Record<string, any>} result */
export function doubt({ verdict: value }) {
  return value === "ok" ? "" : (VERDICTS[/** @type {keyof typeof VERDICTS} */ (value)]?.name.toLowerCase() ?? "");
}

/** The verdict with what it means and, where the server said, why. @param {Record<string, any>} result */
export function verdict(result) {
  const known = VERDICTS[/** @type {keyof typeof VERDICTS} */ (result.verdict)];
  if (!known) return null;
  if (result.verdict === "ok") return h("div", { class: "verdict" }, term(known.name, known.means));
  const reasons = (result.reasons ?? []).map((/** @type {any} */ reason) => h("li", {}, reasonText(reason)));
  return h("div", { class: "verdict doubtful" }, h("b", {}, known.name), h("p", {}, known.means), reasons.length ? h("ul", {}, ...reasons) : null);
}

/** @param {{name: string, value: number, threshold: number}} reason */
function reasonText({ name, value, threshold }) {
  if (name === "conflict") return "the keys sent in differ from those that the server saw";
  return `${REASONS[name] ?? name.replaceAll("_", " ")}: ${fixed(value, 2)} (usual limit ${fixed(threshold, 2)})`;
}
