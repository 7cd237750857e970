/**
 * Typing on the page, whatever it is for: takes keys, marks the text, shows live figures, and says when the test is over.
 * The log and the network are the client's; nothing here waits for them.
 *
 * @module
 */

import { announce } from "./announce.js";
import { byId, say } from "./dom.js";
import { TypingInput } from "./input.js";
import { onTouch } from "./options.js";
import { wordsOf } from "./passage.js";
import { Scorer } from "./scoring.js";
import { change, settings } from "./settings.js";
import { TextView } from "./text-view.js";

/** The server's figures count for this long; then, offline, the page's own are shown. */
const TICK_LIVES_MS = 2500;
/** Words of the text that a screen reader is given. */
const READ_WORDS = 300;

/** @typedef {import("./log.js").TestLog} TestLog */
/**
 * @typedef {object} TypingActions
 * @property {(key: string, at: number) => number} type
 * @property {(event: number, ms: number) => void} release
 * @property {(gaveUp: boolean) => void} over
 */

/** A scorer for what `started` describes. @param {Record<string, any>} started */
export function scorerOf(started) {
  const timed = Boolean(started.seconds);
  return new Scorer(wordsOf({ ...started, text: started.text ?? "", timed }), {
    limitMs: timed ? started.seconds * 1000 : null,
    zen: started.mode === "zen",
    cyclic: Boolean(started.cyclic),
    fromStart: Boolean(started.race),
  });
}

export class TypingView {
  /** @param {TypingActions} actions @param {import("./notice.js").Notice} notice */
  constructor(actions, notice) {
    this.actions = actions;
    this.notice = notice;
    this.area = byId("typing");
    this.field = /** @type {HTMLTextAreaElement} */ (byId("field"));
    this.overlay = byId("unfocused");
    this.view = new TextView(byId("text"));
    this.view.follower = this.field;
    this.input = new TypingInput(this.field, {
      key: (key, at) => this.onKey(key, at),
      held: (event, ms) => this.actions.release(event, ms),
      composing: (text) => this.view.compose(text),
      completes: (text) => this.completes(text),
      refused: () => this.notice.note("Nothing can be pasted here: a test is what you type."),
      capsLock: (on) => (byId("caps").hidden = !on),
      learned: (code, key) => this.learn(code, key),
    });
    /** @type {TestLog | null} */
    this.log = null;
    /** @type {Scorer | null} */
    this.scorer = null;
    /** Characters of physical keys that were not known yet. @type {Record<string, string>} */
    this.learned = {};
    this.tickAt = -Infinity;
    this.clock = 0;
    this.shownProgress = "";
    this.listen();
  }

  listen() {
    this.field.addEventListener("focus", () => this.setAway(false));
    this.field.addEventListener("blur", () => this.setAway(true));
    addEventListener("blur", () => this.setAway(true));
    addEventListener("focus", () => this.setAway(document.activeElement !== this.field));
    byId("text").addEventListener("mousedown", (event) => this.takeFocus(event));
    this.overlay.addEventListener("mousedown", (event) => this.takeFocus(event));
    this.overlay.addEventListener("click", () => this.focus());
    let still = 0;
    document.addEventListener("mousemove", (event) => {
      if (Math.abs(event.movementX) + Math.abs(event.movementY) < 3) return;
      document.documentElement.classList.add("mouse-moved");
      clearTimeout(still);
      still = window.setTimeout(() => document.documentElement.classList.remove("mouse-moved"), 2500);
    });
    visualViewport?.addEventListener("resize", () => this.keepInSight());
  }

  // --- a test comes and goes ---

  /** Shows a test, new or taken up again. @param {TestLog} log */
  show(log) {
    this.log = log;
    this.scorer = scorerOf(log.started);
    this.scorer.feed(log.events);
    this.input.reset();
    this.field.lang = log.started.language ?? "en";
    this.view.show(this.scorer, log.started);
    this.area.classList.remove("waiting");
    this.area.toggleAttribute("data-offline", Boolean(log.started.offline));
    const zen = log.started.mode === "zen";
    const { text = "", direction = "ltr" } = log.started;
    byId("live").dir = direction;
    byId("passage").lang = this.field.lang;
    say(byId("passage"), zen ? "Write what you like." : text.split(" ", READ_WORDS).join(" "));
    document.documentElement.dataset.test = log.started.seconds ? "time" : log.started.mode;
    this.tickAt = performance.now();
    this.setTyping(log.n > 0);
    this.view.rest(log.n === 0);
    this.showProgress();
    this.showFigures(this.scorer.figures());
    clearInterval(this.clock);
    this.clock = 0;
    if (log.n > 0) this.startClock();
  }

  /** The next test is asked for: the old text stays, dimmed. */
  wait() {
    this.stop();
    this.area.classList.add("waiting");
    this.setTyping(false);
  }

  /** Takes no more keys. */
  stop() {
    clearInterval(this.clock);
    this.clock = 0;
    this.keepLayout();
    this.log = null;
    this.setTyping(false);
  }

  focus() {
    // Without a touch a phone would give the field the focus and show no keyboard; a tap could not bring it then either.
    if (onTouch() && navigator.userActivation?.isActive === false) {
      this.setAway(document.activeElement !== this.field);
      return;
    }
    this.field.focus({ preventScroll: true });
  }

  /** @param {Event} event */
  takeFocus(event) {
    event.preventDefault();
    this.focus();
  }

  // --- keys ---

  /** @param {string} key @param {number} at @returns {number} */
  onKey(key, at) {
    const { log, scorer } = this;
    if (!log || !scorer || log.finished !== null) return -1;
    if (log.n === 0 && (key === "\b" || key === "\u0017" || key === " ")) return -1; // nothing has begun yet
    if (scorer.limitMs !== null && log.elapsed(at) >= scorer.limitMs) {
      this.end(false);
      return -1;
    }
    const event = log.n;
    scorer.key(this.actions.type(key, at), key);
    if (event === 0) this.begin();
    this.view.update();
    this.showProgress();
    if (scorer.ended) this.end(false);
    return event;
  }

  begin() {
    this.tickAt = performance.now();
    this.setTyping(true);
    this.view.rest(false);
    this.notice.clear();
    this.startClock();
  }

  startClock() {
    this.clock = window.setInterval(() => this.onClock(), 100);
  }

  onClock() {
    const { log, scorer } = this;
    if (!log || !scorer) return;
    if (scorer.limitMs !== null && log.elapsed(performance.now()) >= scorer.limitMs) {
      this.end(false);
      return;
    }
    this.showProgress();
    if (performance.now() - this.tickAt > TICK_LIVES_MS) this.showFigures(scorer.figures());
  }

  /** @param {boolean} gaveUp */
  end(gaveUp) {
    if (!this.log) return;
    this.stop();
    this.input.reset();
    this.actions.over(gaveUp);
  }

  /** @param {string} text */
  completes(text) {
    const { scorer } = this;
    if (!scorer || !this.log || !scorer.isLast(scorer.active)) return false;
    return [...scorer.typed[scorer.active], text].join("") === scorer.target(scorer.active)?.join("");
  }

  /**
   * A key that no field took: it brings the text back, and is nothing else (in some browsers / and ' search). In mid-test
   * only the right one is typed as well: it was not meant as a mistake.
   *
   * @param {KeyboardEvent} event
   */
  bringBack(event) {
    if (document.activeElement === this.field || event.key.length !== 1 || event.key === " ") return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (/** @type {Element} */ (event.target).closest("input:not([type=radio], [type=checkbox]), select, textarea")) return;
    event.preventDefault();
    const { scorer, log } = this;
    const wanted = scorer?.target(scorer.active)?.[scorer.typed[scorer.active].length];
    this.focus();
    if (log?.n === 0 || scorer?.zen || wanted === event.key) this.onKey(event.key, event.timeStamp);
  }

  /** @param {string} code @param {string} key */
  learn(code, key) {
    const known = settings.layout[this.field.lang] ?? {};
    if (code && known[code] !== key) this.learned[code] = key;
  }

  /** Remembers what was learned of the keyboard, once the typing is over. */
  keepLayout() {
    if (Object.keys(this.learned).length === 0) return;
    const { lang } = this.field;
    change({ layout: { ...settings.layout, [lang]: { ...settings.layout[lang], ...this.learned } } });
    this.learned = {};
  }

  // --- what shows ---

  /** The server's figures. @param {Record<string, any>} tick */
  tick(tick) {
    this.tickAt = performance.now();
    this.showFigures(tick);
  }

  /** @param {{wpm?: number, acc?: number}} figures */
  showFigures({ wpm = 0, acc = 100 }) {
    say(byId("live-wpm"), String(Math.round(wpm)));
    say(byId("live-acc"), String(Math.floor(acc)));
  }

  showProgress() {
    const { log, scorer } = this;
    if (!log || !scorer) return;
    let text;
    if (scorer.limitMs !== null) {
      text = String(Math.max(0, Math.ceil((scorer.limitMs - log.elapsed(performance.now())) / 1000)));
    } else {
      text = scorer.zen ? String(scorer.active) : `${Math.min(scorer.active, scorer.words.length)}/${scorer.words.length}`;
    }
    if (text === this.shownProgress) return;
    this.shownProgress = text;
    byId("progress").textContent = text;
    if (text === "10" && scorer.limitMs !== null && scorer.limitMs > 20_000) announce("10 seconds left");
  }

  /** @param {boolean} typing */
  setTyping(typing) {
    document.documentElement.classList.toggle("typing-now", typing);
    if (typing) document.documentElement.classList.remove("mouse-moved");
  }

  /** @param {boolean} away */
  setAway(away) {
    this.area.classList.toggle("away", away);
    this.overlay.hidden = !away;
  }

  /** With an on-screen keyboard the line that is typed stays in sight. */
  keepInSight() {
    if (document.activeElement !== this.field || !visualViewport) return;
    const { top, bottom } = this.area.getBoundingClientRect();
    const { offsetTop, height } = visualViewport;
    if (bottom > offsetTop + height || top < offsetTop) this.area.scrollIntoView({ block: "center" });
  }
}
