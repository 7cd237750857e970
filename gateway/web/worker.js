/**
 * The service worker: keeps one release of the page whole, so that it opens without a network and goes on by itself when
 * the server is back. Online the page always comes from the server, and with it a new release; this one then follows it.
 * Nothing but the page's own files is kept here: results and logs are the page's (localStorage).
 *
 * The server puts `SHELL` before the first line: the release's version and the addresses of its files.
 */

/* global SHELL */

const PREFIX = "typegate.";
const NAME = PREFIX + SHELL.version;
/** The pages; every address below `/race/` is the second one's. */
const PAGES = ["/", "/race"];
/** With a kept page at hand the server's is not waited for any longer: a network may be there and let nothing through. */
const PATIENCE_MS = 3000;

addEventListener("install", (/** @type {any} */ event) => event.waitUntil(keep()));
addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(takeOver()));
addEventListener("fetch", (/** @type {any} */ event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  const at = pathname.startsWith("/race/") ? "/race" : pathname;
  if (mode === "navigate" && PAGES.includes(at)) event.respondWith(page(event.request, at));
  else if (pathname.startsWith("/assets/")) event.respondWith(file(event.request));
});

/** Fetches the whole release, or fails: then the one before stays, and the browser tries again on a later visit. */
async function keep() {
  const cache = await caches.open(NAME);
  await Promise.all([...PAGES.map((at) => keepPage(cache, at)), cache.addAll(SHELL.files)]);
  await /** @type {any} */ (self).skipWaiting();
}

/** @param {Cache} cache @param {string} at */
async function keepPage(cache, at) {
  const page = await fetch(at, { cache: "no-store" });
  const html = await page.clone().text();
  if (!page.ok || !html.includes(`/assets/${SHELL.version}/`)) throw new Error("the server has another release by now");
  await cache.put(at, page);
}

/** Drops other releases. Pages of theirs that are open have all their modules. */
async function takeOver() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
  }
}

/**
 * The server's page; the kept one where there is no server, or none that can answer. (No navigation preload: Firefox lets
 * the whole navigation fail with it.)
 *
 * @param {Request} request @param {string} at
 */
async function page(request, at) {
  const kept = await caches.match(at, { cacheName: NAME, ignoreVary: true });
  try {
    const fresh = await (kept ? soon(fetch(request)) : fetch(request));
    if (fresh.status < 500 || !kept) return fresh;
  } catch (error) {
    if (!kept) throw error;
  }
  return kept;
}

/** @template T @param {Promise<T>} promise @returns {Promise<T>} */
function soon(promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("too slow")), PATIENCE_MS))]);
}

/** A file of a release: the address says of which. @param {Request} request */
async function file(request) {
  return (await caches.match(request, { ignoreVary: true })) ?? fetch(request);
}
