/**
 * The race at hand, as the server tells it: asks for one, comes back to it after any loss of the connection, and keeps its
 * newest state. What it looks like is the views'.
 *
 * @module
 */

/** What may be wrong with what was asked of a race; errors of a test have other codes. */
const CODES = new Set(["no_race", "race_full", "race_over", "race_running", "not_racing", "not_host", "name", "options", "races_full", "away", "busy", "unknown_language", "unknown_test"]);
/** After these there is no race here. */
const WITHOUT = new Set(["no_race", "race_full", "race_over", "race_running"]);
const LEAST_RETRY_MS = 250;

/**
 * @typedef {object} Racer
 * @property {number} lane
 * @property {string} name
 * @property {"waiting" | "racing" | "detached" | "finished" | "dnf" | "ghost"} state
 * @property {boolean} ready
 * @property {number} [place]
 * @property {number} [ms] race time
 * @property {number} [wpm]
 * @property {number} [acc]
 * @property {string} [verdict]
 */

/**
 * @typedef {object} RaceState
 * @property {string} race
 * @property {number} version
 * @property {"lobby" | "countdown" | "running" | "closing" | "settled"} phase
 * @property {number} [host]
 * @property {number} [lane] one's own; none where one looks on
 * @property {boolean} public
 * @property {number} most
 * @property {string} mode
 * @property {number} [count]
 * @property {number} [seconds]
 * @property {string} language
 * @property {string} [title]
 * @property {number} [length] of the text, in clusters; from the countdown on, but of a timed one
 * @property {number} [start_ms]
 * @property {number} [until_ms]
 * @property {boolean} [provisional] once it is settled: whether places may still change
 * @property {string} [next]
 * @property {Racer[]} racers
 */

/**
 * @typedef {object} RoomListener
 * @property {(state: RaceState, before: RaceState | null) => void} state
 * @property {(p: [number, number, number, number][]) => void} progress
 * @property {(ghost: {lane: number, step_ms: number, at: number[]}) => void} ghost
 * @property {(error: {code: string, message: string, retry: number | null}, lost: boolean) => void} refused `lost`: there is
 *   no race here
 */

export class Room {
  /** @param {{send: (message: Record<string, unknown>) => boolean, who: () => Record<string, unknown>, listener: RoomListener}} options `who`: name and input of the visitor */
  constructor({ send, who, listener }) {
    this.send = send;
    this.who = who;
    this.listener = listener;
    /** The race's id, "" while there is none. */
    this.id = "";
    /** @type {RaceState | null} */
    this.state = null;
    /** What was asked for and not yet answered. @type {Record<string, unknown> | null} */
    this.wanted = null;
    this.watching = false;
    /** Whether nothing was heard of the race since the connection is there. */
    this.behind = false;
    this.retryTimer = 0;
  }

  /** One's own lane, or −1. */
  get lane() {
    return this.state?.lane ?? -1;
  }

  get own() {
    return this.state?.racers.find(({ lane }) => lane === this.lane) ?? null;
  }

  // --- what the page does ---

  /** @param {Record<string, unknown>} options the fields of `race.create` */
  create(options) {
    this.ask({ t: "race.create", ...options, ...this.who() });
  }

  /** Looks for one. @param {string} language */
  find(language) {
    this.ask({ t: "race.join", language, ...this.who() });
  }

  /** @param {string} id */
  join(id) {
    this.id = id;
    this.ask({ t: "race.join", race: id, ...this.who() });
  }

  /** The test is over and kept: comes back to a race of which nothing was heard meanwhile. */
  catchUp() {
    if (this.behind && this.id) this.opened(false);
  }

  /** @param {string} id */
  watch(id) {
    this.id = id;
    this.watching = true;
    this.ask({ t: "watch", race: id });
  }

  again() {
    this.ask({ t: "race.again" });
  }

  /** @param {boolean} ready */
  ready(ready) {
    this.send({ t: "race.ready", ready });
  }

  start() {
    this.send({ t: "race.start" });
  }

  leave() {
    if (this.id && this.state) this.send({ t: this.watching ? "unwatch" : "race.leave" });
    this.forget();
  }

  // --- within ---

  forget() {
    clearTimeout(this.retryTimer);
    Object.assign(this, { id: "", state: null, wanted: null, watching: false });
  }

  /** @param {Record<string, unknown>} message */
  ask(message) {
    this.wanted = message;
    clearTimeout(this.retryTimer);
    this.send(message);
  }

  /** @param {number | null} retry ms after which what is wanted is asked for again */
  askLater(retry) {
    clearTimeout(this.retryTimer);
    this.retryTimer = window.setTimeout(() => this.wanted && this.send(this.wanted), Math.max(retry ?? 0, LEAST_RETRY_MS));
  }

  /**
   * There is a connection: what waits is asked for, and what was there is come back to.
   *
   * @param {boolean} resuming whether a test of the race is gone on with: that leads back by itself, and to join instead
   *   would begin it anew
   */
  opened(resuming) {
    this.behind = resuming;
    if (resuming) return;
    const back = this.watching ? { t: "watch", race: this.id } : { t: "race.join", race: this.id, ...this.who() };
    if (this.wanted) {
      if (this.wanted.t === "race.again" && this.id) this.send(back);
      this.send(this.wanted);
    } else if (this.id) {
      this.ask(back); // until it is answered: races may stand still
    }
  }

  /** @param {Record<string, any>} message @returns {boolean} whether it was about a race */
  heard(message) {
    switch (message.t) {
      case "race.state":
        this.onState(/** @type {any} */ (message));
        return true;
      case "race.progress":
        if (message.race === this.id) this.listener.progress(message.p);
        return true;
      case "race.ghost":
        if (message.race === this.id) this.listener.ghost(/** @type {any} */ (message));
        return true;
      case "error":
        return this.onError(/** @type {any} */ (message));
      default:
        return false;
    }
  }

  /** @param {RaceState} state */
  onState(state) {
    const { t, race } = /** @type {any} */ (this.wanted ?? {});
    // Another race than the one at hand is news only where one was asked for; who looks for one and is alone is led on.
    const led = this.state?.phase === "lobby" && state.phase === "lobby" && state.lane !== undefined;
    const wanted = led || t === "race.create" || t === "race.again" || (t === "race.join" && !race);
    if (state.race !== this.id && !(wanted && state.race !== this.state?.race)) return;
    if (state.race === this.state?.race && state.version < this.state.version) return;
    if (t !== "race.again" || state.race !== this.id) this.wanted = null;
    if (this.behind && this.wanted) this.send(this.wanted); // the test came first
    this.behind = false;
    const before = this.state?.race === state.race ? this.state : null;
    this.id = state.race;
    this.watching = state.lane === undefined;
    this.state = state;
    this.listener.state(state, before);
  }

  /** @param {{code: string, message: string, retry: number | null, ref?: number | null}} error */
  onError(error) {
    if (error.code === "full" && this.wanted) {
      this.askLater(error.retry); // said of tests, too: whose it is may be both
      return false;
    }
    // `away` and `running` are said of tests, too, but then of a message with a number.
    if (error.code === "away" && typeof error.ref === "number") return false;
    const elsewhere = error.code === "running" && this.id !== "" && typeof error.ref !== "number";
    if (!elsewhere && !CODES.has(error.code)) return false;
    if (typeof error.retry === "number" && this.wanted) {
      this.askLater(error.retry);
      this.listener.refused(error, false);
      return true;
    }
    // Who is told so in a lobby is in it no longer: the lane was given up meanwhile.
    const lost = elsewhere || (WITHOUT.has(error.code) && (this.state === null || this.state.phase === "lobby"));
    this.wanted = null;
    this.listener.refused(error, lost || (error.code === "no_race" && this.id !== ""));
    return true;
  }
}
