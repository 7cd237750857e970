/**
 * After one's own end: the table with places as they come, everybody's course when it is over, and one's own test. Of a
 * race that is long over the table alone.
 *
 * @module
 */

import { byId, h, say } from "./dom.js";
import { fixed, percent } from "./figures.js";
import { Plot } from "./plot.js";
import { counted, doing, isFinal, isOver, ordinal, raceName, raceTime, ranked } from "./racers.js";

/** More lines than these nobody tells apart. */
const LINES = 6;

/** @typedef {import("./room.js").RaceState} RaceState */
/** @typedef {import("./room.js").Racer} Racer */

export class FinishView {
  /**
   * @param {{courses: import("./courses.js").Courses, again: () => void, leave: () => void}} page
   */
  constructor({ courses, again, leave }) {
    this.root = byId("outcome");
    /** Whether the race is long over. */
    this.past = false;
    this.courses = courses;
    this.heading = h("h1", { id: "outcome-title", tabindex: -1 });
    this.said = h("p", { class: "said" });
    this.againButton = /** @type {HTMLButtonElement} */ (h("button", { type: "button", class: "primary", onclick: again }, "Race again"));
    this.others = h("p", { class: "quiet", role: "status" });
    this.table = h("div", { class: "scroll" });
    this.plot = h("div", { class: "graph" });
    this.own = h("div", { class: "result own-result" });
    this.root.replaceChildren(
      h("div", { class: "podium" }, this.heading, this.said),
      h("div", { class: "after" }, this.others, h("p", { class: "actions" }, this.againButton, h("a", { class: "button", href: "/race", onclick: (/** @type {Event} */ event) => (event.preventDefault(), leave()) }, "Another race"))),
      this.table,
      this.plot,
      this.own,
    );
    /** How far those are that still race, by lane: share and wpm. @type {Map<number, {share: number, wpm: number}>} */
    this.under = new Map();
    /** @type {Map<number, {done: HTMLElement, wpm: HTMLElement}>} */
    this.cells = new Map();
    this.plotted = "";
    /** @type {number | null} */
    this.seconds = null;
    /** @type {RaceState | null} */
    this.state = null;
  }

  /** Another race. */
  clear() {
    this.under.clear();
    this.cells.clear();
    this.plotted = "";
    this.state = null;
    this.past = false;
    this.seconds = null;
    this.table.replaceChildren();
    this.plot.replaceChildren();
    this.own.replaceChildren();
  }

  /** @param {RaceState} state @param {{wpm: number, acc: number, duration_ms: number} | null} mine one's own figures, as far as the page knows them */
  show(state, mine) {
    this.state = state;
    const own = state.racers.find(({ lane }) => lane === state.lane);
    const racers = ranked(state.racers);
    const of = state.racers.length;
    const place = own?.place ?? null;
    say(this.heading, own === undefined ? `Race: ${raceName(state)}` : own.state === "dnf" ? "You did not finish" : place ? `${ordinal(place)} of ${of}${isFinal(state) ? "" : ", for now"}` : own.verdict === "void" ? "This race does not count for you" : "Finished");
    const figures = own?.wpm !== undefined ? { wpm: own.wpm, acc: own.acc ?? 0, ms: own.ms ?? 0 } : mine ? { wpm: mine.wpm, acc: mine.acc, ms: mine.duration_ms } : null;
    say(this.said, figures ? `${fixed(figures.wpm)} wpm · ${percent(figures.acc)} · ${raceTime(figures.ms)}` : own === undefined ? "You are looking on." : "");
    this.showTable(state, racers);
    this.againButton.hidden = own === undefined && state.phase === "settled";
    this.againButton.disabled = state.phase !== "settled";
    this.showOthers();
    if (state.phase === "settled" && !this.past) this.showPlot(state, racers);
  }

  /** A race that is long over, of which nothing more comes. @param {RaceState} state */
  showPast(state) {
    this.clear();
    this.past = true;
    this.show(state, null);
    if (state.start_ms === undefined) return;
    const when = new Date(state.start_ms);
    this.said.replaceChildren("Raced on ", h("time", { datetime: when.toISOString() }, when.toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" })), ".");
  }

  /** @param {number | null} seconds to the end of the race at the latest */
  count(seconds) {
    this.seconds = seconds;
    this.showOthers();
  }

  showOthers() {
    const { state } = this;
    if (!state) return;
    const racing = state.racers.filter((racer) => ["racing", "detached"].includes(racer.state) && racer.lane !== state.lane).length;
    let text = "";
    if (state.phase !== "settled") {
      const end = this.seconds === null ? "" : `, for ${this.seconds} s at the most`;
      text = racing ? `${counted(racing, "racer is", "racers are")} still typing${end}.` : "Counting …";
    } else if (state.next && !this.past) {
      text = "Another race is open: come along.";
    } else {
      text = isFinal(state) ? "Places are final." : "Places may still change: the tests are being checked.";
    }
    say(this.others, text);
  }

  /** @param {RaceState} state @param {Racer[]} racers */
  showTable(state, racers) {
    const timed = state.mode === "time";
    const names = ["", "racer", timed ? "" : "time", "wpm", "accuracy"];
    this.cells.clear();
    const rows = racers.map((racer) => this.row(state, racer));
    this.table.replaceChildren(
      h(
        "table",
        { class: "standings" },
        h("caption", { class: "unseen" }, state.phase === "settled" ? "Result" : "Standings"),
        h("thead", {}, h("tr", {}, ...names.map((name, i) => h("th", { scope: "col" }, i ? name : h("span", { class: "unseen" }, "place"))))),
        h("tbody", {}, ...rows),
      ),
    );
  }

  /** @param {RaceState} state @param {Racer} racer */
  row(state, racer) {
    const { lane, name, place, ms, wpm, acc } = racer;
    const over = isOver(racer) || racer.state === "ghost";
    const sure = isFinal(state);
    const own = lane === state.lane;
    const note = doing(racer);
    const done = h("div", { class: "done" });
    const speed = h("td", { class: "main" }, wpm === undefined ? "" : fixed(wpm, over ? 1 : 0));
    if (!over) this.cells.set(lane, { done, wpm: speed });
    const row = h(
      "tr",
      { class: own ? "me" : null, "data-lane": lane, "data-state": racer.state },
      h("td", { class: place && !sure ? "place provisional" : "place" }, place ? ordinal(place) : "–", place && !sure ? h("span", { class: "unseen" }, " provisional") : null),
      h("th", { scope: "row" }, h("div", { class: "who" }, h("bdi", { class: "name" }, name), own ? h("span", { class: "you" }, "you") : null, note ? h("span", { class: "doing" }, note) : null)),
      h("td", { class: "time" }, over ? (ms === undefined || state.mode === "time" ? "" : raceTime(ms)) : h("div", { class: "line-of" }, done)),
      speed,
      h("td", {}, acc === undefined ? "" : percent(acc)),
    );
    this.drawUnder(lane);
    return row;
  }

  /** How far somebody is who still races. @param {number} lane @param {number} share @param {number} wpm */
  move(lane, share, wpm) {
    this.under.set(lane, { share, wpm });
    this.drawUnder(lane);
  }

  /** @param {number} lane */
  drawUnder(lane) {
    const cells = this.cells.get(lane);
    const under = this.under.get(lane);
    if (!cells || !under) return;
    cells.done.style.transform = `translateX(${Math.round((under.share - 1) * 10_000) / 100}%)`;
    say(cells.wpm, fixed(under.wpm));
  }

  /** @param {RaceState} state @param {Racer[]} racers by place */
  showPlot(state, racers) {
    const key = `${state.race} ${racers.map(({ lane, ms, wpm }) => [lane, ms, wpm]).join(" ")}`;
    if (key === this.plotted) return;
    this.plotted = key;
    const chosen = racers.filter(({ lane }, i) => i < LINES || lane === state.lane).slice(-LINES - 1);
    const seconds = Math.max(0, ...chosen.map(({ ms, lane }) => (ms === undefined ? (this.courses.lanes.get(lane)?.length ?? 0) : Math.ceil(ms / 1000))));
    const lines = [];
    for (const racer of chosen) {
      const values = this.courses.of(racer.lane, seconds, racer);
      if (values.some((value) => value !== null)) lines.push({ name: racer.name, values, className: racer.lane === state.lane ? "wpm" : `other lane-${lines.length % LINES}` });
    }
    if (seconds < 2 || lines.length === 0) return;
    const xs = Array.from({ length: seconds }, (_, k) => k + 1);
    this.plot.replaceChildren(new Plot({ title: "Everybody's speed over the race", xName: "second", xTexts: xs.map(String), xs, yName: "words per minute", lines }).element);
  }
}
