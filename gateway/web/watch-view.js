/**
 * What somebody else types, as one sees it who looks on: the text with its marks and caret, how far it is, the figures,
 * and the result.
 *
 * @module
 */

import { byId, h, say } from "./dom.js";
import { doubt, figure, testName } from "./figures.js";
import { speedPlot } from "./plot.js";
import { TextView } from "./text-view.js";
import { scorerOf } from "./typing-view.js";

/** How often the time left is looked at. */
const CLOCK_MS = 250;
/** Words of the text that a screen reader is given. */
const READ_WORDS = 300;

export class WatchView {
  constructor() {
    this.view = new TextView(byId("text"));
    /** @type {import("./scoring.js").Scorer | null} */
    this.scorer = null;
    /** Keys that were shown. */
    this.n = 0;
    /** @type {Record<string, any>} */
    this.watched = {};
    /** When the test's time was 0, by performance.now(); null while it stands. @type {number | null} */
    this.zero = null;
    this.clock = 0;
  }

  /** Shows a test from its beginning. @param {Record<string, any>} watched */
  show(watched) {
    this.watched = watched;
    this.scorer = scorerOf(watched);
    this.n = 0;
    this.stop();
    this.view.show(this.scorer, watched);
    this.view.rest(true);
    byId("live").dir = watched.direction ?? "ltr";
    byId("passage").lang = watched.language;
    say(byId("passage"), watched.mode === "zen" ? "" : `The text: ${watched.text.split(" ", READ_WORDS).join(" ")}`);
    say(byId("what"), testName(watched));
    document.documentElement.dataset.test = watched.seconds ? "time" : watched.mode;
    byId("shown").hidden = false;
    byId("end").hidden = true;
    this.figures({ wpm: 0, acc: 100 });
    this.progress();
  }

  /** Keys that were typed. @param {{n: number, k: string[], ms: number, wpm: number, acc: number}} frame */
  keys({ n, k, ms, wpm, acc }) {
    const { scorer } = this;
    if (!scorer || n > this.n) return;
    const before = scorer.active;
    for (const key of k.slice(this.n - n)) scorer.key(0, key);
    this.n = Math.max(this.n, n + k.length);
    if (Math.abs(scorer.active - before) > 1) this.view.rewind();
    this.view.update();
    this.view.rest(false);
    this.figures({ wpm, acc });
    this.zero = performance.now() - ms;
    if (!this.clock) this.clock = window.setInterval(() => this.progress(), CLOCK_MS);
    this.progress();
  }

  /** Nothing comes for now: the clock stands. */
  stop() {
    clearInterval(this.clock);
    this.clock = 0;
    this.view.rest(true);
  }

  /** Nothing is shown at all. */
  hide() {
    this.stop();
    byId("shown").hidden = true;
    say(byId("what"), "");
  }

  /** The result, which others may see like the test. @param {Record<string, any>} end */
  end(end) {
    this.stop();
    const plot = end.series?.wpm?.length ? speedPlot({ ...this.watched, ...end }).element : null;
    byId("end").replaceChildren(
      h("dl", { class: "big" }, figure("wpm", end), figure("acc", end)),
      h("dl", { class: "more" }, ...["raw", "consistency", "chars", "time"].map((key) => figure(key, end))),
      ...(plot ? [h("div", { class: "graph" }, plot)] : []),
      ...(end.verdict && doubt(end) ? [h("p", { class: "quiet" }, `This result: ${doubt(end)}.`)] : []),
    );
    byId("end").hidden = false;
    const { scorer } = this;
    if (scorer?.limitMs != null) say(byId("progress"), "0");
    else if (scorer && !scorer.zen) say(byId("progress"), `${scorer.words.length}/${scorer.words.length}`);
  }

  /** @param {{wpm: number, acc: number}} figures */
  figures({ wpm, acc }) {
    say(byId("live-wpm"), String(Math.round(wpm)));
    say(byId("live-acc"), String(Math.floor(acc)));
  }

  progress() {
    const { scorer } = this;
    if (!scorer) return;
    let text;
    if (scorer.limitMs !== null) {
      const ran = this.zero === null || this.n === 0 ? 0 : performance.now() - this.zero;
      text = String(Math.max(0, Math.ceil((scorer.limitMs - ran) / 1000)));
    } else {
      text = scorer.zen ? String(scorer.active) : `${Math.min(scorer.active, scorer.words.length)}/${scorer.words.length}`;
    }
    say(byId("progress"), text);
  }
}
