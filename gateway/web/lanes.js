/**
 * The lanes: a line for each racer with a mark that glides along it. Positions come ten times a second; between two of
 * them the browser moves the mark by itself, and no layout is made.
 *
 * @module
 */

import { h, say } from "./dom.js";
import { doing, isOver, ordinal } from "./racers.js";

/** More lanes than these are drawn closer together. */
const ROOMY = 5;
/** How often a screen reader may ask anew how far somebody is. */
const VALUE_MS = 2000;

/** @typedef {import("./room.js").Racer} Racer */
/**
 * @typedef {object} Lane
 * @property {HTMLElement} element
 * @property {HTMLElement} name
 * @property {HTMLElement} doing
 * @property {HTMLElement} way
 * @property {HTMLElement} done
 * @property {HTMLElement} speed
 * @property {HTMLElement} place
 * @property {number} clusters
 * @property {number} wpm
 * @property {boolean} over
 * @property {number} valueAt
 */

export class Lanes {
  /** @param {HTMLElement} root a list */
  constructor(root) {
    this.root = root;
    /** @type {Map<number, Lane>} */
    this.lanes = new Map();
    this.own = -1;
    /** Clusters of the text; 0 where the race ends by the clock. */
    this.total = 0;
  }

  /** @param {number} own one's own lane, or −1 */
  clear(own) {
    this.own = own;
    this.lanes.clear();
    this.root.replaceChildren();
  }

  /** @param {Racer[]} racers */
  show(racers) {
    for (const racer of [...racers].sort((a, b) => Number(b.lane === this.own) - Number(a.lane === this.own) || a.lane - b.lane)) {
      const lane = this.lanes.get(racer.lane) ?? this.make(racer);
      lane.element.dataset.state = racer.state;
      say(lane.name, racer.name);
      lane.name.title = racer.name;
      say(lane.doing, doing(racer));
      lane.over = isOver(racer);
      say(lane.place, racer.place ? ordinal(racer.place) : "");
      if (racer.place) lane.place.title = "provisional";
      if (isOver(racer) && racer.wpm !== undefined) lane.wpm = racer.wpm;
    }
    this.root.classList.toggle("close", racers.length > ROOMY);
    const gone = new Set(racers.map(({ lane }) => lane));
    for (const [number, lane] of this.lanes) {
      if (gone.has(number)) continue;
      lane.element.remove();
      this.lanes.delete(number);
    }
  }

  /** @param {Racer} racer @returns {Lane} */
  make(racer) {
    const own = racer.lane === this.own;
    const name = h("bdi", { class: "name" });
    const state = h("span", { class: "doing" });
    const done = h("div", { class: "done" });
    const way = h("div", { class: "line-of", role: "progressbar", "aria-label": `${racer.name}'s progress`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 }, done);
    const speed = h("span", { class: "speed", "aria-hidden": "true" });
    const place = h("b", { class: "place provisional" });
    const element = h("li", { class: own ? "lane own" : "lane", "data-lane": racer.lane }, h("span", { class: "who" }, name, own ? h("span", { class: "you" }, "you") : null, state), way, speed, place);
    const lane = { element, name, doing: state, way, done, speed, place, clusters: 0, wpm: 0, over: false, valueAt: -Infinity };
    this.lanes.set(racer.lane, lane);
    this.root.append(element);
    return lane;
  }

  /** @param {number} number @param {number} clusters typed @param {number} wpm */
  move(number, clusters, wpm) {
    const lane = this.lanes.get(number);
    if (!lane) return;
    lane.clusters = clusters;
    lane.wpm = wpm;
  }

  /**
   * Draws what has come.
   *
   * @param {number} elapsed share of a timed race's time that is over: there the first one is as far as the clock is
   */
  draw(elapsed) {
    const now = performance.now();
    for (const [number, share] of this.shares(elapsed)) {
      const { done, way, speed, clusters, wpm, over, valueAt } = this.at(number);
      done.style.transform = `translateX(${Math.round((share - 1) * 10_000) / 100}%)`;
      say(speed, clusters || over ? String(Math.round(wpm)) : "");
      if (now - valueAt < VALUE_MS) continue;
      way.setAttribute("aria-valuenow", String(Math.round(share * 100)));
      this.at(number).valueAt = now;
    }
  }

  /** How far each is along the lane, 0 to 1. @param {number} elapsed @returns {[number, number][]} */
  shares(elapsed) {
    const first = Math.max(1, ...[...this.lanes.values()].map(({ clusters }) => clusters));
    return [...this.lanes].map(([number, { clusters, over, element }]) => {
      if (!this.total) return [number, (clusters / first) * elapsed];
      return [number, over && element.dataset.state !== "dnf" ? 1 : Math.min(1, clusters / this.total)];
    });
  }

  /** @param {number} number */
  at(number) {
    return /** @type {Lane} */ (this.lanes.get(number));
  }
}
