/**
 * Brings in results that never came: finished logs that this browser still keeps are resumed, each on a short connection
 * of its own beside the page's, until the server says `stored`. Those that were typed without a server are handed in.
 *
 * @module
 */

import { ApiError } from "./api.js";
import { sendLog } from "./client.js";
import { Connection } from "./connection.js";
import { hold } from "./locks.js";
import { forgetLog, keptLogs, readLog } from "./log.js";
import { handInWhole } from "./offline.js";

/** For this long one log may take; then the next visit tries again. */
const PATIENCE_MS = 30_000;
/** A test that was left in the middle, by a tab that is gone, is nobody's after this long. */
const LEFT_MS = 120_000;

/**
 * @typedef {object} Listener
 * @property {(session: string, result: Record<string, any>) => void} result
 * @property {(session: string, verdict: string, as: string) => void} stored `as`: the session under which the server has it
 * @property {(session: string, why: string) => void} refused the server will never have it
 */

/**
 * @param {{url: string, tokenOf: (user: string) => string | null | undefined, busy: (session: string) => boolean,
 *   owned: (session: string) => boolean} & Listener} options `tokenOf`: what its user shows, undefined for one who is not
 *   here; `busy`: the page's own connection works on it; `owned`: this tab holds its lock
 */
export async function settleKeptLogs({ url, tokenOf, busy, owned, ...listener }) {
  for (const { session, user, token, finished, at } of keptLogs()) {
    let shown = tokenOf(user);
    // A guest that the browser is no more: of several new tabs that no lock tells apart each may have become one of its
    // own. A tab that is still open sends its log itself, and not so late.
    if (shown === undefined && token && Date.now() - at > LEFT_MS) shown = token;
    if (busy(session) || (finished && shown === undefined)) continue;
    const release = owned(session) ? () => {} : await hold(session);
    if (!release) continue; // another tab does
    try {
      if (finished) await settleOne(session, { url, shown: shown ?? null, ...listener });
      else if (Date.now() - at > LEFT_MS) forgetLog(session);
    } finally {
      release();
    }
  }
}

/** @param {string} session @param {{url: string, shown: string | null} & Listener} options @returns {Promise<void>} */
function settleOne(session, options) {
  const log = readLog(session);
  if (!log) {
    forgetLog(session);
    return Promise.resolve();
  }
  return log.started.offline ? settleTypedHere(log, options) : settleByResume(log, options);
}

/** @param {import("./log.js").TestLog} log @param {{shown: string | null} & Listener} options */
async function settleTypedHere(log, { shown, result, stored, refused }) {
  const { session } = log;
  try {
    const row = await handInWhole(log, shown, (accepted) => result(session, accepted));
    if (row.state === "stored") {
      forgetLog(session);
      stored(session, row.verdict, row.session);
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (![413, 422].includes(error.status)) return; // another time; a ban (403) ends, too
    forgetLog(session);
    refused(session, error.message);
  }
}

/**
 * @param {import("./log.js").TestLog} log @param {{url: string, shown: string | null} & Listener} options
 * @returns {Promise<void>}
 */
function settleByResume(log, { url, shown, result, stored, refused }) {
  const { session } = log;
  return new Promise((resolve) => {
    const sender = { connection: /** @type {any} */ (null), sent: 0, sentHolds: 0, finishSent: false };
    const timer = setTimeout(() => done(false), PATIENCE_MS);
    /** @param {boolean} forget */
    const done = (forget) => {
      clearTimeout(timer);
      connection.close();
      if (forget) forgetLog(session);
      resolve();
    };
    /** @param {Record<string, any>} message */
    const onMessage = (message) => {
      if (message.t === "resumed" && message.n <= log.n) {
        Object.assign(sender, { sent: message.n, sentHolds: log.holds.length, finishSent: false });
        sendLog(sender, log);
      } else if (message.t === "result") {
        result(session, message);
      } else if (message.t === "stored") {
        stored(session, message.verdict, session);
        done(true);
      } else if (message.t === "error" && message.code === "gap") {
        sender.sent = message.expected;
        sendLog(sender, log);
      } else if ((message.t === "error" && message.code !== "conflict") || message.t === "resumed") {
        // With `retry` it may work later, and when its own user is back; else the server will never have it.
        const never = message.t === "error" && typeof message.retry !== "number" && message.code !== "foreign";
        done(never);
        if (never) refused(session, message.message);
      }
    };
    const connection = new Connection({
      url,
      token: () => shown,
      aside: true,
      listener: {
        opened: () => {
          const { mode, text, ticket } = log.started;
          connection.send({ t: "resume", session, ticket, n: log.n, ...(log.receipt ? { receipt: log.receipt } : {}), ...(mode === "text" ? { text } : {}) });
        },
        ready: () => {},
        message: onMessage,
        lost: () => done(false),
        refused: () => done(false),
      },
    });
    sender.connection = connection;
    connection.open();
  });
}
