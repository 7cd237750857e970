/**
 * The race's clock, as this page knows it: the server's `hb` says what time it was there, and the way there and back
 * says how exactly. One reading may be a slow packet; the median of several is not.
 *
 * @module
 */

/** Readings that count: the newest ones. */
const READINGS = 9;
/** So many at once after each connecting, then one now and then. */
const AT_FIRST = 5;
const FIRST_MS = 120;
const THEN_MS = 5000;

export class RaceClock {
  /** @param {(c: number) => boolean} ask sends `hb` with this clock's time; false where there is no connection */
  constructor(ask) {
    this.ask = ask;
    /** What to add to performance.now() for epoch ms over there, one of each reading. @type {number[]} */
    this.offsets = [];
    this.timer = 0;
  }

  /** There is a new connection: other servers have other clocks by a little. */
  connected() {
    clearTimeout(this.timer);
    let left = AT_FIRST;
    let fresh = true;
    const next = () => {
      if (!this.ask(performance.now())) return;
      if (fresh) this.offsets = this.offsets.slice(-1);
      fresh = false;
      left--;
      this.timer = window.setTimeout(next, left > 0 ? FIRST_MS : THEN_MS);
    };
    next();
  }

  /** An answer has come. @param {{c?: number, s?: number}} hb @param {number} at performance.now() of its coming */
  heard({ c, s }, at) {
    if (typeof c !== "number" || typeof s !== "number" || c > at) return;
    this.offsets.push(s - (c + at) / 2);
    if (this.offsets.length > READINGS) this.offsets.shift();
  }

  /** Whether anything was heard of it. */
  get isSet() {
    return this.offsets.length > 0;
  }

  get offset() {
    if (!this.isSet) return performance.timeOrigin;
    const sorted = [...this.offsets].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** Now, over there (epoch ms). */
  now() {
    return performance.now() + this.offset;
  }

  /** performance.now() at an instant of the race. @param {number} ms epoch ms over there */
  at(ms) {
    return ms - this.offset;
  }
}
