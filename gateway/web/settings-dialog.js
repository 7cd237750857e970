/**
 * The dialog of the settings, and the button that turns light to dark.
 *
 * @module
 */

import { byId } from "./dom.js";
import { bind, change, settings } from "./settings.js";

/** @param {() => void} closed */
export function wireSettings(closed) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("settings"));
  const fill = bind(/** @type {HTMLFormElement} */ (dialog.querySelector("form")));
  byId("open-settings").addEventListener("click", () => {
    fill();
    dialog.showModal();
  });
  dialog.addEventListener("close", closed);
  const theme = byId("theme");
  const label = () => theme.setAttribute("aria-label", `Colours: ${settings.theme === "auto" ? "as the system" : settings.theme}`);
  theme.addEventListener("click", () => {
    const dark = settings.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : settings.theme === "dark";
    change({ theme: dark ? "light" : "dark" });
    label();
  });
  dialog.addEventListener("change", label);
  label();
}
