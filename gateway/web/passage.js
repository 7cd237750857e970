/**
 * The text of a test as words of grapheme clusters, from what the server sends. The server tells the boundaries wherever
 * clusters are not single code points, so nothing is segmented here.
 *
 * @module
 */

import { clusters } from "./scoring.js";

/**
 * @param {{text: string, breaks?: number[] | null, word_lengths?: number[] | null, timed?: boolean}} passage `breaks`:
 *   code points of each cluster, none where each has one; `word_lengths`: clusters of each word with its closing space,
 *   none where spaces separate the words; `timed`: the last word has a closing space as well
 * @returns {string[][]} the words, each an array of clusters with its closing space
 */
export function wordsOf({ text, breaks, word_lengths: lengths, timed = false }) {
  if (text === "") return [];
  const points = Array.from(text);
  const parts = breaks ? joined(points, breaks) : points;
  const words = lengths ? cut(parts, lengths) : spaced(parts);
  const last = words[words.length - 1];
  // A text of which the last word lacks its space while it repeats: spaceless scripts have none anywhere.
  if (timed && !lengths && last[last.length - 1] !== " ") last.push(" ");
  return words;
}

/** @param {string[]} points @param {number[]} breaks */
function joined(points, breaks) {
  let at = 0;
  return breaks.map((length) => points.slice(at, (at += length)).join(""));
}

/** @param {string[]} parts @param {number[]} lengths */
function cut(parts, lengths) {
  let at = 0;
  return lengths.map((length) => parts.slice(at, (at += length)));
}

/** @param {string[]} parts */
function spaced(parts) {
  const words = [];
  let start = 0;
  for (let i = 0; i < parts.length; i++) {
    if (parts[i] === " ") {
      words.push(parts.slice(start, i + 1));
      start = i + 1;
    }
  }
  if (start < parts.length) words.push(parts.slice(start));
  return words;
}

/** A word without its closing space. @param {string[]} word */
export function letters(word) {
  return word[word.length - 1] === " " ? word.slice(0, -1) : word;
}

/** Control and format characters, which no text has; two joiners and tags are part of clusters. */
const REFUSED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d\u{e0020}-\u{e007f}])\p{Cf}/u;
const KEY_BYTES = 64;
const encoder = new TextEncoder();

/** What was typed or composed at once, as the keys that the server accepts; others are left out. @param {string} data */
export function keysOf(data) {
  const keys = clusters(data.normalize("NFC").replace(/\s/g, " "));
  return keys.filter((key) => !REFUSED.test(key) && encoder.encode(key).length <= KEY_BYTES && !(key.length > 1 && key.includes(" ")));
}
