/**
 * Before the start: who is there, who is ready, how others come in.
 *
 * @module
 */

import { byId, h, say } from "./dom.js";
import { counted, raceName } from "./racers.js";

/** So many seats are shown at least, taken or not, where there is room for as many. */
const SEATS = 5;
const SAID_MS = 2500;

/** @typedef {import("./room.js").RaceState} RaceState */

export class Lobby {
  /** @param {{ready: (ready: boolean) => void, start: () => void, leave: () => void, rename: (name: string) => void}} actions */
  constructor(actions) {
    this.root = byId("lobby");
    this.ready = false;
    this.heading = h("h1", { id: "lobby-title", tabindex: -1 });
    this.kind = h("p", { class: "quiet" });
    this.status = h("p", { class: "status" });
    this.seats = h("ol", { class: "seats", "aria-label": "Racers" });
    this.readyButton = h("button", { type: "button", class: "primary", onclick: () => actions.ready(!this.ready) });
    this.startButton = /** @type {HTMLButtonElement} */ (h("button", { type: "button", onclick: actions.start }, "Start now"));
    this.link = /** @type {HTMLInputElement} */ (h("input", { id: "invite", readonly: true, onfocus: () => this.link.select() }));
    this.copyButton = h("button", { type: "button", onclick: () => this.copy() }, "Copy");
    this.shareButton = h("button", { type: "button", onclick: () => this.share(), hidden: typeof navigator.share !== "function" }, "Share …");
    this.name = /** @type {HTMLInputElement} */ (h("input", { id: "lobby-name", maxlength: 80, autocomplete: "nickname", spellcheck: "false" }));
    this.name.addEventListener("change", () => actions.rename(this.name.value.trim()));
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // the button is not meant
      this.readyButton.focus();
    });
    this.root.replaceChildren(
      h("div", { class: "lobby-head" }, this.heading, this.kind),
      this.seats,
      h(
        "div",
        { class: "side" },
        this.status,
        h("p", { class: "actions" }, this.readyButton, this.startButton, h("button", { type: "button", onclick: actions.leave }, "Leave")),
        h("div", { class: "invite" }, h("label", { for: "invite" }, "Whoever has this link can join"), h("p", { class: "joined" }, this.link, this.copyButton, this.shareButton)),
        h("div", { class: "invite" }, h("label", { for: "lobby-name" }, "Your name in this race"), h("p", { class: "joined" }, this.name)),
      ),
    );
    /** Seconds to the start, where it has been set; else null. @type {number | null} */
    this.seconds = null;
    /** @type {RaceState | null} */
    this.state = null;
  }

  /** @param {RaceState} state */
  show(state) {
    this.state = state;
    const own = state.racers.find(({ lane }) => lane === state.lane);
    const hosts = state.host === state.lane && own !== undefined;
    this.ready = own?.ready ?? false;
    say(this.heading, `Race: ${raceName(state)}`);
    say(this.kind, state.public ? "Anybody may join." : "For those who have the link.");
    this.link.value = `${location.origin}/race/${state.race}`;
    if (document.activeElement !== this.name) this.name.value = own?.name ?? "";
    say(this.readyButton, this.ready ? "Not ready yet" : "Ready");
    this.readyButton.classList.toggle("primary", !this.ready);
    this.startButton.hidden = !hosts;
    this.startButton.disabled = !enough(state);
    this.showSeats(state);
    this.showStatus();
  }

  /** @param {RaceState} state */
  showSeats({ racers, most, host, lane: own }) {
    const room = racers.filter(({ state }) => state === "ghost").length + most;
    const seats = racers.map((racer) => {
      const said = racer.state === "ghost" ? "ghost" : racer.state === "detached" ? "connection lost" : racer.ready ? "ready" : "not ready";
      return h(
        "li",
        { class: "seat", "data-ready": racer.ready || racer.state === "ghost", "data-lane": racer.lane },
        h("bdi", { class: "name", title: racer.name }, racer.name),
        racer.lane === own ? h("span", { class: "you" }, "you") : null,
        racer.lane === host ? h("span", { class: "host" }, "host") : null,
        h("span", { class: "said" }, said),
      );
    });
    const free = Math.max(0, Math.min(SEATS, room) - seats.length);
    const more = room - seats.length - free;
    for (let i = 0; i < free; i++) seats.push(h("li", { class: "seat free" }, "free"));
    this.seats.replaceChildren(...seats, more > 0 ? h("li", { class: "quiet more" }, `and room for ${more} more`) : "");
  }

  /** @param {number | null} seconds to the start */
  count(seconds) {
    this.seconds = seconds;
    this.showStatus();
  }

  showStatus() {
    if (this.state) say(this.status, this.sentence(this.state));
  }

  /** @param {RaceState} state */
  sentence(state) {
    const others = state.racers.filter((racer) => racer.state !== "ghost" && racer.lane !== state.lane);
    const waiting = others.filter(({ ready }) => !ready).length;
    if (this.seconds !== null) return this.seconds > 0 ? `The text comes in ${this.seconds}.` : "Here it comes.";
    if (!enough(state)) return state.public ? "Waiting for a second racer: whoever looks for a race comes here." : "Waiting for a second racer: send somebody the link.";
    if (!this.ready) return waiting ? "The race begins when all are ready." : "All others are ready: the race begins when you are.";
    return waiting ? `Waiting for ${counted(waiting, "racer")} to be ready.` : "All are ready.";
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.link.value);
      this.say("Copied");
    } catch {
      // not allowed, or no clipboard without TLS: it is marked, so that it can be copied by hand
      this.link.focus();
      this.link.select();
      this.say("Press Ctrl C");
    }
  }

  /** Says it on the button for a while. @param {string} text */
  say(text) {
    this.copyButton.textContent = text;
    setTimeout(() => (this.copyButton.textContent = "Copy"), SAID_MS);
  }

  share() {
    navigator.share({ title: "A typing race", url: this.link.value }).catch(() => {}); // put away: nothing happens
  }
}

/** Whether there is anybody to race against. @param {RaceState} state */
function enough({ racers }) {
  return racers.length > 1;
}
