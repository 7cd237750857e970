/**
 * The way into a race: find one, or make one, with others or with the ghost of one's own best of the kind.
 *
 * @module
 */

import { languages } from "./api.js";
import { byId, h } from "./dom.js";
import { fixed } from "./figures.js";
import { choices, choose } from "./race-options.js";

export class Entrance {
  /**
   * @param {{find: () => void, make: () => void, name: (name: string) => void, against: (session: string) => void,
   *   best: (test: import("./race-options.js").RaceChoices) => import("./bests.js").Best | null}} actions `best`: one's own
   *   of this kind, as far as it is known
   */
  constructor(actions) {
    this.best = actions.best;
    this.ownBest = /** @type {HTMLButtonElement} */ (byId("own-best"));
    this.against = "";
    this.ownBest.addEventListener("click", () => actions.against(this.against));
    this.heading = byId("entrance-title");
    this.form = /** @type {HTMLFormElement} */ (byId("make"));
    this.name = /** @type {HTMLInputElement} */ (byId("name"));
    this.language = /** @type {HTMLSelectElement} */ (this.form.elements.namedItem("language"));
    this.find = /** @type {HTMLButtonElement} */ (byId("find"));
    this.loaded = false;
    this.form.addEventListener("change", () => this.read());
    this.name.addEventListener("change", () => actions.name(this.name.value.trim()));
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // the button is not meant
      this.find.focus();
    });
    this.find.addEventListener("click", () => actions.find());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.read();
      actions.make();
    });
    this.fill();
  }

  fill() {
    this.name.value = choices.name;
    const values = { ...choices, public: choices.public ? "yes" : "" };
    for (const field of /** @type {Iterable<any>} */ (this.form.elements)) {
      const value = values[/** @type {keyof typeof values} */ (field.name)];
      if (field.type === "radio") field.checked = field.value === String(value);
      else if (field.type === "checkbox") field.checked = Boolean(value);
      else if (value !== undefined) field.value = String(value);
    }
    this.form.dataset.mode = choices.mode;
    this.offer();
  }

  /** Offers a race against one's own best of what is chosen, where there is one. */
  offer() {
    const best = this.best(choices);
    this.ownBest.hidden = best === null;
    this.against = best?.session ?? "";
    if (best) this.ownBest.textContent = `Race your best (${fixed(best.wpm, 1)} wpm)`;
  }

  /** Remembers what the form says. */
  read() {
    const data = new FormData(this.form);
    const text = (/** @type {string} */ name) => String(data.get(name) ?? "");
    const racers = Number(text("racers"));
    choose({
      mode: text("mode"),
      difficulty: text("difficulty"),
      count: Number(text("count")),
      seconds: Number(text("seconds")),
      punctuation: data.has("punctuation"),
      numbers: data.has("numbers"),
      public: text("public") === "yes",
      language: text("language"),
      ...(racers >= 2 && racers <= 100 ? { racers } : {}),
    });
    this.form.dataset.mode = choices.mode;
    this.offer();
  }

  /** Fills in what only the server knows. */
  async load() {
    if (this.loaded) return;
    this.loaded = true;
    try {
      const { languages: list } = await languages();
      this.language.replaceChildren(...list.map((/** @type {any} */ { language, name }) => h("option", { value: language, lang: language }, name)));
      if (!list.some((/** @type {any} */ { language }) => language === choices.language)) choose({ language: list[0].language });
      this.fill();
    } catch {
      this.loaded = false; // what is chosen stays
    }
  }
}
