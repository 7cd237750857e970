/**
 * The leaderboards: who is how fast, page by page, and where the visitor stands. What is chosen stands in the address, so
 * that it can be passed on.
 *
 * @module
 */

import { ApiError, leaderboard, leaderboards, percentile, standing } from "./api.js";
import { h } from "./dom.js";
import { fixed, kindOf, percent } from "./figures.js";
import { settings } from "./settings.js";

const PAGE_ROWS = 50;
/** @type {Record<string, {name: string, span: string, ago: number}>} */
const TIMES = {
  today: { name: "today", span: "day", ago: 0 },
  yesterday: { name: "yesterday", span: "day", ago: 1 },
  week: { name: "this week", span: "week", ago: 0 },
  "last-week": { name: "last week", span: "week", ago: 1 },
  all: { name: "all time", span: "all", ago: 0 },
};

/** @typedef {{board: string, mode: string, seconds?: number, count?: number, language: string}} Board */

export class LeaderboardsView {
  /**
   * @param {HTMLElement} root
   * @param {{who: () => Promise<{guest: boolean, user: string}>, best: (kind: string) => {wpm: number} | null,
   *   type: (board: Board) => void, addressed: (hash: string) => void}} page `best`: the visitor's own, as this browser
   *   knows it; `type` starts a test of the board's kind; `addressed` is told what is shown
   */
  constructor(root, page) {
    this.page = page;
    this.heading = h("h1", { tabindex: -1 }, "Leaderboards");
    this.choice = h("form", { class: "choice", "aria-label": "Which leaderboard" });
    this.choice.addEventListener("change", () => this.onChange());
    this.own = h("div", { class: "own" });
    this.body = h("div", { class: "stack" });
    root.replaceChildren(this.heading, this.choice, this.own, this.body);
    /** @type {Board[]} */
    this.boards = [];
    this.board = "";
    this.time = "all";
    this.user = "";
    this.shown = 0;
  }

  /** @param {string} [board] @param {string} [time] as in the address */
  async show(board = "", time = "") {
    const turn = ++this.shown;
    this.heading.focus({ preventScroll: true });
    if (this.boards.length === 0) {
      this.say("Loading …");
      const found = await this.asked(turn, leaderboards());
      if (!found) return;
      this.boards = found.boards;
    }
    const names = this.boards.map(({ board: name }) => name);
    const { mode, seconds, count, language } = settings;
    const typed = `${mode}-${mode === "words" ? count : seconds}-${language}`; // what the visitor types has a board, perhaps
    this.board = [board, this.board, typed, `time-60-${language}`].find((name) => names.includes(name)) ?? names[0];
    this.time = time in TIMES ? time : this.time;
    this.drawChoice();
    await this.load(turn, 0);
  }

  /** The page of the board from an entry on, and the visitor's own place. @param {number} turn @param {number} offset */
  async load(turn, offset) {
    this.page.addressed(`#/leaderboards/${this.board}/${this.time}`);
    const own = offset ? null : this.ownPlace(turn); // asked for at the same time
    const page = await this.asked(turn, leaderboard(this.board, { ...TIMES[this.time], offset, limit: PAGE_ROWS }));
    if (page) this.draw(turn, page, offset);
    await own;
  }

  /** What was asked for; null where it did not come, or too late. @template T @param {number} turn @param {Promise<T>} answer */
  async asked(turn, answer) {
    try {
      const found = await answer;
      return turn === this.shown ? found : null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.shown) this.say(`The leaderboards cannot be shown now. ${error.message}`, h("button", { type: "button", onclick: () => this.show(this.board, this.time) }, "Try again"));
      return null;
    }
  }

  /** @param {string} sentence @param {HTMLElement | null} [button] */
  say(sentence, button = null) {
    this.own.replaceChildren();
    this.body.replaceChildren(h("p", { class: "quiet", role: "status" }, sentence), button ? h("p", {}, button) : "");
  }

  drawChoice() {
    const { mode, seconds, count, language } = this.chosen();
    const kinds = [...new Set(this.boards.map(kindName))];
    const languages = [...new Set(this.boards.map((board) => board.language))];
    const names = new Intl.DisplayNames(undefined, { type: "language" });
    this.choice.replaceChildren(
      select("Test", "kind", kinds.map((kind) => [kind, kind]), kindName({ mode, seconds, count })),
      select("Language", "language", languages.map((tag) => [tag, names.of(tag) ?? tag]), language),
      select("Time", "time", Object.entries(TIMES).map(([key, { name }]) => [key, name]), this.time),
    );
  }

  chosen() {
    return /** @type {Board} */ (this.boards.find(({ board }) => board === this.board));
  }

  onChange() {
    const { kind, language, time } = Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (this.choice)));
    this.board = this.boards.find((board) => kindName(board) === kind && board.language === language)?.board ?? this.board;
    this.time = String(time);
    this.load(++this.shown, 0);
  }

  /** Says where the visitor stands, if that is to be had. @param {number} turn */
  async ownPlace(turn) {
    const { guest, user } = await this.page.who();
    this.user = user;
    this.markOwn();
    try {
      const said = await (guest ? this.guestsPlace() : this.accountsPlace());
      if (turn === this.shown) this.own.replaceChildren(...said);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.shown) this.own.replaceChildren(); // the board is worth showing without it
    }
  }

  /** @returns {Promise<Node[]>} */
  async guestsPlace() {
    const board = this.chosen();
    const best = this.page.best(kindOf(board));
    const sentence = h("p", {}, "You are a guest, and guests are not ranked.");
    if (best) {
      const { slower_percent: slower } = await percentile(board.board, best.wpm, TIMES[this.time]);
      sentence.append(slower === null ? ` Your best is ${fixed(best.wpm, 1)} wpm.` : ` Your best, ${fixed(best.wpm, 1)} wpm, is faster than ${percent(slower)} of those who are.`);
    }
    return [sentence, this.invitation(board)];
  }

  /** @returns {Promise<Node[]>} */
  async accountsPlace() {
    const board = this.chosen();
    const { rank, best, slower_percent: slower, entries } = await standing(board.board, TIMES[this.time]);
    if (!best) return [h("p", {}, "You have no result here."), this.invitation(board)];
    const place = rank === null ? "below the last place of this board" : `rank ${rank}`;
    const sentence = h("p", {}, h("b", {}, `${fixed(best.wpm, 1)} wpm, ${place}`), slower === null ? "" : `, faster than ${percent(slower)} of all`);
    if (entries.length < 2) return [sentence, this.invitation(board)];
    return [sentence, h("button", { type: "button", onclick: () => this.drawAround(entries) }, "Around me"), this.invitation(board)];
  }

  /** To come on this board; past ones are closed. @param {Board} board */
  invitation(board) {
    if (TIMES[this.time].ago) return h("span", {});
    return h("button", { type: "button", onclick: () => this.page.type(board) }, `Type ${kindName(board)}`);
  }

  /** Shows which row is the visitor's. */
  markOwn() {
    const row = this.user && this.body.querySelector(`tr[data-user="${CSS.escape(this.user)}"]`);
    if (!row) return;
    row.classList.add("me");
    /** @type {Element} */ (row.querySelector(".who")).textContent = "you";
  }

  /** @param {number} turn @param {{entries: Record<string, any>[], size: number | null, next: number | null}} page @param {number} offset */
  draw(turn, { entries, size, next }, offset) {
    if (entries.length === 0) {
      this.body.replaceChildren(h("p", { class: "quiet", role: "status" }, offset ? "That was the last one." : TIMES[this.time].ago ? "Nobody was on this board." : "Nobody is on this board yet."));
      return;
    }
    const turnTo = (/** @type {string} */ name, /** @type {number | null} */ to) =>
      h("button", { type: "button", disabled: to === null, onclick: () => this.load(turn, Number(to)).then(() => this.heading.scrollIntoView()) }, name);
    const pages = offset || next !== null ? h("p", { class: "ends" }, turnTo("Before", offset ? Math.max(0, offset - PAGE_ROWS) : null), turnTo("Next", next)) : "";
    const count = size === null ? "" : h("p", { class: "quiet" }, size === 1 ? "One typist" : `${size.toLocaleString()} typists`);
    this.body.replaceChildren(table(entries), pages, count);
    this.markOwn();
  }

  /** @param {Record<string, any>[]} entries */
  drawAround(entries) {
    const back = h("button", { type: "button", onclick: () => this.load(++this.shown, 0) }, "From the first");
    this.body.replaceChildren(table(entries), h("p", { class: "ends" }, back));
    this.markOwn();
    back.focus({ preventScroll: true });
  }
}

/** @param {{mode: string, seconds?: number, count?: number}} board */
function kindName({ mode, seconds, count }) {
  return `${mode} ${seconds ?? count}`;
}

/** @param {string} label @param {string} name @param {[string, string][]} options @param {string} chosen */
function select(label, name, options, chosen) {
  const items = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("label", {}, h("span", { class: "unseen" }, label), h("select", { name }, ...items));
}

/** @param {Record<string, any>[]} entries */
function table(entries) {
  const rows = entries.map((entry) => {
    const when = new Date(entry.created_at);
    return h(
      "tr",
      { "data-user": entry.user },
      h("th", { scope: "row" }, entry.rank),
      h("td", { class: "who" }, h("bdi", {}, entry.name)),
      h("td", { class: "main" }, fixed(entry.wpm, 1)),
      h("td", {}, percent(entry.acc, 1)),
      h("td", { class: "when" }, h("time", { datetime: when.toISOString() }, when.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" }))),
    );
  });
  const names = ["rank", "who", "wpm", "accuracy", "when"].map((name) => h("th", { scope: "col" }, name));
  return h("div", { class: "scroll" }, h("table", { class: "results ranks" }, h("caption", { class: "unseen" }, "The fastest first"), h("thead", {}, h("tr", {}, ...names)), h("tbody", {}, ...rows)));
}
