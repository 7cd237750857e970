/**
 * Which tab works on which test. Two tabs must not take up the same log: each holds a lock named after the session for
 * as long as it works on it. A lock goes with its tab, also when that crashes.
 *
 * @module
 */

/** How long a lock is waited for that another tab may have. */
const PATIENCE_MS = 400;
/** The same where none should: it comes soon, however busy the machine is. */
const OURS_MS = 10_000;

/** Whether this browser tells here which tab works on what. */
export function hasLocks() {
  return Boolean(navigator.locks);
}

/**
 * @param {string} session @param {{ours?: boolean}} [how] `ours`: no other tab should have it
 * @returns {Promise<(() => void) | null>} lets go; null where another tab has it
 */
export function hold(session, { ours = false } = {}) {
  // Locks need a secure context. On plain http from another machine tabs are told apart by nothing: the server answers
  // the tab that came first with `superseded`, which then leaves the log to the other, and nothing is lost.
  if (!hasLocks()) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(ours ? OURS_MS : PATIENCE_MS);
    navigator.locks
      .request(`typegate:${session}`, { signal }, () => new Promise((release) => resolve(() => release(undefined))))
      .catch(() => resolve(null));
  });
}
