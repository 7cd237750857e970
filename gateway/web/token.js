/**
 * Who the visitor is: the guest token that the server gave, kept for the next visit where the browser keeps anything.
 *
 * @module
 */

const KEY = "typegate.token";

/** This page's own; another tab may have become a guest first. @type {string | null} */
let own = null;

/** @returns {string | null} */
export function token() {
  if (own === null) own = stored();
  return own;
}

/** Takes the token that the server gave in answer to the one that was shown. @param {string} given */
export function keepToken(given) {
  const shown = own;
  own = given;
  try {
    const there = localStorage.getItem(KEY);
    if (there === null || there === shown) localStorage.setItem(KEY, given);
  } catch {
    // nothing is kept here: a guest for as long as the page is open
  }
}

/** @returns {string | null} */
function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
