/**
 * Notices that the machine slept. A test across a sleep has no meaning, and nobody should be flagged for it: the page
 * ends it and says so.
 *
 * @module
 */

const LOOK_MS = 1000;
/** How far the clocks may go apart: more than the wall clock is ever corrected by in small steps. */
const APART_MS = 4000;
/** How late a look may come: longer than a page on a busy machine stalls. */
const LATE_MS = 15_000;

/** Calls back after each sleep. @param {() => void} slept */
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
    if (apart > APART_MS || late > LATE_MS) slept();
    wall = wallNow;
    clock = clockNow;
    visible = document.visibilityState === "visible";
  }, LOOK_MS);
}
