/**
 * Tests that follow from a result: the same text again, and its missed words.
 *
 * @module
 */

import { inputKind } from "./options.js";

/** Repeats of each missed word when they are practised. */
const REPEATS = 3;
const MOST_WORDS = 60;

/** What to ask for to type the same text. @param {Record<string, any>} started @returns {Record<string, unknown>} */
export function sameAgain({ mode, test, text, seconds, language }) {
  const input = inputKind(language);
  if (mode === "quote" && test) return { mode, test, language, input };
  return { mode: "text", text: text.trim(), language, ...(seconds ? { seconds } : {}), input };
}

/** The same for some words. @param {string[]} words @param {string} language @returns {Record<string, unknown>} */
export function practice(words, language) {
  const list = [];
  while (list.length < Math.min(MOST_WORDS, words.length * REPEATS)) list.push(...shuffled(words));
  return { mode: "text", text: list.join(" "), language, input: inputKind(language) };
}

/** @param {string[]} words */
function shuffled(words) {
  const list = [...words];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}
