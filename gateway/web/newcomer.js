/**
 * Of several new tabs of one browser one becomes a guest; the others wait until it is one, and are the same.
 *
 * @module
 */

/** The tab that is about to become a guest may sleep, or not be let in: then the next one tries. */
const PATIENCE_MS = 3000;
/** What one tab has stored is there in another one, of another process, a moment later. */
const STORED_MS = 500;

/** @param {LockOptions} options @returns {Promise<(() => void) | null>} lets go; null where there is no lock to be had */
function lock(options) {
  return new Promise((resolve) => {
    navigator.locks
      .request("typegate:guest", options, (held) => held && new Promise((release) => resolve(() => release(undefined))))
      .then(() => resolve(null), () => resolve(null));
  });
}

/**
 * @param {() => boolean} known whether it is known by now who the visitor is
 * @returns {Promise<() => void>} lets the next tab go on
 */
export async function turn(known) {
  if (!navigator.locks) return () => {}; // plain http from another machine: each tab for itself
  const first = await lock({ ifAvailable: true });
  if (first) return first;
  const next = await lock({ signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!known()) {
    const signal = AbortSignal.timeout(STORED_MS);
    await new Promise((resolve) => {
      addEventListener("storage", resolve, { once: true, signal });
      signal.addEventListener("abort", resolve);
    });
  }
  return next ?? (() => {});
}
