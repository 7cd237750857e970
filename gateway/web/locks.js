/**
 * Which tab works on which test. Two tabs must not take up the same log: each holds a lock named after the session for
 * as long as it works on it. A lock goes with its tab, also when that crashes.
 *
 * @module
 */

/** How long a tab that reloads may take to let go of its lock. */
const PATIENCE_MS = 400;

/**
 * @param {string} session
 * @returns {Promise<(() => void) | null>} lets go; null where another tab has it
 */
export function hold(session) {
  // Locks need a secure context. On plain http from another machine tabs are told apart by nothing: the server answers
  // the tab that came first with `superseded`, and nothing is lost.
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    navigator.locks
      .request(`typegate:${session}`, { signal }, () => new Promise((release) => resolve(() => release(undefined))))
      .catch(() => resolve(null));
  });
}
