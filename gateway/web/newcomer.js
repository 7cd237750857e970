/**
 * Of several new tabs of one browser one becomes a guest; the others wait until it is one, and are the same.
 *
 * @module
 */

/** A tab becomes a guest, or gives its try up, sooner than this. One that sleeps does neither: then the next one tries. */
const PATIENCE_MS = 15_000;
/** What one tab has stored is there in another one, of another process, sooner than this. */
const STORED_MS = 5000;

const TURN = "typegate:guest";
/** Held for a while by who has become a guest. */
const THERE = "typegate:guest-there";

/** @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} lets go; null where there is no lock to be had */
function lock(name, options) {
  return new Promise((resolve) => {
    navigator.locks
      .request(name, options, (held) => held && new Promise((release) => resolve(() => release(undefined))))
      .then(() => resolve(null), () => resolve(null));
  });
}

/**
 * @param {() => boolean} known whether it is known by now who the visitor is
 * @returns {Promise<() => void>} lets the next tab go on
 */
export async function turn(known) {
  if (!navigator.locks) return () => {}; // plain http from another machine: each tab for itself
  const release = (await lock(TURN, { ifAvailable: true })) ?? (await lock(TURN, { signal: AbortSignal.timeout(PATIENCE_MS) }));
  const { held = [] } = await navigator.locks.query();
  if (held.some(({ name }) => name === THERE)) await stored(known);
  let passed = false;
  return async () => {
    if (passed) return;
    passed = true;
    if (known()) {
      const leave = await lock(THERE, { mode: "shared" });
      setTimeout(() => leave?.(), STORED_MS);
    }
    release?.();
  };
}

/** Waits for what another tab has stored. @param {() => boolean} known */
async function stored(known) {
  const signal = AbortSignal.timeout(STORED_MS);
  while (!known() && !signal.aborted) {
    await new Promise((resolve) => {
      addEventListener("storage", resolve, { once: true, signal });
      signal.addEventListener("abort", resolve);
    });
  }
}
