/**
 * Notices that the machine slept. A test across a sleep has no meaning, and nobody should be flagged for it: the page
 * ends it and says so.
 *
 * @module
 */

const LOOK_MS = 1000;
/** Longer than a slow page ever stalls. */
const SLEPT_MS = 4000;

/** Calls back after each sleep. @param {(ms: number) => void} slept */
export function watchSleep(slept) {
  let wall = Date.now();
  let clock = performance.now();
  let visible = document.visibilityState === "visible";
  document.addEventListener("visibilitychange", () => (visible = false));
  setInterval(() => {
    const wallNow = Date.now();
    const clockNow = performance.now();
    // Where the page's clock stands still in sleep, the wall clock runs ahead of it. Where it goes on, this look comes
    // late; but in a hidden page browsers make it late by themselves.
    const apart = wallNow - wall - (clockNow - clock);
    const late = visible ? clockNow - clock - LOOK_MS : 0;
    if (Math.max(apart, late) > SLEPT_MS) slept(Math.max(apart, late));
    wall = wallNow;
    clock = clockNow;
    visible = document.visibilityState === "visible";
  }, LOOK_MS);
}
