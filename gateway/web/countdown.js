/**
 * Whole seconds down to an instant of the race's clock: each is said when it begins, and 0 at the instant itself. Nothing
 * is said before that clock is known: this computer's own may be wrong by minutes.
 *
 * @module
 */

/** How soon it is looked again whether the clock is known. */
const LEARNING_MS = 30;

export class Countdown {
  /**
   * @param {import("./race-clock.js").RaceClock} clock
   * @param {(seconds: number) => void} say seconds that are left, rounded up; 0 once, at the end
   */
  constructor(clock, say) {
    this.clock = clock;
    this.say = say;
    this.until = 0;
    this.timer = 0;
    this.said = -1;
  }

  /** @param {number} until epoch ms */
  to(until) {
    if (until === this.until) return;
    this.stop();
    this.until = until;
    this.step();
  }

  stop() {
    clearTimeout(this.timer);
    this.until = 0;
    this.said = -1;
  }

  step() {
    if (!this.clock.isSet) {
      this.timer = window.setTimeout(() => this.step(), LEARNING_MS);
      return;
    }
    const left = this.until - this.clock.now();
    const seconds = Math.max(0, Math.ceil(left / 1000));
    if (seconds !== this.said) this.say((this.said = seconds));
    if (seconds === 0) return;
    // The clock is still being learned: looked at again before the second is over.
    this.timer = window.setTimeout(() => this.step(), Math.max(1, Math.min(100, left - (seconds - 1) * 1000)));
  }
}
