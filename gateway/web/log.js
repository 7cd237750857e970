/**
 * One test's log and what is needed to take it up again: the `started` message with its ticket, the newest receipt, and
 * every event. It stays in localStorage until the server says `stored`. Events are written in blocks, of which only the
 * last one changes, so that a write costs the same in the last minute as in the first.
 *
 * @module
 */

const BLOCK = 512;
/** A ticket ends after seven days, and with it the use of a log. */
const KEPT_MS = 7 * 24 * 3600 * 1000;
const PREFIX = "typegate.log.";

export class TestLog {
  /**
   * @param {Record<string, any>} started the server's message
   * @param {number} startedAt performance.now() at which it came, where the first event's `dt` counts from; in a race
   *   the start instant
   * @param {Record<string, any>} [options] what was asked for, so that it can be asked for again
   */
  constructor(started, startedAt, options = {}) {
    this.started = started;
    this.options = options;
    this.startedAt = startedAt;
    /** Who types it; "" where nobody has said yet who that is. */
    this.user = "";
    /** What that one shows, if a guest: by the time this is sent the browser may be another one. */
    this.token = "";
    /** Flat `[dt, key, ...]` and flat `[event, hold ms, ...]`. @type {(number | string)[]} */
    this.events = [];
    /** @type {number[]} */
    this.holds = [];
    /** Running time of the last event, whole ms since `startedAt`. */
    this.lastMs = 0;
    /** @type {string | null} */
    this.receipt = null;
    /** Events that the server has confirmed. */
    this.acked = 0;
    /** Events in the log when the test ended, or null. @type {number | null} */
    this.finished = null;
    this.savedBlocks = 0;
    this.dirty = true;
    this.written = false;
    /** Whether what is kept of it is another tab's by now. */
    this.elsewhere = false;
  }

  get session() {
    return /** @type {string} */ (this.started.session);
  }

  /** Number of events. */
  get n() {
    return this.events.length / 2;
  }

  /** Client time since the first event, in a race since its start (ms). @param {number} now performance.now() */
  elapsed(now) {
    if (this.started.race) return Math.max(0, now - this.startedAt);
    return this.n ? now - this.startedAt - /** @type {number} */ (this.events[0]) : 0;
  }

  /**
   * Appends an event; its running time is rounded, not each gap, so that no drift gathers.
   *
   * @param {string} key @param {number} at performance.now() of the key
   * @returns {number} its dt
   */
  add(key, at) {
    const ms = Math.max(this.lastMs, Math.round(at - this.startedAt));
    const dt = ms - this.lastMs;
    this.lastMs = ms;
    this.events.push(dt, key);
    this.dirty = true;
    return dt;
  }

  /** Notes how long the key of an event was held. @param {number} event @param {number} ms */
  hold(event, ms) {
    this.holds.push(event, Math.max(0, Math.round(ms)));
    this.dirty = true;
  }

  /** It starts at another instant than was thought. @param {number} at performance.now() */
  startAt(at) {
    if (this.n > 0) return;
    this.startedAt = at;
    this.written = false;
    this.dirty = true;
  }

  /** Writes what is new; says nothing where the browser keeps nothing (private windows, full storage). */
  save() {
    if (!this.dirty || this.elsewhere || (this.n === 0 && !this.started.race)) return;
    try {
      const key = PREFIX + this.session;
      if (!this.written) {
        this.saveTest();
        this.written = true;
      }
      const whole = Math.floor(this.n / BLOCK);
      for (let block = this.savedBlocks; block <= whole; block++) {
        localStorage.setItem(`${key}.${block}`, JSON.stringify(this.events.slice(2 * block * BLOCK, 2 * (block + 1) * BLOCK)));
      }
      this.savedBlocks = whole;
      const { user, token, receipt, finished, holds, acked } = this;
      localStorage.setItem(key, JSON.stringify({ user, token, receipt, finished, acked, n: this.n, holds: holds.slice(-4 * BLOCK), at: Date.now() }));
      this.dirty = false;
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
  }

  saveTest() {
    const startedWallMs = performance.timeOrigin + this.startedAt;
    localStorage.setItem(`${PREFIX}${this.session}.test`, JSON.stringify({ started: this.started, options: this.options, startedWallMs }));
  }

  /**
   * Sets right when it was started, by the server's clock; kept before it is said, so that it is said the same ever after.
   *
   * @param {number} now the server's clock (epoch ms) @returns {boolean} whether it was wrong
   */
  setClock(now) {
    const before = this.started.started_at;
    // As much too late as this clock is now; if it was set since, at least not so late that the test has not ended yet.
    const at = Math.round(Math.min(before - (Date.now() - now), now - this.lastMs));
    if (at === before) return false;
    this.started.started_at = at;
    this.saveTest();
    return true;
  }

  /** Forgets it: the server has it, or it was given up. */
  drop() {
    if (!this.elsewhere) dropLog(this.session);
  }
}

/** Every key of one log. @param {string} session */
function dropLog(session) {
  try {
    const key = PREFIX + session;
    for (const name of Object.keys(localStorage)) {
      if (name === key || name.startsWith(`${key}.`)) localStorage.removeItem(name);
    }
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** Reads a log back, or null where it is not whole. @param {string} session @returns {TestLog | null} */
export function readLog(session) {
  try {
    const key = PREFIX + session;
    const head = JSON.parse(localStorage.getItem(key) ?? "null");
    const test = JSON.parse(localStorage.getItem(`${key}.test`) ?? "null");
    if (!head || !test) return null;
    // The running time goes on through the reload, by the wall clock; `add` never lets it go back.
    const log = new TestLog(test.started, test.startedWallMs - performance.timeOrigin, test.options);
    for (let block = 0; log.n < head.n; block++) {
      const events = JSON.parse(localStorage.getItem(`${key}.${block}`) ?? "null");
      if (!events || events.length === 0) return null;
      log.events.push(...events);
    }
    for (let i = 0; i < log.events.length; i += 2) log.lastMs += Number(log.events[i]);
    // A wall clock that was set back since must not make time stand still until it is there again.
    // A race's start may lie ahead, until its first key.
    if (log.n > 0 || !test.started.race) log.startedAt = Math.min(log.startedAt, performance.now() - log.lastMs);
    Object.assign(log, { user: head.user ?? "", token: head.token ?? "", receipt: head.receipt, finished: head.finished, acked: head.acked, holds: head.holds });
    Object.assign(log, { savedBlocks: Math.floor(log.n / BLOCK), written: true, dirty: false });
    return log;
  } catch {
    return null; // unreadable: as good as not there
  }
}

/**
 * @typedef {object} Kept
 * @property {string} session
 * @property {string} user
 * @property {string} token the guest's who typed it; "" where it was none, or is not known
 * @property {boolean} finished
 * @property {number} at when it was last written (epoch ms)
 */

/**
 * The logs that this browser keeps; those that nothing can be done with any more are dropped.
 *
 * @returns {Kept[]} oldest first
 */
export function keptLogs() {
  /** @type {Kept[]} */
  const kept = [];
  try {
    for (const name of Object.keys(localStorage)) {
      const session = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || session.includes(".")) continue;
      let head = null;
      try {
        head = JSON.parse(localStorage.getItem(name) ?? "null");
      } catch {
        // dropped below
      }
      if (head && Date.now() - head.at < KEPT_MS) kept.push({ session, user: head.user ?? "", token: head.token ?? "", finished: head.finished !== null, at: head.at });
      else dropLog(session);
    }
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  return kept.sort((a, b) => a.at - b.at);
}

/** Forgets a kept log. @param {string} session */
export function forgetLog(session) {
  dropLog(session);
}
