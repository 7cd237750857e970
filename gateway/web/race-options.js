/**
 * How the visitor races: name, and what a race of one's own is like; remembered in localStorage.
 *
 * @module
 */

import { settings } from "./settings.js";

const KEY = "typegate.race";
const DEFAULTS = {
  name: "",
  mode: "quote",
  difficulty: "",
  count: 25,
  seconds: 30,
  punctuation: false,
  numbers: false,
  public: false,
  racers: 5,
  language: settings.language,
};

/** @typedef {typeof DEFAULTS} RaceChoices */

/** @type {RaceChoices} */
export const choices = { ...DEFAULTS, ...stored() };

/** @returns {Partial<RaceChoices>} */
function stored() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null") ?? {};
    return Object.fromEntries(Object.entries(kept).filter(([name, value]) => typeof value === typeof (/** @type {any} */ (DEFAULTS)[name])));
  } catch {
    return {}; // no storage, or not ours
  }
}

/** @param {Partial<RaceChoices>} changes */
export function choose(changes) {
  Object.assign(choices, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(choices));
  } catch {
    // they hold until the page is left
  }
}

/** The fields of `race.create`. @returns {Record<string, unknown>} */
export function createOptions() {
  const { mode, difficulty, count, seconds, punctuation, numbers, language, racers } = choices;
  const text = mode === "quote" ? (difficulty ? { difficulty } : {}) : { ...(mode === "words" ? { count } : { seconds }), punctuation, numbers };
  return { mode, ...text, language, racers, public: choices.public };
}
