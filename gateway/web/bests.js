/**
 * The visitor's best of each kind of test, for a quiet word where a new one is better. Learned from the history once in
 * each browser, and from every result that counts since; guests and tests without a leaderboard have theirs here alone.
 *
 * @module
 */

import { ApiError, ownResults } from "./api.js";
import { fixed, kindOf } from "./figures.js";

const KEY = "typegate.bests";
/** Only what is alike each time can be compared. */
const MODES = ["time", "words"];
const PAGE_ROWS = 100;
/** So much of a history is looked through. */
const MOST_PAGES = 5;
/** How long a best is one, the longest first, and how that is said. @type {[string, string][]} */
const SPANS = [
  ["all", ""],
  ["week", " this week"],
  ["day", " today"],
];

/** @typedef {{wpm: number, session: string}} Best */

export class Bests {
  /** @param {() => string} user whose bests are asked for, "" while nobody knows */
  constructor(user) {
    this.user = user;
    /** What is learned while nobody knows whose it is: it must not take the place of what is kept. @type {any} */
    this.unnamed = null;
  }

  /** The best of a kind, as far as this browser knows. @param {string} kind @returns {Best | null} */
  of(kind) {
    return this.read().kinds[kind] ?? null;
  }

  /**
   * Takes note of a result that counts, and says whether it is a new best.
   *
   * @param {Record<string, any>} result with mode, length and language
   * @returns {Promise<{before: number} | null>} the speed before; null where it is none, or the first of its kind
   */
  async note(result) {
    if (!MODES.includes(result.mode)) return null;
    if (!this.read().complete && !(await this.learnAll(result.session))) return null;
    const before = this.of(kindOf(result));
    this.learn([{ ...result, verdict: "ok" }]);
    return before && before.session !== result.session && result.wpm > before.wpm ? { before: before.wpm } : null;
  }

  /** Takes note of older results. @param {Record<string, any>[]} results */
  learn(results) {
    const known = this.read();
    for (const { verdict, session, wpm, ...test } of results) {
      if (verdict !== "ok" || !MODES.includes(test.mode)) continue;
      const kind = kindOf(test);
      if (!(known.kinds[kind]?.wpm >= wpm)) known.kinds[kind] = { wpm, session };
    }
    this.write(known);
  }

  /** Looks through the history. @param {string} except a result that is news @returns {Promise<boolean>} whether it could */
  async learnAll(except) {
    const user = this.user();
    let cursor = null;
    try {
      for (let page = 0; page < MOST_PAGES && (page === 0 || cursor); page++) {
        const found = await ownResults(cursor, PAGE_ROWS);
        this.learn(found.results.filter((/** @type {any} */ { session }) => session !== except));
        cursor = found.cursor ?? null;
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return false; // another time
    }
    if (user !== this.user()) return false;
    this.write({ ...this.read(), complete: true });
    return true;
  }

  /** Looks through the history again, the next time: there is more in it now. */
  again() {
    this.write({ ...this.read(), complete: false });
  }

  /** @returns {{user: string, complete: boolean, kinds: Record<string, Best>}} */
  read() {
    const nothing = { user: this.user(), complete: false, kinds: {} };
    if (!nothing.user) return this.unnamed ?? nothing;
    try {
      const stored = JSON.parse(localStorage.getItem(KEY) ?? "null");
      return stored?.user === nothing.user && stored.kinds ? stored : nothing;
    } catch {
      return nothing;
    }
  }

  /** @param {ReturnType<Bests["read"]>} known */
  write(known) {
    if (!known.user) {
      this.unnamed = known;
      return;
    }
    try {
      localStorage.setItem(KEY, JSON.stringify(known));
    } catch {
      // nothing is kept here: then there is no word about bests either
    }
  }
}

/**
 * What is said of a new best.
 *
 * @param {{before?: number, event?: Record<string, any>}} news the speed before, as this browser knows; the server's notice
 * @returns {{what: string, more: string}}
 */
export function bestSentence({ before, event }) {
  const { spans = [], ranks = {} } = event ?? {};
  const [longest, name] = SPANS.find(([span]) => spans.includes(span)) ?? SPANS[0];
  const [ranked, when] = SPANS.find(([span]) => ranks[span]) ?? SPANS[0];
  return {
    what: before !== undefined || longest === "all" ? "Personal best" : `Your best${name}`,
    more: [before === undefined ? "" : `${fixed(before, 1)} wpm before`, ranks[ranked] ? `rank ${ranks[ranked]}${when}` : ""].filter(Boolean).join(" · "),
  };
}
