/**
 * What was told of results that are stored. It may be told again, more strictly, and in any order: the strictest holds.
 *
 * @module
 */

const STRICTNESS = ["ok", "review", "void"];
/** Of so many results it is remembered. */
const MOST = 100;

export class Verdicts {
  constructor() {
    /** @type {Map<string, string>} */
    this.told = new Map();
  }

  /**
   * Takes note of what is told.
   *
   * @param {string} session @param {string} verdict
   * @returns {{verdict: string, before: string | undefined}} the one that holds, and the one that held before
   */
  hear(session, verdict) {
    const before = this.told.get(session);
    const milder = before !== undefined && STRICTNESS.indexOf(verdict) < STRICTNESS.indexOf(before);
    const holds = milder ? before : verdict;
    this.told.delete(session);
    this.told.set(session, holds);
    if (this.told.size > MOST) this.told.delete(/** @type {string} */ (this.told.keys().next().value));
    return { verdict: holds, before };
  }
}
