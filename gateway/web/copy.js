/**
 * A button that copies a link.
 *
 * @module
 */

import { h, say } from "./dom.js";

const LABEL = "Copy the link";
const COPIED_MS = 2000;

/** @param {string} link which stands beside it, to be copied by hand where this is not allowed */
export function copyButton(link) {
  const button = h("button", { type: "button", class: "copy" }, LABEL);
  let timer = 0;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(link);
      say(button, "Copied");
    } catch {
      say(button, "Could not be copied");
    }
    clearTimeout(timer);
    timer = window.setTimeout(() => say(button, LABEL), COPIED_MS);
  });
  return button;
}
