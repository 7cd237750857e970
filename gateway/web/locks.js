/**
 * Which tab works on which test. Two tabs must not take up the same log: each holds a lock named after the session for
 * as long as it works on it. A lock goes with its tab, also when that crashes.
 *
 * @module
 */

/** How long a tab that reloads may take to let go of its lock; a tab that lives says at once that it has it. */
const PATIENCE_MS = 10_000;

/** The sessions that this tab holds. @type {Set<string>} */
const held = new Set();
/** Where tabs ask each other. @type {BroadcastChannel | null} */
let tabs = null;

function listen() {
  const channel = new BroadcastChannel("typegate.locks");
  channel.addEventListener("message", ({ data }) => held.has(data.asked) && channel.postMessage({ taken: data.asked }));
  return channel;
}

/** @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} lets go; null where there is no lock to be had */
export function lock(name, options) {
  return new Promise((resolve) => {
    navigator.locks
      .request(name, options, (got) => got && new Promise((release) => resolve(() => release(undefined))))
      .then(() => resolve(null), () => resolve(null));
  });
}

/**
 * @param {string} session
 * @returns {Promise<(() => void) | null>} lets go; null where another tab has it
 */
export async function hold(session) {
  // Locks need a secure context. On plain http from another machine tabs are told apart by nothing: the server answers
  // the tab that came first with `superseded`, and nothing is lost.
  if (!navigator.locks) return () => {};
  tabs ??= listen();
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), PATIENCE_MS);
  const heard = (/** @type {MessageEvent} */ { data }) => data.taken === session && waiting.abort();
  tabs.addEventListener("message", heard);
  tabs.postMessage({ asked: session });
  const release = await lock(`typegate:${session}`, { signal: waiting.signal });
  clearTimeout(timer);
  tabs.removeEventListener("message", heard);
  if (!release) return null;
  held.add(session);
  tabs.postMessage({ taken: session }); // to a tab that asked before anybody had it
  return () => {
    held.delete(session);
    release();
  };
}
