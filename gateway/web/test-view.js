/**
 * The typing test of the main page: what may be done beside typing, which is to start anew and to end where one is.
 *
 * @module
 */

import { byId } from "./dom.js";
import { settings } from "./settings.js";
import { TypingView } from "./typing-view.js";

export class TestView extends TypingView {
  /**
   * @param {import("./typing-view.js").TypingActions & {again: () => void}} actions
   * @param {import("./notice.js").Notice} notice
   */
  constructor(actions, notice) {
    super(actions, notice);
    this.again = actions.again;
    this.section = byId("test");
    byId("restart").addEventListener("click", () => this.again());
    byId("finish").addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    byId("finish").addEventListener("click", () => this.endHere());
    document.addEventListener("keydown", (event) => this.onPageKey(event));
  }

  /** Ends a test that may be ended anywhere: zen, and an own text without a clock. */
  endHere() {
    const { log } = this;
    if (log && log.n > 0 && !log.started.seconds && ["zen", "text"].includes(log.started.mode)) this.end(true);
  }

  /** Keys that no field took. @param {KeyboardEvent} event */
  onPageKey(event) {
    if (this.section.hidden || document.querySelector("dialog[open]")) return;
    const inField = document.activeElement === this.field;
    const { restart } = settings;
    if (event.key === "Enter" && event.shiftKey && inField) {
      event.preventDefault();
      this.endHere();
    } else if ((event.key === "Tab" && !event.shiftKey && restart === "tab" && inField) || (event.key === "Escape" && restart === "esc")) {
      if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      this.again();
    } else if (event.key === "Escape" && inField) {
      byId("restart").focus();
    } else {
      this.bringBack(event);
    }
  }
}
