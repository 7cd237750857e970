/**
 * The line under the text: quiet sentences that go by themselves, and one that stays.
 *
 * @module
 */

import { byId, h, say } from "./dom.js";

const NOTE_MS = 6000;

export class Notice {
  /** @param {() => boolean} idle whether nothing is being typed, so that something may be said by the way */
  constructor(idle) {
    this.idle = idle;
    this.line = byId("notice");
    this.timer = 0;
    /** What lasts, and its button. */
    this.lasting = "";
    /** @type {{label: string, action: () => void} | null} */
    this.offered = null;
    this.held = "";
  }

  /** A quiet sentence, which goes by itself. @param {string} sentence */
  note(sentence) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.clear(), NOTE_MS);
    say(this.line, sentence);
  }

  /** One that waits until nothing is being typed. @param {string} sentence */
  later(sentence) {
    this.held = sentence;
    if (this.idle()) this.noteHeld();
  }

  noteHeld() {
    if (this.held) this.note(this.held);
    this.held = "";
  }

  /** One that stays until it is taken back by "". @param {string} sentence @param {{label: string, action: () => void} | null} [button] */
  tell(sentence, button = null) {
    const stands = !this.timer && sentence === this.lasting && button?.label === this.offered?.label;
    clearTimeout(this.timer);
    this.timer = 0;
    this.lasting = sentence;
    this.offered = button;
    if (stands) return; // who listens hears it once, and the button keeps the focus
    const act = () => this.offered?.action();
    this.line.replaceChildren(sentence, ...(button ? [" ", h("button", { type: "button", onclick: act }, button.label)] : []));
  }

  /** Back to what lasts. */
  clear() {
    if (this.timer) this.tell(this.lasting, this.offered);
  }
}
