/**
 * What a screen reader is told: one polite live region, spoken to at most once a second, latest wins.
 *
 * @module
 */

import { byId } from "./dom.js";

const PAUSE_MS = 1000;
let timer = 0;
let next = "";

/** @param {string} sentence */
export function announce(sentence) {
  next = sentence;
  if (timer) return;
  speak();
  timer = window.setTimeout(() => {
    timer = 0;
    if (next) speak();
  }, PAUSE_MS);
}

function speak() {
  byId("announcer").textContent = next;
  next = "";
}
