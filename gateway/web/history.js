/**
 * The visitor's results: a plot of progress and a table, newest first, page by page.
 *
 * @module
 */

import { ApiError, ownResults } from "./api.js";
import { h } from "./dom.js";
import { doubt, fixed, kindOf, percent, seconds, testName } from "./figures.js";
import { offerOf } from "./past.js";
import { Plot } from "./plot.js";
import { roundTo2 } from "./scoring.js";

/** The mean in the plot runs over this many tests. */
const MEAN_OF = 10;

export class HistoryView {
  /** @param {HTMLElement} root @param {{bests: import("./bests.js").Bests, past: import("./past.js").Past}} page */
  constructor(root, { bests, past }) {
    this.bests = bests;
    this.past = past;
    this.heading = h("h1", { tabindex: -1 }, "History");
    this.aside = h("div", { class: "aside" });
    this.body = h("div", { class: "stack" });
    root.replaceChildren(this.heading, this.aside, this.body);
    /** @type {Record<string, any>[]} newest first */
    this.results = [];
    /** Of which kind those are that show; "" all. */
    this.kind = "";
    /** @type {string | null} */
    this.cursor = null;
    this.shown = 0;
  }

  async show() {
    const turn = ++this.shown;
    this.results = [];
    this.cursor = null;
    this.say("Loading …");
    this.heading.focus({ preventScroll: true });
    this.aside.replaceChildren();
    await this.load(turn, this.past.look());
  }

  /** @param {number} turn @param {ReturnType<import("./past.js").Past["look"]>} [looking] what may be taken along */
  async load(turn, looking) {
    try {
      const [page, found] = await Promise.all([ownResults(this.cursor), looking]);
      if (turn !== this.shown) return;
      if (found) this.offer(found);
      this.results.push(...page.results);
      this.bests.learn(page.results);
      this.cursor = page.cursor ?? null;
      this.draw(turn);
    } catch (error) {
      if (turn !== this.shown) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.say("Nothing here yet: your results appear after your first test.");
      else this.say(`Your history cannot be shown now. ${error.message}`, h("button", { type: "button", onclick: () => this.show() }, "Try again"));
    }
  }

  /** @param {{last: Date}} found */
  offer(found) {
    const away = () => {
      this.heading.focus({ preventScroll: true });
      this.aside.replaceChildren();
    };
    const taken = async () => {
      this.bests.again();
      await this.show();
      this.aside.replaceChildren(h("p", { class: "quiet", role: "status" }, "What you typed before you signed in is in your history now."));
    };
    this.aside.replaceChildren(offerOf(found, { take: () => this.past.take(), taken, away }));
  }

  /** @param {string} sentence @param {HTMLElement | null} [button] */
  say(sentence, button = null) {
    this.body.replaceChildren(h("p", { class: "quiet", role: "status" }, sentence), button ? h("p", {}, button) : "");
  }

  /** @param {number} turn */
  draw(turn) {
    if (this.results.length === 0) {
      this.say("Nothing here yet: your results appear after your first test.");
      return;
    }
    const more = h("button", { type: "button", onclick: () => this.load(turn) }, "Older results");
    const shown = this.kind ? this.results.filter((result) => kindOf(result) === this.kind) : this.results;
    this.body.replaceChildren(
      this.choice(turn),
      this.totals(shown),
      shown.length > 1 ? this.plot(shown).element : "",
      this.table(shown),
      this.cursor ? h("p", { class: "ends" }, more) : "",
    );
  }

  /** Which kinds of test there are, to look at one alone. @param {number} turn */
  choice(turn) {
    const kinds = [...new Set(this.results.map(kindOf))].sort(new Intl.Collator(undefined, { numeric: true }).compare);
    if (kinds.length < 2) return "";
    if (!kinds.includes(this.kind)) this.kind = "";
    const select = /** @type {HTMLSelectElement} */ (
      h("select", { id: "history-kind" }, h("option", { value: "" }, "all tests"), ...kinds.map((kind) => h("option", { value: kind, selected: kind === this.kind }, kind)))
    );
    select.addEventListener("change", () => {
      this.kind = select.value;
      this.draw(turn);
      document.getElementById("history-kind")?.focus();
    });
    return h("p", { class: "choice" }, h("label", { for: "history-kind" }, "Show"), select);
  }

  /** @param {Record<string, any>[]} results */
  totals(results) {
    const sound = results.filter(({ verdict }) => verdict !== "void");
    const counted = sound.length ? sound : results;
    const recent = counted.slice(0, MEAN_OF);
    const mean = (/** @type {"wpm" | "acc"} */ key) => (recent.length ? recent.reduce((sum, r) => sum + r[key], 0) / recent.length : 0);
    const all = results.reduce((sum, { duration_ms: ms }) => sum + ms, 0);
    const facts = [
      [this.cursor ? "tests shown" : "tests", String(results.length)],
      ["best wpm", fixed(Math.max(0, ...counted.map(({ wpm }) => wpm)), 0)],
      [`wpm, last ${recent.length}`, fixed(mean("wpm"), 0)],
      [`accuracy, last ${recent.length}`, percent(mean("acc"))],
      ["time typed", seconds(all)],
    ];
    return h("dl", { class: "small totals" }, ...facts.map(([name, value]) => h("div", { class: "figure-box" }, h("dt", {}, name), h("dd", {}, value))));
  }

  /** @param {Record<string, any>[]} results */
  plot(results) {
    const old = [...results].reverse();
    const means = old.map((_, i) => {
      const window = old.slice(Math.max(0, i + 1 - MEAN_OF), i + 1);
      return roundTo2(window.reduce((sum, { wpm }) => sum + wpm, 0) / window.length);
    });
    return new Plot({
      title: "Speed from test to test",
      xName: "test",
      xTexts: old.map((_, i) => String(i + 1)),
      xs: old.map((_, i) => i + 1),
      yName: "words per minute",
      lines: [
        { name: "each test", values: old.map(({ wpm }) => wpm), className: "raw dots" },
        { name: `mean of ${MEAN_OF}`, values: means, className: "wpm" },
      ],
    });
  }

  /** @param {Record<string, any>[]} results */
  table(results) {
    const names = ["when", "wpm", "raw", "accuracy", "consistency", "test", "time"];
    const rows = results.map((result) => {
      const when = new Date(result.created_at);
      const best = this.bests.of(kindOf(result))?.session === result.session;
      return h(
        "tr",
        { "data-verdict": result.verdict },
        h("th", { scope: "row" }, h("a", { href: `#/result/${result.session}` }, h("time", { datetime: when.toISOString() }, shortDate(when)))),
        h("td", { class: "main" }, fixed(result.wpm, 1)),
        h("td", {}, fixed(result.raw, 1)),
        h("td", {}, percent(result.acc, 1)),
        h("td", {}, `${fixed(result.consistency, 0)}%`),
        h("td", { class: "what" }, testName(result), result.language && result.language !== "en" ? `, ${result.language}` : "", doubt(result) ? ` · ${doubt(result)}` : "", best ? h("span", { class: "chip" }, "best") : null, result.public ? h("span", { class: "chip public" }, "public") : null),
        h("td", {}, seconds(result.duration_ms)),
      );
    });
    return h(
      "div",
      { class: "scroll" },
      h("table", { class: "results" }, h("caption", { class: "unseen" }, "Results, newest first"), h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows)),
    );
  }
}

/** @param {Date} when */
function shortDate(when) {
  const sameYear = when.getFullYear() === new Date().getFullYear();
  return when.toLocaleString(undefined, { day: "numeric", month: "short", ...(sameYear ? {} : { year: "numeric" }), hour: "2-digit", minute: "2-digit" });
}
