/**
 * Tests without a server: an own text, or none, needs nobody to choose it. Such a test begins in the browser, and is
 * handed in with its whole log when the server is back; it counts for its owner, and on no leaderboard.
 *
 * @module
 */

import { ApiError, handIn } from "./api.js";
import { clusters } from "./scoring.js";

/** A result that was taken is asked for again after this long, until it is stored. */
const AGAIN_MS = 1000;
const MOST_TRIES = 30;
const RIGHT_TO_LEFT = /^(ar|fa|he|ur)\b/;
/** Scripts without spaces, whose words only the server tells apart. */
const SPACELESS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * What a server would answer to `start`, as far as a page can say it.
 *
 * @param {Record<string, any>} options the fields of `start`
 * @returns {Record<string, any> | null} null where the text is the server's to choose
 */
export function startedHere({ mode, text = "", seconds, language = "en", input }) {
  if (!(mode === "zen" || (mode === "text" && text && !SPACELESS.test(text)))) return null;
  const parts = clusters(text);
  const breaks = parts.map((part) => Array.from(part).length);
  return {
    session: `here-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`,
    offline: true,
    started_at: Date.now(),
    mode,
    text,
    language,
    direction: RIGHT_TO_LEFT.test(language) ? "rtl" : "ltr",
    cyclic: Boolean(seconds),
    input,
    ...(seconds ? { seconds } : {}),
    ...(breaks.some((points) => points > 1) ? { breaks } : {}),
  };
}

/**
 * Hands a finished test in, again and again until it is stored. The server knows it by its content.
 *
 * @param {import("./log.js").TestLog} log @param {string | null} shown as whom
 * @param {(result: Record<string, any>) => void} accepted
 * @returns {Promise<Record<string, any>>} the result, stored; raises ApiError where it is not to be had now or at all
 */
export async function handInWhole(log, shown, accepted) {
  const { mode, text, seconds, language, input } = log.started;
  const body = { mode, language, input, events: log.events.slice(0, 2 * Number(log.finished)), holds: log.holds, ...(text ? { text } : {}), ...(seconds ? { seconds } : {}) };
  for (let tries = 1, clockSet = false; ; tries++) {
    let result;
    try {
      result = await handIn({ ...body, started_at: log.started.started_at }, shown);
    } catch (error) {
      if (clockSet || !(error instanceof ApiError) || typeof error.now !== "number" || !log.setClock(error.now)) throw error;
      clockSet = true; // the clock here is wrong, or was: once more, by the server's
      continue;
    }
    accepted(result);
    if (result.state === "stored" || tries === MOST_TRIES) return result;
    await new Promise((again) => setTimeout(again, AGAIN_MS));
  }
}
