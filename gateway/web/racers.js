/**
 * Racers in words: places, and who is where in the race.
 *
 * @module
 */

/** @typedef {import("./room.js").Racer} Racer */
/** @typedef {import("./room.js").RaceState} RaceState */

/** @type {Record<string, string>} */
const ENDINGS = { one: "st", two: "nd", few: "rd", other: "th" };
const rules = new Intl.PluralRules("en", { type: "ordinal" });

/** 1st, 2nd, 3rd … @param {number} n */
export function ordinal(n) {
  return `${n}${ENDINGS[rules.select(n)]}`;
}

/** A whole number of things. @param {number} n @param {string} one @param {string} [many] */
export function counted(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

/** Those that finished by place, then those still on their way, then those who did not finish. @param {Racer[]} racers */
export function ranked(racers) {
  const rank = (/** @type {Racer} */ { place, state, lane }) => (place ? place * 1000 : state === "finished" ? 2e6 : state === "dnf" ? 3e6 : 1e6) + lane;
  return [...racers].sort((a, b) => rank(a) - rank(b));
}

/** Whether nothing more is to come of one. @param {Racer} racer */
export function isOver({ state }) {
  return state === "finished" || state === "dnf";
}

/** Whether places change no more. @param {RaceState} race */
export function isFinal({ phase, provisional }) {
  return phase === "settled" && provisional === false;
}

/** What is said of a racer beside the name, "" where all is as it should be. @param {Racer} racer */
export function doing({ state, verdict }) {
  if (state === "detached") return "connection lost";
  if (state === "dnf") return "did not finish";
  if (verdict === "void") return "does not count";
  return state === "ghost" ? "ghost" : "";
}

/** What is raced. @param {Pick<RaceState, "mode" | "count" | "seconds" | "title">} race */
export function raceName({ mode, count, seconds, title }) {
  if (mode === "words") return `${count} words`;
  if (mode === "time") return `${seconds} seconds`;
  return title ? `quote: ${title}` : "a quote";
}

/** Seconds and tenths of a race time. @param {number} ms */
export function raceTime(ms) {
  const tenths = Math.round(ms / 100);
  const seconds = (tenths % 600) / 10;
  return tenths < 600 ? `${seconds.toFixed(1)} s` : `${Math.floor(tenths / 600)}:${seconds.toFixed(1).padStart(4, "0")}`;
}
