/**
 * Letting others look on: a switch that is off in every new tab, and the link to hand out while it is on.
 *
 * @module
 */

import { copyButton } from "./copy.js";
import { byId, h } from "./dom.js";

const KEY = "typegate.shared";

export class Sharing {
  /** @param {{changed: () => void}} listener it was switched on or off: what is typed now has to begin anew */
  constructor({ changed }) {
    this.changed = changed;
    this.on = read();
    this.session = "";
    this.button = byId("share");
    this.line = byId("shared");
    this.button.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    this.button.addEventListener("click", () => this.turn(!this.on));
    this.show();
  }

  /** What a test is asked for with; an own text is nobody else's to see. @param {Record<string, any>} options */
  with(options) {
    return this.on && options.mode !== "text" ? { ...options, watch: true } : options;
  }

  /** A test is there to be typed. @param {import("./log.js").TestLog} log */
  started(log) {
    this.session = log.options.watch && !log.started.offline ? log.session : "";
    this.show();
  }

  /** @param {boolean} on */
  turn(on) {
    this.on = on;
    write(on);
    this.session = "";
    this.show();
    this.changed();
  }

  show() {
    this.button.setAttribute("aria-pressed", String(this.on));
    this.line.hidden = !this.on;
    if (!this.on) return;
    if (!this.session) {
      this.line.replaceChildren("Others may look on at your tests; an own text, or one typed offline, is never shown.");
      return;
    }
    const link = new URL(`/watch/${this.session}`, location.href).href;
    this.line.replaceChildren("Who has this link sees what you type: ", h("a", { href: link, target: "_blank", rel: "noopener" }, "watch"), " ", copyButton(link));
  }
}

function read() {
  try {
    return sessionStorage.getItem(KEY) === "on";
  } catch {
    return false; // off, like in every new tab
  }
}

/** @param {boolean} on */
function write(on) {
  try {
    if (on) sessionStorage.setItem(KEY, "on");
    else sessionStorage.removeItem(KEY);
  } catch {
    // until the page is loaded again
  }
}
