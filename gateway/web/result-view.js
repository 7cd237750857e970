/**
 * A result: big figures, the plot, everything else with what it means, the keys, the replay, and where to go next.
 *
 * @module
 */

import { announce } from "./announce.js";
import { bestSentence } from "./bests.js";
import { h, say } from "./dom.js";
import { figure, fixed, percent, testName, verdict } from "./figures.js";
import { keyboardPicture, keyFigures } from "./keyboard.js";
import { letters } from "./passage.js";
import { speedPlot } from "./plot.js";
import { Replay } from "./replay.js";
import { settings } from "./settings.js";
import { Visibility } from "./visibility.js";

/** How far the result has come, and what the page says then. */
const STATES = {
  unsent: "Not sent yet: it is kept in this browser and goes out by itself when the connection is back.",
  sent: "Sent, waiting for the server …",
  accepted: "Accepted, being saved …",
  stored: "Saved",
};
const MOST_MISSED = 12;

/** @typedef {keyof typeof STATES} State */
/** @typedef {{label: string, action: () => void, disabled?: boolean}} Way where to go next */

export class ResultView {
  /**
   * @param {HTMLElement} root
   * @param {(started: Record<string, any>, missed: string[]) => Way[]} [ways] from a test and the words that were left wrong
   *   in it; the first is what the key for a new test does
   */
  constructor(root, ways = () => []) {
    this.root = root;
    this.ways = ways;
    this.session = "";
    /** @type {Record<string, any>} */
    this.started = {};
    /** @type {HTMLElement | null} */
    this.next = null;
    this.heading = h("h1", { tabindex: -1, class: "unseen" }, "Result");
    this.state = h("p", { class: "state" });
    this.best = h("p", { class: "best", hidden: true });
    /** @type {{before?: number, event?: Record<string, any>}} */
    this.news = {};
    this.figures = h("div", { class: "summary" });
    this.details = h("div", { class: "details" });
    this.visibility = new Visibility();
    /** Whether it is the visitor's, and can be shown to others at all. */
    this.shareable = false;
    this.isPublic = false;
    /** @type {Replay | null} */
    this.replay = null;
  }

  /**
   * @param {{session: string, result: Record<string, any>, scorer: import("./scoring.js").Scorer | null,
   *   started: Record<string, any>, events: (number | string)[], state: State, fresh: boolean}} shown `scorer` has been
   *   fed the whole log; null where the log is not there; `fresh`: just typed
   */
  show({ session, result, scorer, started, events, state, fresh }) {
    this.session = session;
    this.started = started;
    this.news = {};
    this.best.hidden = true;
    this.shareable = started.mode !== "text" && result.name === undefined; // of others a name is told
    this.isPublic = result.public === true;
    if (this.shareable) this.visibility.wait();
    else this.visibility.hide();
    const missed = scorer ? wrongWords(scorer) : [];
    const ways = this.ways(started, missed).map(({ label, action, disabled }, i) =>
      h("button", { type: "button", class: i ? null : "primary", onclick: action, disabled }, label),
    );
    const actions = ways.length ? h("div", { class: "actions" }, ...ways) : "";
    this.setResult(result);
    const panels = [];
    if (scorer && events.length) {
      const options = { limitMs: scorer.limitMs, cyclic: scorer.cyclic, zen: scorer.zen, fromStart: scorer.fromStart };
      if (missed.length) panels.push(panel("Missed words", missedList(missed, started)));
      panels.push(panel("Replay", (this.replay = new Replay(scorer.words, options, events, started)).element));
      if (!scorer.zen) panels.push(panel("Errors by key", keyboardPicture(keyFigures(scorer.words, options, events), settings.layout[started.language] ?? {})));
    }
    this.root.replaceChildren(this.heading, this.figures, h("div", { class: "after" }, h("div", { class: "progress-of" }, this.state, this.best), actions), ways.length ? keysHelp() : "", this.visibility.element, this.details, ...panels);
    this.showState(state);
    if (fresh) {
      this.heading.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    this.next = ways[0] ?? null;
  }

  /** Figures that came later, from the server, replace the page's own. @param {Record<string, any>} result */
  setResult(result) {
    const plot = result.series?.wpm?.length ? speedPlot(result).element : h("p", { class: "quiet no-plot" }, "Too short for a plot.");
    this.figures.replaceChildren(
      h("dl", { class: "big" }, figure("wpm", result), figure("acc", result)),
      h("div", { class: "graph" }, plot),
    );
    this.details.replaceChildren(
      h(
        "dl",
        { class: "small" },
        h("div", { class: "figure-box" }, h("dt", {}, "test"), h("dd", { class: "what" }, testName({ ...this.started, ...result }))),
        ...["raw", "consistency", "key_consistency", "chars", "time", "afk"].map((key) => figure(key, result)),
      ),
    );
    this.setVerdict(result);
  }

  /** Says whether the test counts, once that is known. @param {{verdict?: string, reasons?: any[]}} judged */
  setVerdict(judged) {
    this.details.querySelector(".verdict")?.remove();
    if (judged.verdict === "void") {
      this.shareable = false;
      this.visibility.hide();
    }
    const said = verdict(judged);
    if (said) (judged.verdict === "ok" ? this.details.querySelector(".what") : this.details)?.append(said);
  }

  /** It is a best: what is known of that by now. @param {{before?: number, event?: Record<string, any>}} news */
  celebrate(news) {
    Object.assign(this.news, news);
    const { what, more } = bestSentence(this.news);
    this.best.replaceChildren(h("b", {}, what), more ? ` · ${more}` : "");
    this.best.hidden = false;
    announce(`${what}${more ? `, ${more}` : ""}`);
  }

  /** How far it has come by now; what lasts is also said aloud. @param {State} state */
  setState(state) {
    if (state === "stored" || state === "unsent") announce(STATES[state]);
    this.showState(state);
  }

  /** @param {State} state */
  showState(state) {
    this.state.dataset.state = state;
    say(this.state, STATES[state]);
    if (state === "stored" && this.shareable && this.visibility.session !== this.session) this.visibility.show(this.session, this.started.mode, this.isPublic);
  }

  /** The server will never have it. @param {string} why */
  fail(why) {
    this.state.dataset.state = "failed";
    say(this.state, `Not saved: ${why}`);
    announce(`Not saved: ${why}`);
  }

  /** What a screen reader hears at the end. @param {Record<string, any>} result */
  announce(result) {
    announce(`Test finished: ${fixed(result.wpm)} words per minute, ${percent(result.acc).slice(0, -1)} per cent accuracy.`);
  }
}

/** Each word that was left wrong, once. @param {import("./scoring.js").Scorer} scorer @returns {string[]} */
export function wrongWords(scorer) {
  const words = new Set();
  const last = scorer.limitMs === null && scorer.ended ? scorer.active : scorer.active - 1;
  for (let index = 0; index <= last; index++) {
    if (!scorer.isRight(index)) words.add(letters(scorer.target(index) ?? []).join(""));
  }
  words.delete("");
  return [...words];
}

/** @param {string[]} words @param {Record<string, any>} started */
function missedList(words, started) {
  const shown = words.slice(0, MOST_MISSED).map((word) => h("li", { lang: started.language, dir: "auto" }, word));
  return h("ul", { class: "missed" }, ...shown, words.length > MOST_MISSED ? h("li", { class: "quiet" }, `and ${words.length - MOST_MISSED} more`) : null);
}

/** Which keys lead on from here, by the setting that the style sheet knows. */
function keysHelp() {
  const entry = (/** @type {string} */ restart, /** @type {string[]} */ keys, /** @type {string} */ text) =>
    h("span", { "data-restart": restart }, ...keys.flatMap((key) => [h("kbd", {}, key), " "]), text);
  return h(
    "p",
    { class: "keys-help" },
    entry("tab", ["Tab"], "next test"),
    entry("tab", ["↓"], "look closer"),
    entry("esc", ["Esc"], "next test"),
    entry("tab-enter", ["Tab", "Enter"], "next test"),
  );
}

/** @param {string} title @param {HTMLElement} content */
function panel(title, content) {
  return h("section", { class: "panel" }, h("h2", {}, title), content);
}
