/**
 * Who the visitor is: an account's JWT, which the site puts here when somebody signs in, or the guest token that the
 * server gave, kept for the next visit where the browser keeps anything. The guest's is kept apart as well: it is the way
 * to what was typed before signing in, and to logs that are the guest's. A tab that became another guest than the
 * browser keeps its own for as long as it is open.
 *
 * @module
 */

const KEY = "typegate.token";
const GUEST = "typegate.guest";
const CLAIMED = "typegate.claimed";

/** This page's own; another tab may have become a guest first. @type {string | null} */
let own = null;
/** What the server did not accept. @type {Set<string>} */
const refused = new Set();

/**
 * @typedef {object} Guest
 * @property {string} user
 * @property {string} token
 * @property {boolean} [spent] its past is an account's: the token is kept for logs that are still to be sent
 * @property {string} [told] the account that was told of its past
 */

/** @returns {string | null} */
export function token() {
  if (own === null) own = stored();
  return own;
}

/** Shows it no more: the server does not accept it. @param {string} shown */
export function refuse(shown) {
  refused.add(shown);
  if (own === shown) own = null;
}

/** Takes the token that the server gave a guest in answer to the one that was shown. @param {string} given @param {string} user */
export function keepToken(given, user) {
  const shown = own;
  own = given;
  try {
    const there = localStorage.getItem(KEY);
    // Somebody may have signed in since, in another tab: then this one goes on as a guest, and the browser does not.
    // And whose past is an account's this browser is no more, though a tab that was open then goes on as that guest.
    const still = (there === null || there === shown || refused.has(there)) && localStorage.getItem(CLAIMED) !== user;
    if (still) localStorage.setItem(KEY, given);
    const kept = guest();
    if (kept?.user === user) changeGuest({ token: given });
    else if (still) localStorage.setItem(GUEST, JSON.stringify({ user, token: given }));
    keepForTab(user);
  } catch {
    // nothing is kept here: a guest for as long as the page is open
  }
}

/** The last guest of this browser. @returns {Guest | null} */
export function guest() {
  try {
    const kept = JSON.parse(localStorage.getItem(GUEST) ?? "null");
    return typeof kept?.token === "string" && typeof kept.user === "string" ? kept : null;
  } catch {
    return null;
  }
}

/** @param {Partial<Guest>} changes */
export function changeGuest(changes) {
  const kept = guest();
  if (kept) localStorage.setItem(GUEST, JSON.stringify({ ...kept, ...changes }));
}

/** Its past is an account's: the browser is this guest no more. */
export function spendGuest() {
  const kept = guest();
  if (!kept) return;
  changeGuest({ spent: true });
  localStorage.setItem(CLAIMED, kept.user);
}

/** A guest that only this tab is stays so through its reloads: the test goes on. @param {string} user */
function keepForTab(user) {
  const there = localStorage.getItem(KEY);
  if (own === null || own === there || localStorage.getItem(CLAIMED) === user) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, own);
}

/** A tab that goes on as a guest that was forgotten keeps the token for the log that it begins. @param {string} user */
export function keepForLog(user) {
  try {
    keepForTab(user);
    if (own !== null && guest() === null) localStorage.setItem(GUEST, JSON.stringify({ user, token: own, spent: true }));
  } catch {
    // nor is the log kept
  }
}

export function forgetGuest() {
  localStorage.removeItem(GUEST);
}

/** @returns {string | null} */
function stored() {
  const kept = guest();
  try {
    const there = localStorage.getItem(KEY);
    // Who has signed in since is an account in all tabs: a JWT has dots, and a guest's token has none.
    const ofTab = there?.includes(".") ? null : sessionStorage.getItem(KEY);
    return [ofTab, there, kept?.spent ? null : (kept?.token ?? null)].find((one) => one && !refused.has(one)) ?? null;
  } catch {
    return null;
  }
}
