/**
 * What was typed in this browser before the visitor signed in: an account may take it along, once and for good. It is
 * offered where results are looked at, and a word is said of it once.
 *
 * @module
 */

import { ApiError, claim, ownResults } from "./api.js";
import { h } from "./dom.js";
import { keptLogs } from "./log.js";
import { changeGuest, forgetGuest, guest, spendGuest, token } from "./token.js";

/** The guest can be no account's any more, or is another one's. */
const HOPELESS = [409, 422];

export class Past {
  /**
   * @param {{who: () => Promise<{user: string, guest: boolean}>, settle: () => Promise<void>}} page `settle` brings in what
   *   was not sent yet
   */
  constructor({ who, settle }) {
    this.who = who;
    this.settle = settle;
  }

  /** Whether there is any, and of when the last of it is. @returns {Promise<{last: Date} | null>} */
  async look() {
    const left = guest();
    // A JWT has dots. Who is there the server says too, by the WebSocket: the history does not wait for that.
    if (!left || left.spent || !token()?.includes(".")) return null;
    try {
      const [last] = (await ownResults(null, 1, left.token)).results;
      return last ? { last: new Date(last.created_at) } : null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) forgetGuest(); // it has expired
      return null;
    }
  }

  /** Makes it the account's; raises ApiError. */
  async take() {
    const left = guest();
    if (!left) return;
    await this.settle();
    try {
      await claim(left.token);
    } catch (error) {
      if (error instanceof ApiError && HOPELESS.includes(error.status)) this.spend();
      throw error;
    }
    this.spend();
  }

  /** Forgets the guest, as soon as no log needs it. */
  spend() {
    spendGuest();
    forgetIfSpent();
  }

  /** What an account that has not heard of it is told. @param {(sentence: string) => void} say */
  async tell(say) {
    const { user } = await this.who();
    if (guest()?.told === user || !(await this.look())) return;
    changeGuest({ told: user });
    say("You typed here before you signed in: your history can take those tests along.");
  }
}

/** To be called when logs were settled. */
export function forgetIfSpent() {
  const left = guest();
  if (left?.spent && !keptLogs().some(({ user }) => user === left.user)) forgetGuest();
}

/**
 * The offer, for the top of the history.
 *
 * @param {{last: Date}} found @param {{take: () => Promise<void>, taken: () => void, away: () => void}} actions `away`: it
 *   was put away by its button
 */
export function offerOf({ last }, { take, taken, away }) {
  const day = last.toLocaleString(undefined, { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });
  const said = h("p", { role: "status" }, `You typed here before you signed in, last on ${day}. Your account can take those tests along: into its history and progress, for good, and onto no leaderboard.`);
  const yes = /** @type {HTMLButtonElement} */ (h("button", { type: "button", class: "primary" }, "Take them along"));
  const no = h("button", { type: "button", onclick: away }, "Not now");
  const offer = h("div", { class: "offer", role: "group", "aria-label": "Tests from before you signed in" }, said, h("p", { class: "ends" }, no, yes));
  yes.addEventListener("click", async () => {
    yes.disabled = true;
    try {
      await take();
      taken();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      said.textContent = `They could not be taken along. ${error.message}`;
      yes.disabled = false;
      if (HOPELESS.includes(error.status)) {
        no.focus();
        yes.remove();
      } else {
        yes.focus();
      }
    }
  });
  return offer;
}
