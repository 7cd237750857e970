/**
 * Personal bests as they happen: told by the server, or known from this browser's own memory; said where the result shows,
 * or between two tests.
 *
 * @module
 */

import { bestSentence } from "./bests.js";
import { fixed } from "./figures.js";

export class News {
  /**
   * @param {{bests: import("./bests.js").Bests, result: import("./result-view.js").ResultView,
   *   later: (sentence: string) => void}} page `later` says something when nothing is being typed
   */
  constructor({ bests, result, later }) {
    this.bests = bests;
    this.result = result;
    this.later = later;
    /** Results that are not stored yet, with what was typed. @type {Map<string, Record<string, any>>} */
    this.awaited = new Map();
  }

  /** A result has come. @param {string} session @param {Record<string, any>} test what it is of @param {Record<string, any>} result */
  accepted(session, test, result) {
    this.awaited.set(session, { ...test, ...result });
  }

  /** It is stored, with its final verdict. @param {string} session @param {string} verdict */
  async stored(session, verdict) {
    const result = this.awaited.get(session);
    this.awaited.delete(session);
    if (!result || verdict !== "ok") return;
    const news = await this.bests.note(result);
    if (news) this.tell(session, result.wpm, news);
  }

  /** The server's notice. @param {Record<string, any>} event */
  heard(event) {
    this.tell(event.session, event.wpm, { event });
  }

  /** @param {string} session @param {number} wpm @param {{before?: number, event?: Record<string, any>}} news */
  tell(session, wpm, news) {
    if (session === this.result.session) {
      this.result.celebrate(news);
      return;
    }
    const { what, more } = bestSentence(news);
    this.later(`${what}: ${fixed(wpm, 1)} wpm${more ? ` (${more})` : ""}.`);
  }
}
