/**
 * The way into a race: find one, or make one.
 *
 * @module
 */

import { languages } from "./api.js";
import { byId, h } from "./dom.js";
import { choices, choose } from "./race-options.js";

export class Entrance {
  /** @param {{find: () => void, make: () => void, name: (name: string) => void}} actions */
  constructor(actions) {
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
