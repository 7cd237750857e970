/**
 * The text that is typed: words with a smooth caret, and marks for what is right, wrong, extra and missed.
 *
 * Marks are custom highlights over whole text nodes, not elements round each letter: a key changes one range and no
 * node, and letters that join or combine keep their shapes in every script. Only a window of words about the caret is
 * in the document. Layout is read and written once a frame, after the key was handled.
 *
 * @module
 */

import { h } from "./dom.js";
import { letters } from "./passage.js";
import { isBeginning } from "./scoring.js";

/** Clusters kept ready after the caret, and added at a time. */
const AHEAD = 400;
/** Lines that may stand above the visible ones before they are taken out. */
const LINES_ABOVE = 6;
/** Visible lines; the caret's line is the second where there is one before it. */
const LEFT_TO_RIGHT = /^[\p{N}A-Za-z]/u;

/** @typedef {"typed" | "wrong" | "missed"} Mark */
/** @typedef {{mark: Mark, from: number, to: number}} Run clusters `from` to `to` */

/**
 * @typedef {object} ShownWord
 * @property {HTMLElement} element
 * @property {Text} text
 * @property {string[]} letters
 * @property {number[]} offsets where each cluster begins in the text node, and its end
 * @property {HTMLElement | null} extra
 * @property {{mark: Mark, range: Range, from: number, to: number}[]} runs
 */

const highlights = typeof Highlight === "function" && CSS.highlights ? new Map() : null;

/** The page's highlight of one name; several views share it. @param {Mark} mark */
function highlight(mark) {
  if (!highlights) return null;
  if (!highlights.has(mark)) {
    highlights.set(mark, new Highlight());
    CSS.highlights.set(mark, highlights.get(mark));
  }
  return /** @type {Highlight} */ (highlights.get(mark));
}

export class TextView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.caret = h("div", { class: "caret", "aria-hidden": "true" });
    this.preedit = h("span", { class: "preedit", hidden: true });
    this.flow = h("div", { class: "flow" });
    this.sheet = h("div", { class: "sheet" }, this.flow, this.caret, this.preedit);
    /** @type {Map<number, ShownWord>} */
    this.shown = new Map();
    /** Words in the document are `first` to `end` − 1. */
    this.first = 0;
    this.end = 0;
    this.offset = 0;
    this.frame = 0;
    /** @type {import("./scoring.js").Scorer | null} */
    this.scorer = null;
    /** What moves with the caret, such as the field that an input method opens its list at. @type {HTMLElement | null} */
    this.follower = null;
    this.rtl = false;
    /** The active word when it was last marked. */
    this.marked = 0;
    new ResizeObserver(() => this.later(true)).observe(root);
  }

  /**
   * Shows a test from its beginning, or from where its scorer stands.
   *
   * @param {import("./scoring.js").Scorer} scorer @param {{language?: string, direction?: string}} [text]
   */
  show(scorer, { language = "en", direction = "ltr" } = {}) {
    // Until there is a text, whatever stands in its place stays.
    if (!this.sheet.isConnected) this.root.replaceChildren(this.sheet);
    this.clear();
    this.scorer = scorer;
    this.rtl = direction === "rtl";
    this.root.lang = language;
    this.root.dir = direction;
    this.root.classList.toggle("zen", scorer.zen);
    this.rewind();
    this.marked = scorer.active;
    this.later(true);
  }

  clear() {
    for (const index of [...this.shown.keys()]) this.remove(index);
    this.flow.replaceChildren();
    this.compose("");
  }

  /** Builds the window anew about the active word. */
  rewind() {
    for (const index of [...this.shown.keys()]) this.remove(index);
    const scorer = /** @type {import("./scoring.js").Scorer} */ (this.scorer);
    this.first = this.end = Math.max(0, scorer.active - 60);
    this.extend();
    for (let index = this.first; index <= scorer.active; index++) this.markWord(index);
  }

  /** Adds words at the end until enough stand ready. */
  extend() {
    const scorer = /** @type {import("./scoring.js").Scorer} */ (this.scorer);
    const added = [];
    let ready = 0;
    for (let index = scorer.active; index < this.end; index++) ready += this.shown.get(index)?.letters.length ?? 0;
    const enough = ready > AHEAD / 2 ? 0 : AHEAD;
    while (ready < enough || this.end <= scorer.active) {
      const target = scorer.zen ? (this.end <= scorer.active ? [] : undefined) : scorer.target(this.end);
      if (target === undefined) break;
      added.push(this.make(this.end, target));
      this.end++;
      ready += target.length;
    }
    if (added.length) this.flow.append(...added);
  }

  /** @param {number} index @param {string[]} target */
  make(index, target) {
    const own = letters(target);
    const text = document.createTextNode(own.join(""));
    const spaced = own.length < target.length || this.scorer?.zen;
    const element = h("span", { class: "w" }, text, spaced ? " " : "");
    const offsets = [0];
    for (const letter of own) offsets.push(offsets[offsets.length - 1] + letter.length);
    this.shown.set(index, { element, text, letters: own, offsets, extra: null, runs: [] });
    return element;
  }

  /** @param {number} index */
  remove(index) {
    const word = this.shown.get(index);
    if (!word) return;
    for (const run of word.runs) highlight(run.mark)?.delete(run.range);
    word.element.remove();
    this.shown.delete(index);
  }

  /** Shows what the last key changed. */
  update() {
    const { active } = /** @type {import("./scoring.js").Scorer} */ (this.scorer);
    if (active < this.first) this.rewind();
    if (this.marked !== active) this.markWord(Math.min(this.marked, active));
    if (active >= this.end) this.extend();
    this.markWord(active);
    this.marked = active;
    this.later();
  }

  /** @param {number} index */
  markWord(index) {
    const word = this.shown.get(index);
    const scorer = /** @type {import("./scoring.js").Scorer} */ (this.scorer);
    if (!word) return;
    const input = scorer.typed[index] ?? [];
    const passed = index < scorer.active;
    if (scorer.zen) {
      const text = letters(input).join("");
      if (word.text.data !== text) {
        word.text.data = text;
        word.letters = letters(input);
        word.offsets = word.letters.reduce((list, c) => [...list, list[list.length - 1] + c.length], [0]);
      }
      return;
    }
    const typed = passed ? letters(input) : input;
    this.setRuns(word, runsOf(typed, word.letters, passed));
    const extra = typed.slice(word.letters.length).join("");
    if (extra || word.extra) this.setExtra(word, extra);
    if (!highlights) {
      // A browser without custom highlights marks whole words.
      word.element.classList.toggle("done", passed);
      word.element.classList.toggle("bad", passed && !scorer.isRight(index));
    }
  }

  /** @param {ShownWord} word @param {string} extra */
  setExtra(word, extra) {
    if (!word.extra) {
      word.extra = h("span", { class: "extra" });
      word.text.after(word.extra);
    }
    if (word.extra.textContent !== extra) word.extra.textContent = extra;
  }

  /** @param {ShownWord} word @param {Run[]} runs */
  setRuns(word, runs) {
    runs.forEach((run, i) => {
      const old = word.runs[i];
      if (old && old.mark === run.mark) {
        if (old.from !== run.from) old.range.setStart(word.text, word.offsets[run.from]);
        if (old.to !== run.to) old.range.setEnd(word.text, word.offsets[run.to]);
        Object.assign(old, run);
        return;
      }
      if (old) highlight(old.mark)?.delete(old.range);
      const range = new Range();
      range.setStart(word.text, word.offsets[run.from]);
      range.setEnd(word.text, word.offsets[run.to]);
      highlight(run.mark)?.add(range);
      word.runs[i] = { ...run, range };
    });
    for (const old of word.runs.splice(runs.length)) highlight(old.mark)?.delete(old.range);
  }

  /** What an input method holds, drawn over the letters that it would become. @param {string} text */
  compose(text) {
    this.preedit.hidden = text === "";
    this.caret.classList.toggle("composing", text !== "");
    this.preedit.textContent = text;
  }

  /** Whether the caret should blink: while nothing is typed. @param {boolean} idle */
  rest(idle) {
    this.caret.classList.toggle("idle", idle);
  }

  /** @param {boolean} [still] without motion: a new text or a new width */
  later(still = false) {
    if (still) this.caret.classList.add("still");
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.scorer) this.place();
    });
  }

  /** Moves the caret and the lines. All reading comes before all writing. */
  place() {
    this.extend();
    const spot = this.spot();
    if (!spot) return;
    const height = parseFloat(getComputedStyle(this.root).lineHeight);
    const line = Math.floor((spot.y + spot.height / 2) / height);
    const gone = line > LINES_ABOVE ? this.linesToDrop(line, height) : null;
    let { y } = spot;
    let offset = Math.max(0, line - 1) * height;
    if (gone) {
      for (let index = this.first; index < gone.word; index++) this.remove(index);
      this.first = gone.word;
      y -= gone.height;
      offset -= gone.height;
      this.sheet.classList.add("still");
      this.caret.classList.add("still");
    }
    this.offset = offset;
    this.sheet.style.transform = `translateY(${-offset}px)`;
    const top = Math.floor((y + spot.height / 2) / height) * height;
    const at = `translate(${Math.round(spot.x * 10) / 10}px, ${top}px)`;
    this.caret.style.transform = at;
    this.preedit.style.transform = this.rtl ? `${at} translateX(-100%)` : at;
    if (this.follower) this.follower.style.transform = `translate(${spot.x}px, ${top - offset}px)`;
    if (this.caret.classList.contains("still")) {
      requestAnimationFrame(() => {
        this.caret.classList.remove("still");
        this.sheet.classList.remove("still");
      });
    }
  }

  /** Where the next character goes, relative to the sheet. */
  spot() {
    const scorer = /** @type {import("./scoring.js").Scorer} */ (this.scorer);
    const word = this.shown.get(scorer.active);
    if (!word) return null;
    const sheet = this.sheet.getBoundingClientRect();
    const typed = scorer.typed[scorer.active];
    let count = typed.length;
    // Of a cluster that is not yet whole only a part is typed: the caret waits before it.
    if (count && count <= word.letters.length && !scorer.zen && isBeginning(typed[count - 1], word.letters[count - 1])) count--;
    const extra = word.extra?.firstChild && word.extra.textContent ? word.extra : null;
    const range = new Range();
    let after = false;
    let letter = "";
    if (extra && count > word.letters.length) {
      range.selectNodeContents(extra);
      after = true;
      letter = /** @type {string} */ (extra.textContent);
    } else if (word.letters.length === 0) {
      range.selectNodeContents(word.element);
      letter = "";
    } else {
      after = count >= word.letters.length;
      const at = after ? word.letters.length - 1 : count;
      letter = word.letters[at];
      range.setStart(word.text, word.offsets[at]);
      range.setEnd(word.text, word.offsets[at + 1]);
    }
    const boxes = range.getClientRects();
    const box = boxes[after ? boxes.length - 1 : 0] ?? word.element.getBoundingClientRect();
    const leftward = this.rtl && !LEFT_TO_RIGHT.test(letter);
    const x = after === leftward ? box.left : box.right;
    return { x: x - sheet.left, y: box.top - sheet.top, height: box.height };
  }

  /** The first word of a line far enough above, and the height of all before it. @param {number} line @param {number} height */
  linesToDrop(line, height) {
    const sheet = this.sheet.getBoundingClientRect();
    for (let index = this.first + 1; index < this.end; index++) {
      const box = /** @type {ShownWord} */ (this.shown.get(index)).element.getClientRects()[0];
      if (!box) continue;
      const at = Math.floor((box.top + box.height / 2 - sheet.top) / height);
      if (at >= line - 1) return null;
      const begins = Math.abs(this.rtl ? sheet.right - box.right : box.left - sheet.left) < 2;
      if (at >= line - 3 && begins) return { word: index, height: at * height };
    }
    return null;
  }
}

/**
 * The marks of a word. @param {string[]} typed @param {string[]} target @param {boolean} passed
 * @returns {Run[]}
 */
export function runsOf(typed, target, passed) {
  /** @type {Run[]} */
  const runs = [];
  for (let i = 0; i < target.length; i++) {
    let mark = /** @type {Mark | null} */ (null);
    if (i < typed.length) mark = typed[i] === target[i] ? "typed" : isBeginning(typed[i], target[i]) && !passed ? null : "wrong";
    else if (passed) mark = "missed";
    const last = runs[runs.length - 1];
    if (mark && last?.mark === mark && last.to === i) last.to = i + 1;
    else if (mark) runs.push({ mark, from: i, to: i + 1 });
  }
  return runs;
}
