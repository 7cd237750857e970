/**
 * The page put together: which view shows, and how a test goes from its first key to "Saved".
 *
 * @module
 */

import { practice, sameAgain } from "./again.js";
import { announce } from "./announce.js";
import { ApiError, replayOf, resultOf } from "./api.js";
import { Bests } from "./bests.js";
import { Client } from "./client.js";
import { byId, h } from "./dom.js";
import { doubt, fixed, percent } from "./figures.js";
import { HistoryView } from "./history.js";
import { keepPage } from "./keep.js";
import { LeaderboardsView } from "./leaderboards.js";
import { keptLogs, readLog } from "./log.js";
import { News } from "./news.js";
import { Notice } from "./notice.js";
import { OptionsBar, startOptions } from "./options.js";
import { forgetIfSpent, Past } from "./past.js";
import { ResultView } from "./result-view.js";
import { change, settings, show as showSettings } from "./settings.js";
import { wireSettings } from "./settings-dialog.js";
import { settleKeptLogs } from "./settle.js";
import { Sharing } from "./sharing.js";
import { watchSleep } from "./sleep.js";
import { TestView } from "./test-view.js";
import { guest, token } from "./token.js";
import { scorerOf } from "./typing-view.js";

/** A loss of the connection shorter than this is not worth a word. */
const QUIET_MS = 1200;
/** The first connection may take this long before a word is said. */
const CONNECT_MS = 2500;
/** Words of a new text that a screen reader says by itself; it has all of them at the field. */
const READ_WORDS = 12;
/** Who has not noticed yet that the test is over types on, and must not scroll its result away: keys this close together. */
const TYPED_ON_MS = 1000;
/** How often it is looked whether a log still waits to be settled. */
const SETTLE_MS = 60_000;

/** What can be raced against: others may type it too. */
const RACED = ["time", "words", "quote"];

/** @type {Record<string, string>} */
const TITLES = { test: "Typegate", result: "Result – Typegate", history: "History – Typegate", leaderboards: "Leaderboards – Typegate" };
const socketUrl = new URL("/ws", location.href);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

const client = new Client({
  url: socketUrl.href,
  listener: { connection: onConnection, started: onStarted, tick: (tick) => testView.tick(tick), result: onResult, stored: onStored, best: (event) => news.heard(event), warned: (sentence) => notice.note(sentence), failed: onFailed, left: () => void settle() },
});
/** @type {Notice} */
const notice = new Notice(() => testView.log !== null && !document.documentElement.classList.contains("typing-now"));
const testView = new TestView(
  {
    type: (key, at) => client.type(key, at),
    release: (event, ms) => client.release(event, ms),
    over: onOver,
    again: () => startTest(),
  },
  notice,
);
const resultView = new ResultView(byId("result"), (started, missed) => [
  { label: "Next test", action: () => startTest() },
  { label: "Same text again", action: () => startTest({ special: sameAgain(started) }), disabled: started.mode === "zen" },
  { label: "Practise missed words", action: () => startTest({ special: practice(missed, started.language ?? settings.language) }), disabled: missed.length === 0 },
  ...(RACED.includes(started.mode) ? [{ label: "Race against this", action: () => raceAgainst(resultView.session) }] : []),
]);
const bests = new Bests(() => client.user);
const news = new News({ bests, result: resultView, later: (sentence) => notice.later(sentence) });
const past = new Past({ who: () => client.who(), settle });
const historyView = new HistoryView(byId("history"), { bests, past });
const leaderboardsView = new LeaderboardsView(byId("leaderboards"), { who: () => client.who(), best: (kind) => bests.of(kind), type: typeKind, addressed: setHash });
const options = new OptionsBar({ changed: () => startTest({ keepFocus: true }) });
const sharing = new Sharing({ changed: () => startTest() });

let offlineTimer = 0;
let saidOffline = false;
let settling = false;
let typedOn = -Infinity;
/** An unanswered start is asked again once, not for ever. */
let secondTry = false;

// --- a test's way ---

/**
 * Asks for a test and shows where it will stand.
 *
 * @param {{keepFocus?: boolean, special?: Record<string, unknown> | null}} [how] `special`: other than the options bar says
 */
function startTest({ keepFocus = false, special = null } = {}) {
  if (settings.mode === "text" && !settings.text && !special) {
    options.editText();
    return;
  }
  setHash("#/");
  showSection("test");
  testView.wait();
  notice.tell("");
  saidOffline = false;
  client.start(sharing.with(special ?? startOptions()));
  if (!keepFocus) testView.focus();
  clearTimeout(offlineTimer);
  offlineTimer = client.online ? 0 : window.setTimeout(sayOffline, client.connection.attempt ? 0 : CONNECT_MS);
}

/** @param {import("./log.js").TestLog} log */
function onStarted(log) {
  secondTry = false;
  testView.show(log);
  sharing.started(log);
  notice.tell("");
  saidOffline = false;
  if (log.started.ref > 1) announce(`New test. ${log.started.text.split(" ", READ_WORDS).join(" ")}`);
  if (log.started.offline) sayOffline();
  const { title } = log.started;
  if (title) notice.note(title);
  notice.noteHeld();
  if (!byId("test").hidden && document.activeElement === document.body) testView.focus();
}

/** The page's own end of a test: the result shows at once, the server's figures and "Saved" come when they come. @param {boolean} gaveUp */
function onOver(gaveUp) {
  const { log } = client;
  const { scorer } = testView;
  if (!log || !scorer) return;
  client.finish();
  const result = showFinished(log, client.online ? "sent" : "unsent", scorer, gaveUp);
  showSection("result");
  typedOn = performance.now();
  resultView.heading.focus({ preventScroll: true });
  resultView.announce(result);
  setHash(`#/result/${log.session}`);
  if (log.started.offline && client.online) settle();
}

/**
 * Shows a log's result by the page's own scorer.
 *
 * @param {import("./log.js").TestLog} log @param {import("./result-view.js").State} state
 * @param {import("./scoring.js").Scorer} [scorer] that was fed the log @param {boolean} [gaveUp]
 */
function showFinished(log, state, scorer = scored(log), gaveUp = scorer.limitMs === null && !scorer.ended) {
  const { session, started, events } = log;
  const result = scorer.summary({ gaveUp, exact: started.mode === "text" });
  resultView.show({ session, result, scorer, started, events, state, fresh: true });
  return result;
}

/** @param {import("./log.js").TestLog} log */
function scored(log) {
  const scorer = scorerOf(log.started);
  scorer.feed(log.events);
  return scorer;
}

/** @param {string} session @param {Record<string, any>} result */
function onResult(session, result) {
  if (client.log?.session === session && client.log.finished === null) {
    // The server ended it first: its clock ran out, or this page was reloaded after the end.
    testView.end(false);
  }
  const log = client.unsaved.get(session) ?? readLog(session);
  if (log) news.accepted(session, log.started, result);
  if (session !== resultView.session) return;
  // Its verdict is provisional: the page says nothing of it before it is final.
  resultView.setResult({ ...result, verdict: undefined });
  if (resultView.state.dataset.state !== "stored") resultView.setState("accepted");
}

/** @param {string} session @param {string} verdict @param {string | undefined} before the one that was told already */
function onStored(session, verdict, before) {
  forgetIfSpent();
  news.stored(session, verdict);
  if (before !== undefined && before !== verdict) {
    const again = `was looked at again: ${doubt({ verdict })}.`;
    if (session === resultView.session && !byId("result").hidden) announce(`This result ${again}`);
    else notice.later(`An earlier result ${again}`);
  }
  if (session !== resultView.session) return;
  if (resultView.state.dataset.state !== "stored") resultView.setState("stored");
  resultView.setVerdict({ verdict });
  if (verdict !== "ok") explain(session);
}

/** Brings the reasons of a verdict, which the test's own connection does not tell. @param {string} session */
async function explain(session) {
  try {
    const result = await resultOf(session);
    if (session === resultView.session) resultView.setVerdict(result);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // the verdict stands without them
  }
}

/**
 * @param {{code: string, message: string, retry: number | null}} error
 * @param {import("./log.js").TestLog | null} log
 */
function onFailed(error, log) {
  if (log?.finished != null) {
    if (log.session === resultView.session) resultView.fail(error.message);
    return;
  }
  testView.wait();
  if (log && log.n === 0 && !secondTry) {
    secondTry = true;
    startTest({ keepFocus: true });
    return;
  }
  const lost = log && log.n > 0 ? "This test cannot go on: " : "No test: ";
  notice.tell(`${lost}${error.message}`, { label: "New test", action: () => startTest() });
}

/** A test of the kind that a leaderboard is of. @param {import("./leaderboards.js").Board} board */
function typeKind({ mode, seconds, count, language }) {
  change(/** @type {any} */ ({ mode, language, ...(seconds ? { seconds } : {}), ...(count ? { count } : {}) }));
  options.fill();
  startTest();
}

/** A race with a result as its ghost. @param {string} session */
function raceAgainst(session) {
  location.assign(`/race?ghost=${encodeURIComponent(session)}`);
}

// --- the connection ---

/** @param {"online" | "offline" | "refused"} state @param {{sentence?: string}} detail */
function onConnection(state, { sentence = "" }) {
  const wait = state === "offline" && testView.log?.n ? QUIET_MS : 0;
  if (!wait) {
    clearTimeout(offlineTimer);
    offlineTimer = 0;
  }
  if (state === "online") {
    if (saidOffline) notice.tell("");
    saidOffline = false;
    if (resultView.state.dataset.state === "unsent") resultView.setState("sent");
    // A test begun without a server and not yet typed: one that is scored live is the better one.
    if (client.log?.started.offline && client.log.n === 0) startTest({ keepFocus: true, special: client.log.options });
    Object.assign(options.limits, client.limits);
    options.load();
    settle().then(() => past.tell((sentence) => notice.later(sentence)));
  } else if (state === "refused") {
    notice.tell(sentence, { label: "Reload", action: () => location.reload() });
  } else {
    if (resultView.state.dataset.state === "sent") resultView.setState("unsent");
    offlineTimer ||= window.setTimeout(sayOffline, wait); // from the loss on, however often it is tried meanwhile
  }
}

function sayOffline() {
  offlineTimer = 0;
  if (notice.lasting && !saidOffline) return; // something else was said that still holds
  saidOffline = true;
  notice.tell(whileOffline(), client.log?.n ? null : { label: "Try now", action: () => client.connection.comeBack() });
}

function whileOffline() {
  const { log } = client;
  const offline = navigator.onLine ? "" : "You are offline.";
  if (!log) {
    const why = ["text", "zen"].includes(settings.mode) ? "This page tries again by itself." : "Such tests come from the server; own texts and zen need none.";
    return `${offline || "No connection."} ${why}${unsent()}`;
  }
  const lost = offline || "Connection lost.";
  if (log.started.offline) return `${lost} This test needs no server: its result goes out by itself when there is one again.`;
  if (log.n === 0) return `${lost} You can type all the same: your keys are kept here.`;
  return `${lost} Type on: every key is kept here and sent when it is back.`;
}

/** What is known of results that wait for the server. */
function unsent() {
  const count = keptLogs().filter(({ finished }) => finished).length;
  return count === 0 ? "" : count === 1 ? " One result is kept here until then." : ` ${count} results are kept here until then.`;
}

/** Brings in what earlier visits, and earlier tests of this one, left unsaved. */
async function settle() {
  if (settling) return;
  settling = true;
  try {
    await settleKeptLogs({
      url: socketUrl.href,
      tokenOf: (user) => (!user || user === client.user ? token() : guest()?.user === user ? guest()?.token : undefined),
      busy: (session) => session === client.resuming || (session === client.log?.session && !client.log.started.offline),
      owned: (session) => client.locks.has(session),
      result: (session, result) => {
        onResult(session, result);
        if (session !== resultView.session) notice.later(`An earlier result has come in: ${fixed(result.wpm)} wpm, ${percent(result.acc)}.`);
      },
      stored: (session, verdict, as) => {
        if (session === resultView.session && as !== session) {
          resultView.session = as;
          setHash(`#/result/${as}`);
        }
        client.onStored(session, verdict, as);
      },
      refused: (session, why) => {
        if (session === resultView.session) resultView.fail(why);
        else notice.later(`An earlier result cannot be saved: ${why}.`);
      },
    });
    forgetIfSpent();
  } finally {
    settling = false;
  }
}

watchSleep(() => {
  const { log } = client;
  if (!log || log.n === 0 || log.finished !== null) {
    client.connection.renew();
    return;
  }
  client.abort();
  client.connection.renew();
  testView.wait();
  const sentence = "Your computer slept during the test, so the test has ended without a result.";
  notice.tell(sentence, { label: "New test", action: () => startTest() });
});

// --- views ---

/** @param {string} name */
function showSection(name) {
  for (const section of Object.keys(TITLES)) byId(section).hidden = section !== name;
  document.title = TITLES[name];
  for (const link of ["test", "history", "leaderboards"]) {
    if (link === name) byId(`nav-${link}`).setAttribute("aria-current", "page");
    else byId(`nav-${link}`).removeAttribute("aria-current");
  }
  if (name !== "test") document.documentElement.classList.remove("typing-now");
}

/** Sets the address without a step in the browser's history. @param {string} hash */
function setHash(hash) {
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function route() {
  const [, page = "", id = "", time = ""] = location.hash.split("/");
  if (page === "history") {
    leaveTest();
    showSection("history");
    historyView.show();
  } else if (page === "leaderboards") {
    leaveTest();
    showSection("leaderboards");
    leaderboardsView.show(id, time);
  } else if (page === "result" && id) {
    leaveTest();
    showSection("result");
    if (id !== resultView.session) openResult(id);
  } else {
    showSection("test");
    if (!client.log || client.log.finished !== null) startTest();
    else testView.focus();
  }
}

/** Going to another page gives up what is being typed. */
function leaveTest() {
  if (client.log && client.log.finished === null && client.log.n > 0) {
    client.abort();
    testView.wait();
  }
}

/** @param {string} id */
async function openResult(id) {
  const root = byId("result");
  const kept = readLog(id);
  if (kept?.finished != null) {
    // It has not reached the server yet: the page's own figures, until it has.
    showFinished(kept, "unsent");
    settle();
    return;
  }
  resultView.session = "";
  root.replaceChildren(h("p", { class: "quiet loading", role: "status" }, "Loading …"));
  const { hash } = location;
  try {
    const replay = await replayOf(id);
    if (location.hash !== hash) return; // another one is looked at by now, or a test was typed
    const started = { ...replay.result, ...replay };
    const scorer = scorerOf(started);
    scorer.feed(replay.events);
    resultView.show({ session: id, result: replay.result, scorer, started, events: replay.events, state: "stored", fresh: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (location.hash !== hash) return;
    root.replaceChildren(
      h("p", { class: "message", role: "status" }, `This result cannot be shown. ${error.message} `, h("a", { href: "#/" }, "Type a test"), " or see your ", h("a", { href: "#/history" }, "history"), "."),
    );
  }
}

// --- the rest of the page ---

function wireKeys() {
  // On a fresh result the key that restarts a test starts the next one.
  document.addEventListener("keydown", (event) => {
    if (byId("result").hidden || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const onHeading = document.activeElement === resultView.heading;
    const explained = document.activeElement?.closest(".explained"); // there Esc puts the explanation away
    if (onHeading && event.key.length === 1 && performance.now() - typedOn < TYPED_ON_MS) {
      typedOn = performance.now();
      if (event.key === " ") event.preventDefault();
    }
    if ((event.key === "Tab" && settings.restart === "tab" && onHeading) || (event.key === "Escape" && settings.restart === "esc" && !explained)) {
      event.preventDefault();
      startTest();
    } else if (onHeading && event.key === "ArrowDown") {
      event.preventDefault();
      resultView.next?.focus();
    }
  });
  for (const link of document.querySelectorAll("a[href$='#/']")) {
    link.addEventListener("click", () => {
      if (location.hash === "#/") startTest();
    });
  }
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    if (byId("test").hidden) byId("main").focus();
    else testView.focus();
  });
  // A click on the mode that is already chosen starts a new test too; after any click there the keys go to the text.
  byId("options").addEventListener("click", (event) => {
    if (/** @type {MouseEvent} */ (event).detail > 0 && /** @type {Element} */ (event.target).matches("input")) testView.focus();
  });
}

async function begin() {
  showSettings();
  wireSettings(() => byId("test").hidden || testView.focus());
  wireKeys();
  addEventListener("hashchange", route);
  setInterval(() => client.online && settle(), SETTLE_MS);
  keepPage();
  client.open();
  const log = await client.takeUp(({ started, finished }) => !started.race && finished === null); // a race is left with its page
  if (log) {
    setHash("#/");
    showSection("test");
    testView.show(log);
    sharing.started(log);
    testView.focus();
  } else {
    route();
  }
}

begin();
