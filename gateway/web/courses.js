/**
 * How each racer's speed went, second by second, from what was told while the race ran. Kept for this tab, so that a
 * reload in mid-race loses no beginning.
 *
 * @module
 */

const KEY = "typegate.courses";

export class Courses {
  constructor() {
    this.race = "";
    /** Speed at the end of each second by lane; null where nothing was told in it. @type {Map<number, (number | null)[]>} */
    this.lanes = new Map();
    addEventListener("pagehide", () => this.keep());
  }

  /** Begins those of a race, or goes on with what was kept of it. @param {string} race */
  begin(race) {
    if (race === this.race) return;
    this.race = race;
    this.lanes = new Map();
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
      if (kept?.race === race) this.lanes = new Map(kept.lanes);
    } catch {
      // nothing is kept here: the plot begins with the reload
    }
  }

  keep() {
    if (!this.race) return;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ race: this.race, lanes: [...this.lanes] }));
    } catch {
      // the same
    }
  }

  /** @param {number} lane @param {number} ms race time @param {number} wpm */
  note(lane, ms, wpm) {
    if (ms < 0) return;
    const course = this.lanes.get(lane) ?? [];
    this.lanes.set(lane, course);
    const second = Math.floor(ms / 1000);
    while (course.length <= second) course.push(null);
    course[second] = wpm;
  }

  /**
   * Speeds so far at the end of seconds 1, 2 …; who pauses gets slower.
   *
   * @param {number} lane @param {number} seconds @param {{ms?: number, wpm?: number}} end
   * @returns {(number | null)[]} null from the end on, and before anything is known
   */
  of(lane, seconds, { ms, wpm }) {
    const course = this.lanes.get(lane) ?? [];
    const last = ms === undefined ? course.length : Math.max(1, Math.ceil(ms / 1000));
    let at = -1;
    return Array.from({ length: seconds }, (_, k) => {
      if (k >= last) return null;
      if (k === last - 1 && wpm !== undefined) return Math.round(wpm);
      if (typeof course[k] === "number") at = k;
      return at < 0 ? null : Math.round(/** @type {number} */ (course[at]) * ((at + 1) / (k + 1)));
    });
  }
}
