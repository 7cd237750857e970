/**
 * One WebSocket connection to the server, kept up: `hello`, `auth` and `ready`, heartbeats, and coming back after a loss
 * with full jitter. It knows nothing of tests.
 *
 * @module
 */

import { turn } from "./newcomer.js";

/** Which close codes forbid coming back, and what the page says then. Every other code means: reconnect and resume. */
export const FINAL_CLOSES = new Map([
  [4500, "The page and the server do not understand each other. Reload the page."],
  [4501, "The server does not know you any more. Reload the page."],
  [4502, "You go on in another tab or window."],
  [4503, "The server was updated. Reload the page."],
  [4504, "The server closed the connection because a limit was exceeded."],
  [4505, "The server refuses this connection."],
]);

const VERSION = 1;
const BACK_OFF_MS = { first: 500, most: 20_000 };
/** A connection that held for this long was a good one: the next loss begins with a short wait again. */
const STEADY_MS = 5_000;
/** Without an answer to the handshake for this long, the connection counts as failed. */
const HANDSHAKE_MS = 10_000;
const DEFAULT_HEARTBEAT_MS = 20_000;

/** Waits between 0 and a limit that doubles with each attempt. @param {number} attempt @param {() => number} random */
export function backOff(attempt, random = Math.random) {
  return random() * Math.min(BACK_OFF_MS.most, BACK_OFF_MS.first * 2 ** attempt);
}

/**
 * @typedef {object} Listener
 * @property {() => void} opened `auth` is on its way; what is sent now comes right after it, a round trip before `ready`
 * @property {(ready: Record<string, any>, hello: Record<string, any>) => void} ready
 * @property {(message: Record<string, any>) => void} message
 * @property {(retryMs: number) => void} lost the connection is gone; the next attempt comes by itself
 * @property {(code: number, sentence: string) => void} refused it is gone for good
 * @property {(hb: Record<string, any>, at: number) => void} [beat] a heartbeat's answer, with performance.now() of its coming
 */

export class Connection {
  /**
   * @param {{url: string, token: () => string | null, refuse?: (token: string) => void, aside?: boolean, listener: Listener}} options
   *   `token`: what to show as identity, which `refuse` is told of where the server does not accept it; `aside`: beside
   *   the page's own connection, for what was typed before
   */
  constructor({ url, token, refuse = () => {}, aside = false, listener }) {
    this.url = url;
    this.token = token;
    this.refuseToken = refuse;
    this.aside = aside;
    /** The token that this connection showed. @type {string | null} */
    this.shown = null;
    /** Whether `auth` is sent. */
    this.introduced = false;
    /** Lets other tabs become guests. @type {() => void} */
    this.letGo = () => {};
    this.listener = listener;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.isReady = false;
    this.attempt = 0;
    /** Counts how often it was opened or left: who waits for their turn may be wanted no more. */
    this.opening = 0;
    /** @type {Record<string, any>} */
    this.hello = {};
    this.heardAt = 0;
    this.sentAt = 0;
    /** When the first of what was said since something was last heard was said: who types on says something all the time. */
    this.unheardAt = 0;
    this.timers = { retry: 0, heartbeat: 0, deadline: 0, drain: 0, steady: 0 };
    this.closed = false;
    this.wake = () => this.comeBack();
    this.listen();
  }

  listen() {
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  /** Opens again what was refused: somebody asks for it. */
  revive() {
    this.closed = false;
    this.listen();
    this.open();
  }

  /** Leaves a connection that may be dead without knowing it, and comes back. */
  renew() {
    if (this.socket && this.isReady) this.dropped(this.socket, 4003);
  }

  open() {
    clearTimeout(this.timers.retry);
    this.timers.retry = 0;
    this.opening += 1;
    if (this.token() === null) this.openNew(this.opening);
    else this.connect();
  }

  /** Opens once no other tab is about to become a guest: then we are the same. @param {number} opening */
  async openNew(opening) {
    const letGo = await turn(() => this.token() !== null);
    if (opening !== this.opening) {
      letGo();
      return;
    }
    this.letGo = letGo;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.url, "typegate.v1.json");
    this.socket = socket;
    this.timers.deadline = window.setTimeout(() => this.dropped(socket, 0), HANDSHAKE_MS);
    socket.onopen = () => this.introduce();
    socket.onmessage = (event) => this.received(socket, event.data);
    socket.onclose = (event) => this.dropped(socket, event.code, event.reason);
  }

  /** Says who we are. */
  introduce() {
    this.shown = this.token();
    this.introduced = true;
    this.send({ t: "auth", ...(this.shown ? { token: this.shown } : {}), ...(this.aside ? { aside: true } : {}) });
    if (this.shown) this.letGo();
    this.listener.opened();
  }

  /** Closes for good. */
  close() {
    this.closed = true;
    this.forget(1000);
    clearTimeout(this.timers.retry);
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
  }

  get isOpen() {
    return this.introduced && this.socket?.readyState === WebSocket.OPEN;
  }

  /** Sends a message where there is a connection; false where there is none. @param {Record<string, unknown>} message */
  send(message) {
    if (!this.isOpen) return false;
    /** @type {WebSocket} */ (this.socket).send(JSON.stringify(message));
    this.sentAt = performance.now();
    if (this.unheardAt <= this.heardAt) this.unheardAt = this.sentAt;
    return true;
  }

  /** Tries again now, if it waits to. */
  comeBack() {
    if (document.visibilityState === "hidden" || this.closed) return;
    if (this.timers.retry) this.open();
    else if (this.isReady) this.beat();
  }

  /** @param {WebSocket} socket @param {unknown} data */
  received(socket, data) {
    if (socket !== this.socket) return;
    this.heardAt = performance.now();
    const message = JSON.parse(String(data));
    switch (message.t) {
      case "hello":
        this.hello = message;
        if (message.v !== VERSION) this.refuse(4503);
        break;
      case "ready":
        clearTimeout(this.timers.deadline);
        this.isReady = true;
        this.timers.steady = window.setTimeout(() => (this.attempt = 0), STEADY_MS);
        this.timers.heartbeat = window.setInterval(() => this.beat(), this.heartbeatMs() / 2);
        this.listener.ready(message, this.hello);
        this.letGo();
        break;
      case "reconnect":
        // The node drains. Typing goes on meanwhile; the test is resumed on the next one.
        clearTimeout(this.timers.drain);
        this.timers.drain = window.setTimeout(() => this.dropped(socket, 4001), Number(message.after_ms) || 0);
        break;
      case "hb":
        this.listener.beat?.(message, this.heardAt);
        break;
      default:
        this.listener.message(message);
    }
  }

  heartbeatMs() {
    return Number(this.hello.hb_ms) || DEFAULT_HEARTBEAT_MS;
  }

  /** Says that we live, and notices that the other side does not. */
  beat() {
    const now = performance.now();
    const silence = this.heartbeatMs();
    if (now - this.heardAt > 2.5 * silence && this.unheardAt > this.heardAt && now - this.unheardAt > silence / 4) {
      if (this.socket) this.dropped(this.socket, 4003);
    } else if (now - Math.min(this.sentAt, this.heardAt) > silence / 2) {
      this.send({ t: "hb", c: now });
    }
  }

  /** @param {WebSocket} socket @param {number} code @param {string} [reason] as the server gave it */
  dropped(socket, code, reason = "") {
    if (socket !== this.socket) return;
    this.forget(code === 1006 ? 1000 : code);
    if (this.closed) return;
    if (code === 4501 && this.shown) {
      // An old token: come back with another one, in the end as a new guest.
      this.refuseToken(this.shown);
    } else if (FINAL_CLOSES.has(code)) {
      this.refuse(code, code === 4505 ? reason : "");
      return;
    }
    const wait = backOff(this.attempt++);
    this.timers.retry = window.setTimeout(() => this.open(), wait);
    this.listener.lost(wait);
  }

  /** @param {number} code @param {string} [reason] told as it stands */
  refuse(code, reason = "") {
    this.close();
    this.listener.refused(code, [FINAL_CLOSES.get(code) ?? "", reason].filter(Boolean).join(" "));
  }

  /** Lets go of the socket and its timers. @param {number} code */
  forget(code) {
    const socket = this.socket;
    this.socket = null;
    this.opening += 1;
    this.isReady = this.introduced = false;
    this.letGo();
    clearTimeout(this.timers.deadline);
    clearTimeout(this.timers.drain);
    clearTimeout(this.timers.steady);
    clearInterval(this.timers.heartbeat);
    if (socket && socket.readyState < WebSocket.CLOSING) socket.close(code >= 3000 ? code : 1000);
  }
}
