/**
 * Typing in a race: nothing counts before the start instant, and the time runs from it, not from the first key.
 *
 * @module
 */

import { TypingView } from "./typing-view.js";

export class RaceTyping extends TypingView {
  /** @param {import("./typing-view.js").TypingActions} actions @param {import("./notice.js").Notice} notice */
  constructor(actions, notice) {
    super(actions, notice);
    /** Whether the start instant is past. */
    this.open = false;
  }

  /** Shows the text of a race that is to begin, or runs. @param {import("./log.js").TestLog} log */
  show(log) {
    this.open = false;
    super.show(log);
    clearInterval(this.clock);
    this.clock = 0;
    this.setTyping(false);
    this.view.rest(true);
  }

  /** The start instant. */
  go() {
    if (this.open || !this.log) return;
    this.open = true;
    this.begin();
  }

  begin() {
    if (!this.clock) super.begin();
  }

  /** @param {string} key @param {number} at */
  onKey(key, at) {
    if (this.log && at < this.log.startedAt) {
      this.notice.note("Too early: keys count from the start on.");
      return -1;
    }
    if (this.log) this.go();
    return super.onKey(key, at);
  }

  /** How far it is typed, as the server counts it: clusters of the text up to the caret that are right. */
  get done() {
    const { scorer } = this;
    if (!scorer) return 0;
    const target = scorer.target(scorer.active) ?? [];
    const typed = scorer.typed[scorer.active];
    let right = 0;
    while (right < typed.length && typed[right] === target[right]) right++;
    return this.before(scorer.active) + right;
  }

  /** Clusters of all words before one. @param {number} index */
  before(index) {
    let sum = 0;
    for (let i = 0; i < index; i++) sum += this.scorer?.target(i)?.length ?? 0;
    return sum;
  }
}
