/**
 * Every way in which text can be typed, as keys: hardware keyboards, dead keys, input methods, on-screen keyboards and
 * dictation end in a hidden text field, whose events become single clusters and deletes with the time of their press.
 *
 * The field itself always stands empty but for one space, which on-screen keyboards need so that they have something to
 * delete. What is being composed is shown by the page and becomes keys when it is committed; an on-screen keyboard that
 * composes whole words of a letter script gives its keys as they come.
 *
 * @module
 */

import { DELETE_ONE, DELETE_WORD } from "./scoring.js";
import { keysOf } from "./passage.js";

const SENTINEL = " ";
/** Scripts in which what is composed is not yet what is meant. */
const COMPOSED = /[\p{Script=Hangul}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}]/u;
const LETTERS = /^[\p{L}\p{M}\p{N}\p{P} ]*$/u;

const REFUSED = new Set(["insertFromPaste", "insertFromPasteAsQuotation", "insertFromDrop", "insertFromYank", "insertReplacementText"]);
const DELETES = new Map([
  ["deleteContentBackward", DELETE_ONE],
  ["deleteContent", DELETE_ONE],
  ["deleteWordBackward", DELETE_WORD],
  ["deleteSoftLineBackward", DELETE_WORD],
  ["deleteHardLineBackward", DELETE_WORD],
]);

/**
 * @typedef {object} InputListener
 * @property {(key: string, at: number) => number} key a key with the time of its press; gives its event's number, or −1
 *   where nothing is being typed
 * @property {(event: number, ms: number) => void} held how long an event's key was down
 * @property {(text: string) => void} composing what is being composed, "" when it is over
 * @property {(text: string) => boolean} completes whether composing this much would complete the test
 * @property {() => void} refused something was to be inserted that was not typed
 * @property {(on: boolean) => void} capsLock
 * @property {(code: string, key: string) => void} learned which character a physical key gives
 */

export class TypingInput {
  /** @param {HTMLTextAreaElement} field @param {InputListener} listener */
  constructor(field, listener) {
    this.field = field;
    this.listener = listener;
    /** Time of the press that the next input belongs to, or 0. */
    this.pressedAt = 0;
    this.pressedCode = "";
    /** Keys that are down: their event and press time. @type {Map<string, {event: number, at: number}>} */
    this.down = new Map();
    this.live = false;
    this.composed = "";
    this.committed = "";
    this.reset();
    field.addEventListener("keydown", (event) => this.onKeyDown(event));
    field.addEventListener("keyup", (event) => this.onKeyUp(event));
    field.addEventListener("beforeinput", (event) => this.onBeforeInput(/** @type {InputEvent} */ (event)));
    field.addEventListener("input", (event) => this.onInput(/** @type {InputEvent} */ (event)));
    field.addEventListener("compositionstart", () => this.onCompositionStart());
    field.addEventListener("compositionupdate", (event) => this.onComposition(event.data, event.timeStamp));
    field.addEventListener("compositionend", (event) => this.onCompositionEnd(event));
    for (const name of ["paste", "drop"]) field.addEventListener(name, (event) => this.refuse(event));
    field.addEventListener("blur", () => this.down.clear());
    addEventListener("mousedown", (event) => this.listener.capsLock(event.getModifierState("CapsLock")));
  }

  /** Empties the field and ends any composition. */
  reset() {
    if (this.composed && document.activeElement === this.field) {
      this.field.blur();
      this.field.focus({ preventScroll: true });
    }
    this.composed = "";
    this.committed = "";
    this.field.value = SENTINEL;
    this.field.setSelectionRange(1, 1);
  }

  /** @param {KeyboardEvent} event */
  onKeyDown(event) {
    this.listener.capsLock(event.getModifierState("CapsLock"));
    const typing = event.key.length === 1 || event.key === "Dead" || event.key === "Process" || event.key === "Unidentified";
    this.pressedAt = typing ? event.timeStamp : 0;
    this.pressedCode = typing || event.key === "Backspace" ? event.code : "";
    // "Unidentified" is what on-screen keyboards send; a desktop's input method says "Process".
    this.live = event.key === "Unidentified";
    if (event.isComposing) return;
    if (event.key === "Backspace") {
      event.preventDefault();
      this.emit(event.ctrlKey || event.altKey || event.metaKey ? DELETE_WORD : DELETE_ONE, event.timeStamp);
      return;
    }
    // A character that a key gives while it stays down was typed once.
    if (event.repeat && event.key.length === 1) event.preventDefault();
    const plain = !["Control", "Meta", "Alt", "AltGraph", "Shift", "CapsLock"].some((name) => event.getModifierState(name));
    if (event.key.length === 1 && plain && event.key === event.key.toLowerCase()) {
      this.listener.learned(event.code, event.key);
    }
  }

  /** @param {KeyboardEvent} event */
  onKeyUp(event) {
    this.listener.capsLock(event.getModifierState("CapsLock"));
    if (event.code === this.pressedCode) this.pressedAt = 0;
    const press = this.down.get(event.code);
    if (!press) return;
    this.down.delete(event.code);
    this.listener.held(press.event, event.timeStamp - press.at);
  }

  /** @param {InputEvent} event */
  onBeforeInput(event) {
    const type = event.inputType;
    if (type === "insertCompositionText" || type === "deleteCompositionText") return; // cannot be refused
    event.preventDefault();
    if (REFUSED.has(type)) this.listener.refused();
    else if (DELETES.has(type)) this.emit(/** @type {string} */ (DELETES.get(type)), this.timeOf(event));
    else if (type === "insertText" && event.data) this.emitAll(event.data, this.timeOf(event));
  }

  /** Where a browser inserted something all the same (not cancelable there): as if it were typed. @param {InputEvent} event */
  onInput(event) {
    if (event.isComposing || this.composed || event.inputType === "insertCompositionText") return;
    const { value } = this.field;
    if (value === SENTINEL) return;
    if (value === "") this.emit(DELETE_ONE, this.timeOf(event));
    else if (value.startsWith(SENTINEL)) this.emitAll(value.slice(1), this.timeOf(event));
    this.reset();
  }

  onCompositionStart() {
    this.composed = "";
    this.committed = "";
  }

  /** @param {string} data @param {number} at */
  onComposition(data, at) {
    const time = this.pressedAt || at;
    this.pressedAt = 0;
    if (this.live && LETTERS.test(data) && !COMPOSED.test(data)) {
      this.follow(data, time);
      this.listener.composing("");
      return;
    }
    this.composed = data;
    const fresh = this.fresh(data);
    if (fresh && this.listener.completes(fresh)) {
      // The last syllable of a test has no next one that would commit it.
      this.committed = data;
      this.listener.composing("");
      this.emitAll(fresh, time);
      return;
    }
    this.listener.composing(fresh);
  }

  /** @param {CompositionEvent} event */
  onCompositionEnd(event) {
    const fresh = this.fresh(event.data);
    this.listener.composing("");
    this.composed = "";
    this.committed = "";
    if (fresh) this.emitAll(fresh, event.timeStamp);
    this.reset();
  }

  /** What of a composition has not been given as keys. @param {string} data */
  fresh(data) {
    return this.committed && data.startsWith(this.committed) ? data.slice(this.committed.length) : this.committed ? "" : data;
  }

  /** Gives the difference between a word composed so far and before, as keys. @param {string} data @param {number} at */
  follow(data, at) {
    const before = keysOf(this.committed);
    const after = keysOf(data);
    let same = 0;
    while (same < before.length && same < after.length && before[same] === after[same]) same++;
    for (let i = before.length; i > same; i--) this.emit(DELETE_ONE, at);
    for (const key of after.slice(same)) this.emit(key, at);
    this.committed = data;
    this.composed = data;
  }

  /** @param {Event} event */
  refuse(event) {
    event.preventDefault();
    this.listener.refused();
  }

  /** The press that brought this about, where there was one. @param {Event} event */
  timeOf(event) {
    const at = this.pressedAt || event.timeStamp;
    this.pressedAt = 0;
    return at;
  }

  /** @param {string} data @param {number} at */
  emitAll(data, at) {
    for (const key of keysOf(data)) this.emit(key, at);
  }

  /** @param {string} key @param {number} at */
  emit(key, at) {
    const event = this.listener.key(key, at);
    if (event < 0 || !this.pressedCode) return;
    const before = this.down.get(this.pressedCode);
    if (before) this.listener.held(before.event, at - before.at);
    this.down.set(this.pressedCode, { event, at });
    this.pressedCode = "";
  }
}
