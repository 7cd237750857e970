/**
 * Has the browser keep the page, so that it opens without a network: by the service worker.
 *
 * @module
 */

const ADDRESS = "/worker.js";

/** Starts when the page has loaded all that it needs; browsers without workers, and addresses without TLS, go without. */
export function keepPage() {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  const { trustedTypes } = /** @type {any} */ (window);
  // The one address that a script may come from by name (content security policy: trusted types).
  const address = trustedTypes?.createPolicy("typegate", { createScriptURL: () => ADDRESS }).createScriptURL("") ?? ADDRESS;
  addEventListener("load", () => {
    // Refused where the browser keeps nothing: then each visit needs the network, and nothing else is amiss.
    workers.register(address).catch(() => {});
  });
}
