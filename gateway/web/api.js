/**
 * The HTTP side: results, replays, languages and tests, as JSON.
 *
 * @module
 */

import { token } from "./token.js";

export class ApiError extends Error {
  /** @param {number} status 0 without an answer @param {string} message @param {number} [now] the server's clock, where an instant was refused */
  constructor(status, message, now) {
    super(message);
    this.status = status;
    this.now = now;
  }
}

/** @param {string} path @param {RequestInit} [request] @param {string | null} [shown] as whom @returns {Promise<any>} */
async function get(path, request = {}, shown = token()) {
  let response;
  try {
    response = await fetch(path, { ...request, headers: { ...request.headers, ...(shown ? { authorization: `Bearer ${shown}` } : {}) } });
  } catch {
    throw new ApiError(0, "The server cannot be reached.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, body?.detail ?? body?.title ?? `The server answered ${response.status}.`, body?.now);
  return body;
}

/** One page of the visitor's results, newest first. @param {string | null} cursor @param {number} limit @param {string | null} [shown] as whom */
export function ownResults(cursor = null, limit = 50, shown = token()) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (cursor) query.set("cursor", cursor);
  return get(`/v1/users/me/results?${query}`, {}, shown);
}

/** One result, with the reasons of its verdict. @param {string} id */
export function resultOf(id) {
  return get(`/v1/results/${encodeURIComponent(id)}`);
}

/** A result with its text and log. @param {string} id @param {string | null} [shown] as whom */
export function replayOf(id, shown = token()) {
  return get(`/v1/results/${encodeURIComponent(id)}/replay`, {}, shown);
}

/** Lets everybody see a result. @param {string} id */
export function makePublic(id) {
  return get(`/v1/results/${encodeURIComponent(id)}/public`, { method: "PUT" });
}

/** Lets nobody else see it any more. @param {string} id */
export function makePrivate(id) {
  return get(`/v1/results/${encodeURIComponent(id)}/public`, { method: "DELETE" });
}

/** A race as everybody may see it who has its id, also when it is long over. @param {string} id @returns {Promise<import("./room.js").RaceState>} */
export function raceOf(id) {
  return get(`/v1/races/${encodeURIComponent(id)}`);
}

/** All leaderboards that there are. */
export function leaderboards() {
  return get("/v1/leaderboards");
}

/** A page of a leaderboard. @param {string} board @param {{span: string, ago: number, offset: number, limit: number}} which */
export function leaderboard(board, { span, ago, offset, limit }) {
  return get(`/v1/leaderboards/${board}?${new URLSearchParams({ span, ago: String(ago), offset: String(offset), limit: String(limit) })}`);
}

/** The visitor's own place on it. @param {string} board @param {{span: string, ago: number}} which */
export function standing(board, { span, ago }) {
  return get(`/v1/leaderboards/${board}/me?${new URLSearchParams({ span, ago: String(ago) })}`);
}

/** How a speed compares there. @param {string} board @param {number} wpm @param {{span: string, ago: number}} which */
export function percentile(board, wpm, { span, ago }) {
  return get(`/v1/leaderboards/${board}/percentile?${new URLSearchParams({ wpm: String(wpm), span, ago: String(ago) })}`);
}

/** Hands in a test that was typed without a server. @param {Record<string, any>} test @param {string | null} shown as whom */
export function handIn(test, shown) {
  return post("/v1/results", test, shown);
}

/** Takes a guest's results along. @param {string} guestToken */
export function claim(guestToken) {
  return post("/v1/claims", { token: guestToken });
}

/** @param {string} path @param {Record<string, any>} body @param {string | null} [shown] */
function post(path, body, shown) {
  return get(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }, shown);
}

/** The languages that there are words for. */
export function languages() {
  return get("/v1/languages");
}
