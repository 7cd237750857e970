/**
 * The bar above the text: what to type next.
 *
 * @module
 */

import { languages } from "./api.js";
import { byId, h } from "./dom.js";
import { bind, change, settings } from "./settings.js";

/** What the settings ask the server for. @returns {Record<string, unknown>} */
export function startOptions() {
  const { mode, language, seconds, count, punctuation, numbers } = settings;
  const input = { input: inputKind(language) };
  switch (mode) {
    case "words":
      return { mode, count, language, punctuation, numbers, ...input };
    case "quote":
      return { mode, language, ...optional("difficulty", settings.difficulty), ...optional("category", settings.category), ...input };
    case "text":
      return { mode, language, text: settings.text, ...(settings.text_seconds ? { seconds: settings.text_seconds } : {}), ...input };
    case "zen":
      return { mode, language, ...input };
    default:
      return { mode: "time", seconds, language, punctuation, numbers, ...input };
  }
}

/** @param {string} name @param {string} value */
function optional(name, value) {
  return value ? { [name]: value } : {};
}

/** Whether the visitor has a finger and no mouse. */
export function onTouch() {
  return matchMedia("(hover: none) and (pointer: coarse)").matches;
}

/** Which table of plausible key times holds. @param {string} language of the text */
export function inputKind(language) {
  if (/^(ko|ja|zh)\b/.test(language)) return "ime";
  return onTouch() ? "touch" : "keyboard";
}

export class OptionsBar {
  /** @param {{changed: () => void}} listener */
  constructor({ changed }) {
    this.form = /** @type {HTMLFormElement} */ (byId("options"));
    this.changed = changed;
    this.fill = bind(this.form, (name) => this.onChange(name));
    byId("edit-text").addEventListener("click", () => this.editText());
    this.dialog = /** @type {HTMLDialogElement} */ (byId("own-text"));
    this.area = /** @type {HTMLTextAreaElement} */ (byId("own-text-area"));
    this.area.addEventListener("input", () => this.count());
    this.dialog.addEventListener("close", () => this.useText());
    this.fillDialog = bind(/** @type {HTMLFormElement} */ (this.dialog.querySelector("form")));
    this.limits = { text_graphemes: 20_000, text_bytes: 48 * 1024 };
    this.loaded = false;
    /** How many quotes each language has. @type {Map<string, number>} */
    this.quotes = new Map();
  }

  /** @param {string} name */
  onChange(name) {
    if (name === "language") this.offerQuotes();
    if (name === "mode" && settings.mode === "text" && !settings.text) this.editText();
    else this.changed();
  }

  /** Fills in what only the server knows; without it the defaults stay. */
  async load() {
    if (this.loaded) return;
    this.loaded = true;
    let offer;
    try {
      offer = await languages();
    } catch {
      this.loaded = false; // offline: what is chosen stays
      return;
    }
    const { languages: list, categories } = offer;
    this.quotes = new Map(list.map((/** @type {any} */ { language, quotes }) => [language, quotes]));
    this.select("language").replaceChildren(
      ...list.map((/** @type {any} */ { language, name }) => h("option", { value: language, lang: language }, name)),
    );
    this.select("category").replaceChildren(
      h("option", { value: "" }, "any category"),
      ...categories.map((/** @type {string} */ name) => h("option", { value: name }, name)),
    );
    const has = (/** @type {string} */ tag) => list.some((/** @type {any} */ { language }) => language === tag);
    if (!has(settings.language)) change({ language: has("en") ? "en" : list[0].language });
    if (!categories.includes(settings.category)) change({ category: "" });
    this.offerQuotes();
    this.fill();
  }

  /** A language without quotes offers none. */
  offerQuotes() {
    const none = this.quotes.get(settings.language) === 0;
    /** @type {HTMLInputElement} */ (this.form.querySelector("input[value=quote]")).disabled = none;
    if (!none || settings.mode !== "quote") return;
    change({ mode: "words" });
    this.fill();
  }

  /** @param {string} name */
  select(name) {
    return /** @type {HTMLSelectElement} */ (this.form.elements.namedItem(name));
  }

  editText() {
    this.fillDialog();
    this.area.value = settings.text;
    this.count();
    this.dialog.returnValue = "cancel";
    this.dialog.showModal();
    this.area.focus();
  }

  /** Says how long the text is, and whether that is too long. */
  count() {
    const text = folded(this.area.value);
    const letters = Array.from(text).length;
    const bytes = new TextEncoder().encode(text).length;
    const { text_graphemes: most, text_bytes: mostBytes } = this.limits;
    const tooLong = letters > most || bytes > mostBytes;
    byId("own-text-count").textContent = tooLong
      ? `Too long: ${letters.toLocaleString()} characters, ${most.toLocaleString()} are allowed (and ${mostBytes.toLocaleString()} bytes).`
      : letters
        ? `${letters.toLocaleString()} characters, ${text.split(" ").length.toLocaleString()} words`
        : "Nothing yet.";
    /** @type {HTMLButtonElement} */ (byId("own-text-use")).disabled = tooLong || letters === 0;
  }

  useText() {
    if (this.dialog.returnValue === "use") change({ text: folded(this.area.value), mode: "text" });
    else if (settings.mode === "text" && !settings.text) change({ mode: "time" });
    else return;
    this.fill();
    this.changed();
  }
}

/** Lines and runs of white space become one space, as on the server. @param {string} text */
function folded(text) {
  return text.normalize("NFC").replace(/\s+/g, " ").trim();
}
