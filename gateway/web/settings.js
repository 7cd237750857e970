/**
 * What the visitor chose, remembered in localStorage, and how it shows on the page: `data-` attributes of the root that
 * the style sheets look at. `boot.js` sets the same ones before the first paint.
 *
 * @module
 */

const KEY = "typegate.settings";
const SHOWN = ["theme", "size", "mode", "caret", "restart", "smooth", "live"];

/** @typedef {typeof DEFAULTS} Settings */
const DEFAULTS = {
  mode: "time",
  seconds: 30,
  count: 25,
  language: "en",
  punctuation: false,
  numbers: false,
  difficulty: "",
  category: "",
  text: "",
  text_seconds: 0,
  theme: "auto",
  size: "medium",
  caret: "line",
  smooth: true,
  restart: "tab",
  live: true,
  /** Characters of physical keys by language, learned from what was typed. @type {Record<string, Record<string, string>>} */
  layout: {},
};

/** What each choice may be; anything else that was stored is not believed. @type {Partial<Record<keyof Settings, readonly unknown[]>>} */
const ALLOWED = {
  mode: ["time", "words", "quote", "text", "zen"],
  seconds: [15, 30, 60, 120],
  count: [10, 25, 50, 100],
  text_seconds: [0, 30, 60, 120],
  theme: ["auto", "light", "dark"],
  size: ["small", "medium", "large", "huge"],
  caret: ["line", "block", "under"],
  restart: ["tab", "esc", "tab-enter"],
};

/** @returns {Settings} */
function read() {
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    // no storage, or not ours: the defaults
  }
  /** @type {Record<string, unknown>} */
  const settings = { ...DEFAULTS, layout: {} };
  for (const [name, value] of Object.entries(stored)) {
    const known = /** @type {keyof Settings} */ (name);
    if (!(known in DEFAULTS) || typeof value !== typeof DEFAULTS[known] || value === null) continue;
    if (ALLOWED[known] && !ALLOWED[known]?.includes(value)) continue;
    settings[known] = value;
  }
  return /** @type {Settings} */ (settings);
}

/** @type {Settings} */
export const settings = read();

/** Changes some, remembers all, shows it. @param {Partial<Settings>} changes */
export function change(changes) {
  Object.assign(settings, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // no storage: they hold until the page is left
  }
  show();
}

/** Puts the settings on the page's root. */
export function show() {
  const { dataset } = document.documentElement;
  for (const name of SHOWN) dataset[name] = String(settings[/** @type {keyof Settings} */ (name)]);
  // The browser's own bars take the page's colour, also where it is not the system's.
  for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
    const scheme = settings.theme === "auto" ? meta.getAttribute("data-scheme") : settings.theme;
    meta.setAttribute("content", scheme === "dark" ? "#191a1d" : "#faf9f6");
  }
}

/**
 * Keeps a form's fields and the settings of the same names alike.
 *
 * @param {HTMLFormElement} form @param {(name: keyof Settings) => void} [changed]
 * @returns {() => void} shows the settings in the form again
 */
export function bind(form, changed = () => {}) {
  const fields = () => /** @type {(HTMLInputElement | HTMLSelectElement)[]} */ ([...form.elements].filter((field) => /** @type {any} */ (field).name in DEFAULTS));
  const fill = () => {
    for (const field of fields()) {
      const value = settings[/** @type {keyof Settings} */ (field.name)];
      if (field.type === "radio") /** @type {HTMLInputElement} */ (field).checked = field.value === String(value);
      else if (field.type === "checkbox") /** @type {HTMLInputElement} */ (field).checked = Boolean(value);
      else field.value = String(value);
    }
  };
  form.addEventListener("change", (event) => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    const name = /** @type {keyof Settings} */ (field.name);
    if (!(name in DEFAULTS)) return;
    const value = field.type === "checkbox" ? field.checked : typeof DEFAULTS[name] === "number" ? Number(field.value) : field.value;
    change({ [name]: value });
    changed(name);
  });
  fill();
  return fill;
}
