/**
 * The typing side of protocol typegate.v1: starts a test, sends its keystrokes, keeps its log until the server has it,
 * and takes it up again after any loss of the connection. Typing never waits for anything here: `type` only appends.
 *
 * @module
 */

import { Connection } from "./connection.js";
import { readLog, TestLog } from "./log.js";
import { hasLocks, hold } from "./locks.js";
import { startedHere } from "./offline.js";
import { keepForLog, keepToken, refuse, token } from "./token.js";
import { Verdicts } from "./verdicts.js";

/** A frame goes out at least this often while keys come (the server wants 250 ms at most). */
const FLUSH_MS = 230;
/** Events in one `keys` frame: each is at most 64 bytes of key and some digits, a frame at most 32 KiB. */
const FRAME_EVENTS = 350;
/** However soon the server says: a page that asks in a loop helps nobody. */
const LEAST_RETRY_MS = 250;
/** A connection may be away this long before a test begins without it. */
const ALONE_MS = 2000;
/** Who waits longer than this for a test is told why. */
const LONG_RETRY_MS = 1500;
/** Why a test has to be waited for. @type {Record<string, string>} */
const WAITS = {
  busy: "Many tests were started in a short time. The next one comes by itself, in a moment.",
  full: "The server takes no new tests for the moment. The next one comes by itself as soon as it does.",
};
/** Keys that came a moment too early are sent again after this. */
const EARLY_MS = 60;
/** @param {number} place in the queue */
const queued = (place) => `As many type as may. You are number ${place} in the queue; the test comes by itself.`;
/** The test goes on over another connection. */
const SUPERSEDED = 4502;
const CURRENT = "typegate.current";

/**
 * @typedef {object} ClientListener
 * @property {(state: "online" | "offline" | "refused", detail: {retryMs?: number, sentence?: string}) => void} connection
 * @property {(log: TestLog) => void} started a new test is there to be typed
 * @property {(tick: Record<string, any>) => void} tick the running test's figures
 * @property {(session: string, result: Record<string, any>) => void} result of any test of this tab
 * @property {(session: string, verdict: string, before: string | undefined) => void} stored of any test of the user's;
 *   `before`: the verdict that was told already
 * @property {(event: Record<string, any>) => void} best a result of the user's, of any tab, is a best
 * @property {(sentence: string) => void} warned the test goes on, or comes later; but something is wrong
 * @property {(error: {code: string, message: string, retry: number | null}, log: TestLog | null) => void} failed the test
 *   at hand cannot go on, or none could be started
 * @property {() => void} [left] a finished test that was asked back is for another connection to bring in
 * @property {() => void} [opened] there is a connection; what is sent now comes before what the client sends of itself
 * @property {(message: Record<string, any>) => boolean} [heard] any message but those of a test that is well; true where
 *   it is dealt with
 * @property {(hb: Record<string, any>, at: number) => void} [beat] a heartbeat's answer
 * @property {(started: Record<string, any>) => number} [startsAt] performance.now() at which a test's time begins
 */

export class Client {
  /** @param {{url: string, listener: ClientListener}} options */
  constructor({ url, listener }) {
    this.url = url;
    this.listener = listener;
    this.ref = 0;
    /** What was asked for and not yet begun. @type {Record<string, any> | null} */
    this.wanted = null;
    /** The test at hand. @type {TestLog | null} */
    this.log = null;
    /** Whether the server's session is attached to this connection. */
    this.attached = false;
    /** Events and holds sent on this connection. */
    this.sent = 0;
    this.sentHolds = 0;
    this.finishSent = false;
    /** Finished tests whose `stored` has not come. @type {Map<string, TestLog>} */
    this.unsaved = new Map();
    this.verdicts = new Verdicts();
    /** The test that was last asked back over this connection: another one would take it away from this one. */
    this.resuming = "";
    /** @type {Map<string, () => void>} */
    this.locks = new Map();
    this.flushTimer = 0;
    this.retryTimer = 0;
    this.aloneTimer = 0;
    this.flushedAt = -Infinity;
    this.user = "";
    this.guest = true;
    /** Resolves when it is known who is there. @type {Promise<void>} */
    this.known = new Promise((known) => (this.introduce = known));
    this.limits = {};
    this.connection = new Connection({
      url,
      token,
      refuse,
      listener: {
        opened: () => this.onOpened(),
        ready: (ready, hello) => this.onReady(ready, hello),
        message: (message) => this.onMessage(message),
        lost: (retryMs) => this.onLost(retryMs),
        refused: (code, sentence) => this.onRefused(code, sentence),
        beat: (hb, at) => this.listener.beat?.(hb, at),
      },
    });
    addEventListener("pagehide", () => this.log?.save());
    document.addEventListener("visibilitychange", () => this.flush());
  }

  open() {
    this.connection.open();
  }

  get online() {
    return this.connection.isReady;
  }

  /** Who the visitor is, as soon as the server has said so. */
  async who() {
    await this.known;
    return { user: this.user, guest: this.guest };
  }

  // --- what the page does ---

  /** Gives up what runs, also where the new test is refused, and starts one. @param {Record<string, any>} options the fields of `start` */
  start(options) {
    this.abort();
    this.wanted = options;
    if (this.connection.closed) this.connection.revive();
    else this.ask();
    this.doWithout();
  }

  /** Begins what needs no server, where there is none for a while. */
  doWithout() {
    if (this.aloneTimer || this.connection.isOpen) return;
    this.aloneTimer = window.setTimeout(() => this.startHere(), navigator.onLine ? ALONE_MS : 0);
  }

  startHere() {
    this.aloneTimer = 0;
    const started = this.wanted && !this.connection.isOpen && startedHere(this.wanted);
    if (!started) return;
    this.log = this.newLog(started);
    this.listener.started(this.log);
  }

  /** @param {Record<string, any>} started */
  newLog(started) {
    const log = new TestLog(started, this.listener.startsAt?.(started) ?? performance.now(), this.wanted ?? {});
    log.user = this.user;
    if (this.guest && this.user) log.token = token() ?? "";
    this.wanted = null;
    return log;
  }

  /**
   * Takes up this tab's test after a reload; null where there is none. One that is over, but not saved, is brought in.
   *
   * @param {(log: TestLog) => boolean} mine whether this page goes on with such a test @returns {Promise<TestLog | null>}
   */
  async takeUp(mine) {
    const session = current.read();
    const log = session ? readLog(session) : null;
    if (!log || !mine(log)) return null;
    const [visit] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
    const release = await hold(log.session, { ours: visit?.type === "reload" }); // the page before lets go of it
    if (!release) return null; // a copy of the tab has it
    this.locks.set(log.session, release);
    this.log = log;
    if (log.finished !== null) this.unsaved.set(log.session, log);
    if (this.connection.isOpen) this.resume();
    return log;
  }

  /** A key of the running test. @param {string} key @param {number} at performance.now() @returns {number} its dt */
  type(key, at) {
    const log = /** @type {TestLog} */ (this.log);
    const dt = log.add(key, at);
    if (log.n === 1 && !log.started.race) this.remember(log);
    if (!this.flushTimer) {
      const wait = Math.max(0, this.flushedAt + FLUSH_MS - performance.now());
      this.flushTimer = window.setTimeout(() => this.flush(), wait);
    }
    return dt;
  }

  /** A key was released. @param {number} event its event @param {number} ms how long it was down */
  release(event, ms) {
    this.log?.hold(event, ms);
  }

  /** The test at hand is over. */
  finish() {
    const log = this.log;
    if (!log || log.finished !== null) return;
    log.finished = log.n;
    log.dirty = true;
    this.unsaved.set(log.session, log);
    this.flush();
  }

  /** Gives up the test at hand without a result. */
  abort() {
    if (this.attached && this.log?.finished === null && this.log.n) this.connection.send({ t: "abort" });
    this.leave();
  }

  // --- within ---

  /** Lets go of the test at hand. */
  leave() {
    clearTimeout(this.aloneTimer);
    this.aloneTimer = 0;
    clearTimeout(this.flushTimer);
    this.flushTimer = 0;
    const log = this.log;
    this.log = null;
    this.attached = false;
    current.write(null);
    if (log && log.finished === null) {
      log.drop();
      this.unlock(log.session);
    }
  }

  /** From its first key on a test belongs to this tab, also after a reload. @param {TestLog} log */
  remember(log) {
    current.write(log.session);
    if (this.guest && this.user) keepForLog(this.user);
    hold(log.session, { ours: true }).then((release) => {
      if (release) this.locks.set(log.session, release);
    });
  }

  /** @param {string} session */
  unlock(session) {
    this.locks.get(session)?.();
    this.locks.delete(session);
  }

  ask() {
    clearTimeout(this.retryTimer);
    if (this.wanted && this.connection.isOpen) this.connection.send({ t: "start", ref: ++this.ref, ...this.wanted });
  }

  resume() {
    const log = /** @type {TestLog} */ (this.log);
    if (log.started.offline) return; // nobody knows of it yet
    const { mode, text, session, ticket } = log.started;
    this.resuming = session;
    this.connection.send({
      t: "resume",
      session,
      ticket,
      n: log.n,
      ref: (log.started.ref = ++this.ref),
      ...(log.receipt ? { receipt: log.receipt } : {}),
      ...(mode === "text" ? { text } : {}),
    });
  }

  /** Writes the log, then sends what is new: all that is ever sent is kept here first. */
  flush() {
    clearTimeout(this.flushTimer);
    this.flushTimer = 0;
    this.flushedAt = performance.now();
    const log = this.log;
    if (!log) return;
    log.save();
    if (!this.attached) return;
    sendLog(this, log);
  }

  // --- what the server says ---

  /** Asks at once for what the page waits for. */
  onOpened() {
    this.listener.opened?.();
    if (this.log && !this.isSettled(this.log)) this.resume();
    else this.ask();
  }

  /** @param {Record<string, any>} ready @param {Record<string, any>} hello */
  onReady(ready, hello) {
    this.user = ready.user;
    this.guest = ready.guest;
    this.introduce();
    this.limits = hello.limits ?? {};
    if (ready.token) keepToken(ready.token, ready.user);
    this.listener.connection("online", {});
  }

  /** Whether its end is known to the server. @param {TestLog} log */
  isSettled(log) {
    return log.finished !== null && !this.unsaved.has(log.session);
  }

  /** @param {number} retryMs */
  onLost(retryMs) {
    clearTimeout(this.retryTimer);
    this.attached = false;
    this.resuming = "";
    this.log?.save();
    this.listener.connection("offline", { retryMs });
    this.doWithout();
  }

  /** @param {number} code @param {string} sentence */
  onRefused(code, sentence) {
    this.attached = false;
    if (code === SUPERSEDED && this.log && !hasLocks()) this.log.elsewhere = true;
    this.listener.connection("refused", { sentence });
  }

  /** @param {Record<string, any>} message */
  onMessage(message) {
    switch (message.t) {
      case "started":
        if (message.ref !== undefined && message.ref !== this.ref) return;
        this.onStarted(message);
        return;
      case "resumed":
        if (message.session === this.log?.session) this.onResumed(message.n);
        return;
      case "tick":
        this.onTick(message);
        return;
      case "result":
        this.listener.result(message.session, message);
        return;
      case "event":
        if (message.kind === "best") this.listener.best(message);
        return;
      case "stored":
        this.onStored(message.session, message.verdict);
        return;
      case "error":
        if (!this.listener.heard?.(message)) this.onError(message);
        return;
      default:
        this.listener.heard?.(message);
    }
  }

  /** @param {Record<string, any>} started */
  onStarted(started) {
    const left = this.unsaved.has(this.resuming); // asked back, and let go of for this one before its log was sent
    this.resuming = "";
    if (left) this.listener.left?.();
    this.log = this.newLog(started);
    this.attach(0);
    // A race is this tab's before its first key: its time runs.
    if (started.race) this.remember(this.log);
    this.listener.started(this.log);
  }

  /** @param {number} n events that the server has */
  attach(n) {
    this.attached = true;
    this.sent = n;
    this.finishSent = false;
    const holds = this.log?.holds ?? [];
    const first = holds.findIndex((_, i) => i % 2 === 0 && holds[i] >= n);
    this.sentHolds = first < 0 ? holds.length : first;
  }

  /** @param {number} n */
  onResumed(n) {
    const log = /** @type {TestLog} */ (this.log);
    if (n > log.n) {
      // The server saw more than this browser kept: the copy here is of no use.
      this.giveUp({ code: "gone", message: "The server knows more of this test than this page.", retry: null });
      return;
    }
    this.attach(n);
    this.flush();
  }

  /** @param {Record<string, any>} tick */
  onTick(tick) {
    const log = this.log;
    if (!log || !this.attached) return;
    log.acked = Math.max(log.acked, tick.n);
    if (tick.r) log.receipt = tick.r;
    log.dirty = true;
    if (!this.flushTimer) log.save();
    this.listener.tick(tick);
  }

  /** @param {string} session @param {string} told its verdict @param {string} [as] the server's name of it, where it is another */
  onStored(session, told, as = session) {
    const log = this.unsaved.get(session);
    this.unsaved.delete(session);
    log?.drop();
    this.unlock(session);
    if (current.read() === session) current.write(null);
    const { verdict, before } = this.verdicts.hear(as, told);
    this.listener.stored(as, verdict, before);
  }

  /** @param {Record<string, any>} error */
  onError(error) {
    const { code, ref, retry, place } = error;
    if (typeof ref === "number" && ref !== (this.log?.started.ref ?? this.ref)) return;
    if (code === "gap" && this.log) {
      this.attach(error.expected);
      this.flush();
    } else if (code === "early" && this.log) {
      // Nothing before the start instant is taken: it is all sent again, once that is past over there as well.
      this.attach(0);
      this.flushTimer = window.setTimeout(() => this.flush(), EARLY_MS);
    } else if (code === "conflict") {
      this.listener.warned(error.message);
    } else if (typeof retry === "number") {
      clearTimeout(this.retryTimer);
      this.retryTimer = window.setTimeout(() => this.again(), Math.max(retry, LEAST_RETRY_MS));
      if (this.wanted && typeof place === "number") this.listener.warned(queued(place));
      else if (this.wanted && retry > LONG_RETRY_MS) this.listener.warned(WAITS[code] ?? error.message);
    } else {
      this.giveUp(/** @type {any} */ (error));
    }
  }

  /** What the server could not do a while ago; without a connection it is asked for anyway, as soon as there is one. */
  again() {
    if (!this.connection.isOpen) return;
    if (this.wanted) {
      this.ask();
    } else if (this.log && !this.attached) {
      this.resume();
    } else if (this.log) {
      this.finishSent = false;
      this.flush();
    }
  }

  /** The test at hand cannot go on. @param {{code: string, message: string, retry: number | null}} error */
  giveUp(error) {
    const log = this.log;
    this.wanted = null;
    if (log) {
      this.unsaved.delete(log.session);
      // Another user's: who has signed in, or out, since. A later visit settles it, when its own user is back.
      if (error.code !== "foreign" || log.finished === null) log.drop();
      this.unlock(log.session);
      this.leave();
    }
    this.listener.failed(error, log);
  }
}

/**
 * Sends a log's unsent events and holds, and `finish` where it has ended.
 *
 * @param {{connection: Connection, sent: number, sentHolds: number, finishSent: boolean}} sender @param {TestLog} log
 */
export function sendLog(sender, log) {
  while (sender.sent < log.n || sender.sentHolds < log.holds.length) {
    const until = Math.min(log.n, sender.sent + FRAME_EVENTS);
    /** @type {Record<string, unknown>} */
    const frame = { t: "keys", n: sender.sent, e: log.events.slice(2 * sender.sent, 2 * until) };
    // A hold goes with or after its own event.
    let holdsUntil = sender.sentHolds;
    while (holdsUntil < log.holds.length && log.holds[holdsUntil] < until && holdsUntil - sender.sentHolds < 2 * FRAME_EVENTS) holdsUntil += 2;
    if (holdsUntil > sender.sentHolds) frame.h = log.holds.slice(sender.sentHolds, holdsUntil);
    if (until === sender.sent && !frame.h) break;
    if (!sender.connection.send(frame)) return;
    sender.sent = until;
    sender.sentHolds = holdsUntil;
  }
  if (log.finished !== null && !sender.finishSent) {
    sender.finishSent = sender.connection.send({ t: "finish", n: log.finished });
  }
}

/** The session that this tab works on, also after a reload; none where the browser keeps nothing. */
const current = {
  /** @returns {string | null} */
  read() {
    try {
      return sessionStorage.getItem(CURRENT);
    } catch {
      return null;
    }
  },
  /** @param {string | null} session */
  write(session) {
    try {
      if (session === null) sessionStorage.removeItem(CURRENT);
      else sessionStorage.setItem(CURRENT, session);
    } catch {
      // after a reload there will be a new test
    }
  },
};
