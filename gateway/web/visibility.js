/**
 * Letting everybody see a result of one's own: what that shows is said before, and it can be taken back.
 *
 * @module
 */

import { announce } from "./announce.js";
import { ApiError, makePrivate, makePublic } from "./api.js";
import { copyButton } from "./copy.js";
import { asSentence, h, say } from "./dom.js";

/** @param {string} mode */
function shows(mode) {
  const also = mode === "zen" ? "and all that you wrote" : "and may race against it";
  return `Everybody who has the link will see the figures, the plot and the replay of this test, with your name and without your account, ${also}. The replay has the moment of every key: people can be told apart by the rhythm in which they type, also on other sites. You can make it private again; what somebody has kept of it by then stays theirs.`;
}

export class Visibility {
  constructor() {
    this.session = "";
    this.mode = "";
    this.element = h("div", { class: "visibility", hidden: true });
    this.status = h("p", { class: "quiet", role: "status" });
    this.rest = h("div", { class: "stack" });
    this.element.append(this.rest, this.status);
    // Elsewhere on the page Esc may begin another test.
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.element.dataset.state !== "asking") return;
      event.stopPropagation();
      this.drawPrivate().focus();
    });
  }

  hide() {
    this.session = "";
    this.element.hidden = true;
  }

  /** It is not saved yet; its place is kept, so that nothing moves when it is. */
  wait() {
    this.session = "";
    this.element.hidden = false;
    say(this.status, "");
    this.drawPrivate().setAttribute("disabled", "");
  }

  /** @param {string} session @param {string} mode @param {boolean} isPublic */
  show(session, mode, isPublic) {
    this.session = session;
    this.mode = mode;
    this.element.hidden = false;
    say(this.status, "");
    if (isPublic) this.drawPublic();
    else this.drawPrivate();
  }

  /** @returns {HTMLElement} what gets the focus */
  drawPrivate() {
    const share = h("button", { type: "button", onclick: () => this.ask().focus() }, "Share …");
    return this.draw("private", share, h("p", { class: "line" }, share, h("span", { class: "quiet" }, "Only you can see this result.")));
  }

  ask() {
    const question = h("p", { tabindex: -1 }, shows(this.mode));
    const yes = h("button", { type: "button", class: "primary" }, "Make it public");
    const no = h("button", { type: "button", onclick: () => this.drawPrivate().focus() }, "Keep it private");
    yes.addEventListener("click", () => this.change(yes, true));
    say(this.status, "");
    return this.draw("asking", question, question, h("p", { class: "line" }, yes, no));
  }

  drawPublic() {
    const link = new URL(`/r/${this.session}`, location.href).href;
    const back = h("button", { type: "button" }, "Make private again");
    back.addEventListener("click", () => this.change(back, false));
    const shown = h("a", { href: link }, link.replace(/^https?:\/\//, ""));
    return this.draw("public", shown, h("p", {}, h("b", {}, "Public. "), "Everybody who has the link sees this result and each of its keys: ", shown), h("p", { class: "line" }, copyButton(link), back));
  }

  /** @param {string} state @param {HTMLElement} focused @param {...HTMLElement} parts */
  draw(state, focused, ...parts) {
    this.element.dataset.state = state;
    this.rest.replaceChildren(...parts);
    return focused;
  }

  /** @param {HTMLElement} button that was pressed @param {boolean} isPublic */
  async change(button, isPublic) {
    const { session } = this;
    button.setAttribute("disabled", "");
    say(this.status, "");
    try {
      await (isPublic ? makePublic(session) : makePrivate(session));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (session !== this.session) return;
      button.removeAttribute("disabled");
      button.focus();
      say(this.status, error.status === 404 && isPublic ? "Not yet: this result is still on its way to the store. Try again in a moment." : asSentence(error.message));
      return;
    }
    if (session !== this.session) return;
    (isPublic ? this.drawPublic() : this.drawPrivate()).focus();
    if (isPublic) announce("This result is public now."); // what has the focus says no more than the link
    say(this.status, isPublic ? "" : "Private again. Where it was just looked at it may still be seen, for a minute at the most.");
  }
}
