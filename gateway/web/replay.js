/**
 * A test as it was typed: the log played into a fresh scorer, at its own speed, with pause and seeking.
 *
 * @module
 */

import { h, say } from "./dom.js";
import { percent, seconds } from "./figures.js";
import { Scorer } from "./scoring.js";
import { TextView } from "./text-view.js";

/** Before the first key, which is at 0. */
const BEFORE = -1;

export class Replay {
  /**
   * @param {import("./scoring.js").Word[]} words
   * @param {{limitMs: number | null, cyclic: boolean, zen: boolean, fromStart?: boolean}} options
   * @param {(number | string)[]} events
   * @param {{language?: string, direction?: string}} text
   */
  constructor(words, options, events, text) {
    this.words = words;
    this.options = options;
    this.events = events;
    this.text = text;
    let t = 0;
    /** Time of each event in the test (ms). */
    this.times = Array.from({ length: events.length / 2 }, (_, i) => (t += i || options.fromStart ? Number(events[2 * i]) : 0));
    this.endMs = this.times.length ? this.times[this.times.length - 1] : 0;
    this.next = 0;
    this.now = 0;
    this.rate = 1;
    this.frame = 0;
    this.scorer = new Scorer(words, options);

    const root = h("div", { class: "text", "aria-hidden": "true" });
    this.play = h("button", { type: "button", class: "play", onclick: () => this.toggle() }, "Play");
    this.seek = /** @type {HTMLInputElement} */ (
      h("input", { type: "range", min: 0, max: Math.ceil(this.endMs), step: 50, value: 0, "aria-label": "Time in the replay", oninput: () => this.onSeek() })
    );
    this.clock = h("span", { class: "clock" });
    const rate = h("select", { "aria-label": "Speed of the replay" }, ...["0.5", "1", "2", "4"].map((value) => h("option", { value, selected: value === "1" }, `${value}×`)));
    rate.addEventListener("change", () => (this.rate = Number(/** @type {HTMLSelectElement} */ (rate).value)));
    this.element = h("div", { class: "replay" }, h("div", { class: "page" }, root), h("div", { class: "controls" }, this.play, this.seek, this.clock, rate));
    this.view = new TextView(root);
    this.to(BEFORE);
  }

  toggle() {
    if (this.frame) this.pause();
    else this.start();
  }

  start() {
    if (this.next >= this.times.length) this.to(BEFORE);
    say(this.play, "Pause");
    let before = performance.now();
    const step = (/** @type {number} */ at) => {
      if (!this.element.isConnected) return this.pause();
      this.forward(this.now + (at - before) * this.rate);
      before = at;
      if (this.next >= this.times.length) this.pause();
      else this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  pause() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    say(this.play, this.next >= this.times.length ? "Play again" : "Play");
  }

  onSeek() {
    this.to(Number(this.seek.value));
    if (!this.frame) this.pause();
  }

  /** Shows how it stood at a time. @param {number} ms */
  to(ms) {
    if (ms < this.now || this.next === 0) {
      this.scorer = new Scorer(this.words, this.options);
      this.next = 0;
      this.feed(ms);
      this.view.show(this.scorer, this.text);
      this.after(ms);
    } else {
      this.forward(ms);
    }
  }

  /** @param {number} ms */
  forward(ms) {
    const to = Math.min(ms, this.endMs);
    const word = this.scorer.active;
    if (this.feed(to)) {
      if (Math.abs(this.scorer.active - word) > 1) this.view.rewind();
      this.view.update();
    }
    this.after(to);
  }

  /** @param {number} ms @returns {boolean} whether anything happened */
  feed(ms) {
    const from = this.next;
    while (this.next < this.times.length && this.times[this.next] <= ms) {
      this.scorer.key(Number(this.events[2 * this.next]), String(this.events[2 * this.next + 1]));
      this.next++;
    }
    return this.next > from;
  }

  /** @param {number} ms */
  after(ms) {
    this.now = ms;
    this.seek.value = String(Math.max(0, ms));
    this.seek.setAttribute("aria-valuetext", `${seconds(ms)} of ${seconds(this.endMs)}`);
    const { wpm, acc } = this.scorer.figures();
    say(this.clock, `${(Math.max(0, ms) / 1000).toFixed(1)} s · ${Math.round(wpm)} wpm · ${percent(acc)}`);
  }
}
