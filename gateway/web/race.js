/**
 * The page of races put together: the way in, the lobby, the race, the finish, and which of them shows.
 *
 * @module
 */

import { announce } from "./announce.js";
import { ApiError, raceOf } from "./api.js";
import { Bests } from "./bests.js";
import { Client } from "./client.js";
import { Countdown } from "./countdown.js";
import { Courses } from "./courses.js";
import { asSentence, byId, h, say } from "./dom.js";
import { Entrance } from "./entrance.js";
import { fixed, kindOf } from "./figures.js";
import { FinishView } from "./finish-view.js";
import { keepPage } from "./keep.js";
import { Lanes } from "./lanes.js";
import { Lobby } from "./lobby.js";
import { Notice } from "./notice.js";
import { inputKind } from "./options.js";
import { RaceClock } from "./race-clock.js";
import { choices, choose, createOptions } from "./race-options.js";
import { RaceTyping } from "./race-typing.js";
import { counted, isFinal, isOver, ordinal, raceName } from "./racers.js";
import { ResultView } from "./result-view.js";
import { Room } from "./room.js";
import { show as showSettings } from "./settings.js";
import { wireSettings } from "./settings-dialog.js";
import { watchSleep } from "./sleep.js";

/** A loss of the connection shorter than this is not worth a word. */
const QUIET_MS = 1200;
/** How often the lanes are drawn. */
const DRAW_MS = 100;
/** "Go" stands for this long. */
const GO_MS = 900;
/** Who falls out of the lobby comes back by itself, but not more often than this. */
const REJOIN_MS = 5000;
/** A result's name. */
const SESSION = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Seconds before the start that are said aloud. */
const SAID_ALOUD = new Set([1, 2, 3, 5, 10]);

const SECTIONS = ["message", "entrance", "lobby", "race", "outcome"];

/** @typedef {import("./room.js").RaceState} RaceState */

const socketUrl = new URL("/ws", location.href);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

/** @type {Client} */
const client = new Client({
  url: socketUrl.href,
  listener: {
    connection: onConnection,
    opened: () => room.opened(client.log !== null && !client.isSettled(client.log)),
    heard: (message) => room.heard(message),
    beat: (hb, at) => clock.heard(hb, at),
    startsAt: (started) => clock.at(started.start_ms),
    started: (log) => (log.started.race === room.id ? onStarted(log) : client.abort()), // left before it came
    tick: (tick) => typing.tick(tick),
    result: onResult,
    stored: onStored,
    best: (event) => event.session === resultView.session && resultView.celebrate({ event }),
    warned: (sentence) => notice.note(sentence),
    failed: onFailed,
  },
});
/** @type {RaceClock} */
const clock = new RaceClock((c) => client.connection.send({ t: "hb", c }));
/** @type {Room} */
const room = new Room({
  send: (message) => client.connection.send(message),
  who: () => ({ ...(ownName() ? { name: ownName() } : {}), input: inputKind(room.state?.language ?? choices.language) }),
  listener: { state: onState, progress: onProgress, ghost: onGhost, refused: onRefused },
});
const notice = new Notice(() => !document.documentElement.classList.contains("typing-now"));
const typing = new RaceTyping(
  {
    type: (key, at) => client.type(key, at),
    release: (event, ms) => client.release(event, ms),
    over: onOver,
  },
  notice,
);
const courses = new Courses();
const bests = new Bests(() => client.user);
const entrance = new Entrance({
  find,
  make,
  name: (name) => (wish = name),
  best: (test) => bests.of(kindOf(test)),
  against: (session) => enter(`/race?ghost=${session}`),
});
const lobby = new Lobby({ ready: (ready) => room.ready(ready), start: () => room.start(), leave, rename });
const lanes = new Lanes(byId("lanes"));
const finish = new FinishView({ courses, again: () => room.again(), leave });
const resultView = new ResultView(finish.own);
const toStart = new Countdown(clock, onCountdown);
const toEnd = new Countdown(clock, (seconds) => (room.state?.phase === "lobby" ? onLobbyCount(seconds) : finish.count(seconds)));

/** The name that was typed last and that no race has shown yet, else null; only one that is accepted is remembered. @type {string | null} */
let wish = null;
/** Why the last name was refused, until that is said. */
let refusedName = "";
/** One's own figures, as the page scored them. @type {Record<string, any> | null} */
let mine = null;
/** The test at hand, over or not. @type {import("./log.js").TestLog | null} */
let log = null;
/** @type {Map<number, {step_ms: number, at: number[]}>} */
const ghosts = new Map();
let drawing = 0;
let rejoinedAt = -Infinity;
let offlineTimer = 0;
let shown = "";

// --- ways in and out ---

function find() {
  notice.tell("Looking for a race …");
  room.find(choices.language);
}

function make() {
  notice.tell("Opening a race …");
  room.create(createOptions());
}

function leave() {
  giveUp();
  room.leave();
  enter("/race");
}

/** Leaves the race that was at hand; what is being typed ends without a result. */
function giveUp() {
  if (client.log?.finished === null) client.abort();
  log = mine = null;
  typing.stop();
  stopDrawing();
  toStart.stop();
  toEnd.stop();
}

/** @param {string} name */
function rename(name) {
  wish = name;
  if (room.id) room.join(room.id);
}

/** What one would be called. */
function ownName() {
  return wish ?? choices.name;
}

/** A race shows one's own name: it was accepted, in Unicode's normal form and perhaps with a number behind it. */
function keepName() {
  if (wish === null || !room.own?.name.startsWith(wish.normalize("NFC").replace(/\s+/gu, " "))) return;
  choose({ name: wish });
  wish = null;
  entrance.fill();
}

/**
 * The name will not do: at the entrance another one is asked for, elsewhere the one before it serves, or a guest's.
 *
 * @param {string} why
 */
function onRefusedName(why) {
  if (wish === null) choose({ name: "" }); // kept by this browser from somewhere
  if (shown === "entrance") {
    wish ??= entrance.name.value.trim();
    notice.tell(why);
    return;
  }
  wish = null;
  entrance.fill();
  refusedName = why;
  if (room.state) {
    sayRefusedName();
    lobby.show(room.state);
  }
  if (room.id) room.join(room.id);
  else route();
}

function sayRefusedName() {
  if (refusedName) notice.note(refusedName);
  refusedName = "";
}

/** Goes to an address of this page. @param {string} address */
function enter(address) {
  history.pushState(null, "", address);
  route();
}

function route() {
  const [, , id = ""] = location.pathname.split("/");
  const ghost = new URLSearchParams(location.search).get("ghost");
  notice.tell("");
  if (id) {
    if (id === room.id && room.state) return onState(room.state, room.state);
    if (log?.started.race === id) {
      room.id = id; // what is typed leads back to it
      return;
    }
    showMessage("Coming in …");
    room.join(id);
  } else if (ghost && !SESSION.test(ghost)) {
    showMessage("There is nothing to race against here: this is no link to a result.", true);
  } else if (ghost) {
    showMessage("Opening a race against that result …");
    // Its text is the ghost's, whatever stands here.
    room.create({ ...createOptions(), public: false, ghosts: [ghost] });
  } else {
    showSection("entrance");
    entrance.heading.focus({ preventScroll: true });
    if (client.online) loadEntrance();
  }
}

/** What only the server knows. */
function loadEntrance() {
  entrance.load();
  if (bests.read().complete) entrance.offer();
  else bests.learnAll("").then(() => entrance.offer());
}

// --- what the server says of the race ---

/** @param {RaceState} state @param {RaceState | null} before */
function onState(state, before) {
  if (before === null) begin(state);
  const own = room.own;
  keepName();
  tellChanges(state, before);
  if (state.phase === "lobby") {
    lobby.show(state);
    showSection("lobby");
  } else if (mine || state.phase === "settled" || (own && isOver(own))) {
    showFinish(state);
  } else {
    if (!log) lanes.total = state.length ?? 0; // who looks on has no text
    lanes.show(state.racers);
    showRace(own ? null : state);
  }
  if (state.phase === "countdown" && state.start_ms) toStart.to(state.start_ms);
  if (["lobby", "closing"].includes(state.phase) && state.until_ms) toEnd.to(state.until_ms);
  else toEnd.stop();
  if (state.phase === "lobby" && !state.until_ms) lobby.count(null);
  if (["running", "closing"].includes(state.phase)) startDrawing();
  if (state.phase === "settled") stopDrawing();
}

/** Another race than before. @param {RaceState} state */
function begin(state) {
  if (log?.started.race !== state.race) {
    if (client.log?.finished === null) client.abort();
    typing.wait(); // the text of the race before is not this one's
    log = mine = null;
  }
  notice.tell("");
  sayRefusedName();
  ghosts.clear();
  courses.begin(state.race);
  lanes.clear(state.lane ?? -1);
  if (!log) lanes.total = 0;
  finish.clear();
  resultView.session = "";
  lobby.count(null);
  if (location.pathname !== `/race/${state.race}`) {
    const replaces = location.pathname !== "/race" || location.search !== "";
    history[replaces ? "replaceState" : "pushState"](null, "", `/race/${state.race}`);
  }
}

/** @param {RaceState} state @param {RaceState | null} before */
function tellChanges(state, before) {
  if (before === null) {
    if (state.phase === "lobby") announce(`Lobby. ${raceName(state)}. ${counted(state.racers.length, "racer")}.`);
    return;
  }
  const names = new Map(before.racers.map((racer) => [racer.lane, racer]));
  const said = [];
  for (const { lane, name } of state.racers) {
    if (!names.delete(lane)) said.push(`${name} joined.`);
  }
  for (const { name } of names.values()) said.push(`${name} left.`);
  if (before.host !== state.host && state.host === state.lane) said.push("You are the host now.");
  if (state.phase === "lobby" && before.phase === "lobby" && said.length) announce(said.join(" "));
  const place = room.own?.place;
  if (place && isFinal(state) && !isFinal(before)) {
    announce(`You came ${ordinal(place)} of ${state.racers.length}.`);
  } else if (place && place !== before.racers.find(({ lane }) => lane === state.lane)?.place) {
    announce(`${ordinal(place)} place, for now.`);
  }
  if (state.next && !before.next && state.phase === "settled") notice.note("Another race is open: Race again brings you there.");
}

/** @param {[number, number, number, number][]} p */
function onProgress(p) {
  const ms = raceMs();
  for (const [lane, clusters, wpm] of p) {
    courses.note(lane, ms, wpm);
    if (lane !== room.lane || !typing.log) lanes.move(lane, clusters, wpm);
  }
}

/** @param {{lane: number, step_ms: number, at: number[]}} ghost */
function onGhost({ lane, step_ms, at }) {
  ghosts.set(lane, { step_ms, at });
}

/** @param {{code: string, message: string, retry: number | null}} error @param {boolean} lost */
function onRefused({ code, message: words, retry }, lost) {
  const message = asSentence(words);
  if (retry !== null && retry !== undefined) {
    notice.tell(code === "away" ? "Races stand still for the moment. This page tries again by itself." : message);
    return;
  }
  if (code === "name" && ownName()) {
    onRefusedName(message);
    return;
  }
  if (code === "not_racing" && room.state?.phase === "lobby" && room.own && performance.now() - rejoinedAt > REJOIN_MS) {
    // The lane was given up meanwhile, as if one were gone.
    rejoinedAt = performance.now();
    room.join(room.id);
    return;
  }
  if (!lost) {
    notice.tell(message);
    if (shown === "message") showMessage(message, true);
    return;
  }
  const id = room.id;
  if ((code === "race_running" || code === "race_over") && !room.watching) {
    room.watch(id);
    return;
  }
  giveUp();
  room.forget();
  if (code === "running") {
    const again = h("a", { href: `/race/${id}` }, "come in here");
    showMessage("You race in another tab, window or device. Go on there, or leave the race there and then ", false, again, ".");
  } else if (code === "no_race") {
    showPast(id, message);
  } else {
    showMessage(message, true);
  }
}

/** Nobody races there any more: perhaps there is a record of it. @param {string} id @param {string} otherwise what is said where there is none */
async function showPast(id, otherwise) {
  let state = null;
  try {
    state = await raceOf(id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 404) otherwise = `${otherwise} If it was raced, its table cannot be looked up just now; try again in a moment.`;
  }
  if (room.id || location.pathname !== `/race/${id}`) return; // gone elsewhere meanwhile
  if (state === null || !isFinal(state)) {
    showMessage(otherwise, true);
    return;
  }
  finish.showPast(state);
  showSection("outcome");
  finish.heading.focus({ preventScroll: true });
}

// --- the race itself ---

/** Time of the race (ms), below 0 before the start. */
function raceMs() {
  return clock.now() - (room.state?.start_ms ?? Infinity);
}

/** @param {import("./log.js").TestLog} started */
function onStarted(started) {
  log = started;
  mine = null;
  typing.show(started);
  lanes.total = started.started.seconds ? 0 : (typing.scorer?.words.reduce((sum, word) => sum + word.length, 0) ?? 0);
  showRace(null);
  toStart.to(started.started.start_ms);
  if (started.n > 0) typing.go(); // also where no clock says it yet
  typing.focus();
  if (document.activeElement !== typing.field) typing.setAway(true);
}

/** @param {number} seconds */
function onCountdown(seconds) {
  const line = byId("countdown");
  log?.startAt(clock.at(log.started.start_ms));
  if (seconds > 0) {
    say(line, String(seconds));
    document.title = `${seconds} – Race`;
    if (SAID_ALOUD.has(seconds)) announce(seconds === 5 || seconds === 10 ? `The race begins in ${seconds} seconds.` : String(seconds));
    return;
  }
  say(line, "Go");
  document.title = "Race – Typegate";
  announce("Go");
  setTimeout(() => line.textContent === "Go" && say(line, ""), GO_MS);
  log?.save();
  typing.go();
  startDrawing();
}

function startDrawing() {
  if (!drawing) drawing = window.setInterval(draw, DRAW_MS);
}

function stopDrawing() {
  clearInterval(drawing);
  drawing = 0;
}

/** Ten times a second: one's own mark, the ghosts', and whatever came of the others. */
function draw() {
  const { state } = room;
  const ms = raceMs();
  if (!state || !clock.isSet || ms < 0) return;
  if (typing.log && typing.scorer) {
    const { wpm } = typing.scorer.figures();
    lanes.move(room.lane, typing.done, wpm);
  }
  for (const [lane, { step_ms, at }] of ghosts) {
    const step = Math.min(at.length - 1, Math.floor(ms / step_ms) - 1);
    const clusters = step < 0 ? 0 : at[step];
    const wpm = step < 0 ? 0 : clusters / 5 / (((step + 1) * step_ms) / 60_000);
    lanes.move(lane, clusters, wpm);
    if (step < at.length - 1) courses.note(lane, ms, wpm);
  }
  const elapsed = state.seconds ? Math.min(1, ms / (state.seconds * 1000)) : 1;
  if (shown === "race") lanes.draw(elapsed);
  else for (const [lane, share] of lanes.shares(elapsed)) finish.move(lane, share, lanes.at(lane).wpm);
}

/** One's own end: the figures are the page's, until the server's come. @param {boolean} gaveUp */
function onOver(gaveUp) {
  const { scorer } = typing;
  if (!client.log || !scorer) return;
  client.finish();
  mine = scorer.summary({ gaveUp });
  lanes.move(room.lane, typing.done, mine.wpm);
  courses.note(room.lane, mine.duration_ms, mine.wpm);
  if (room.state) showFinish(room.state);
  announce(`Finished: ${fixed(mine.wpm)} words per minute.`);
}

/** @param {RaceState} state */
function showFinish(state) {
  lanes.show(state.racers);
  finish.show(state, /** @type {any} */ (mine));
  const fresh = shown !== "outcome";
  showSection("outcome");
  if (mine && log && typing.scorer && resultView.session !== log.session) {
    const { session, started, events } = log;
    resultView.show({ session, result: mine, scorer: typing.scorer, started, events, state: client.online ? "sent" : "unsent", fresh: false });
  }
  if (fresh) {
    scrollTo(0, 0);
    finish.heading.focus({ preventScroll: true });
  }
}

/** @param {string} session @param {Record<string, any>} result */
function onResult(session, result) {
  if (client.log?.session === session && client.log.finished === null) typing.end(false); // its clock ran out
  if (session !== resultView.session) return;
  resultView.setResult({ ...result, verdict: undefined });
  if (resultView.state.dataset.state !== "stored") resultView.setState("accepted");
}

/** @param {string} session @param {string} verdict */
function onStored(session, verdict) {
  if (!client.log || client.isSettled(client.log)) room.catchUp();
  if (session !== resultView.session) return;
  resultView.showState("stored");
  resultView.setVerdict({ verdict });
}

/** @param {{code: string, message: string}} error @param {import("./log.js").TestLog | null} lost */
function onFailed({ message }, lost) {
  if (lost?.finished != null) {
    if (lost.session === resultView.session) resultView.fail(message);
    return;
  }
  typing.wait();
  notice.tell(`You are out of this race: ${message}`);
}

// --- the connection ---

/** @param {"online" | "offline" | "refused"} state @param {{sentence?: string}} detail */
function onConnection(state, { sentence = "" }) {
  const wait = state === "offline" && typing.open ? QUIET_MS : 0;
  if (!wait) {
    clearTimeout(offlineTimer);
    offlineTimer = 0;
  }
  if (state === "online") {
    if (notice.lasting) notice.tell("");
    clock.connected();
    if (resultView.state.dataset.state === "unsent") resultView.setState("sent");
    if (shown === "entrance") loadEntrance();
  } else if (state === "refused") {
    notice.tell(sentence, { label: "Reload", action: () => location.reload() });
  } else {
    if (resultView.state.dataset.state === "sent") resultView.setState("unsent");
    offlineTimer ||= window.setTimeout(sayOffline, wait); // from the loss on, however often it is tried meanwhile
  }
}

function sayOffline() {
  offlineTimer = 0;
  const offline = navigator.onLine ? "Connection lost." : "You are offline.";
  const { state } = room;
  const button = { label: "Try now", action: () => client.connection.comeBack() };
  if (typing.log && typing.open) notice.tell(`${offline} Type on: every key is kept here and sent when it is back.`);
  else if (state?.phase === "lobby") notice.tell(`${offline} Your place in the lobby is kept for a little while; this page tries again by itself.`, button);
  else notice.tell(`${offline} Races need one; this page tries again by itself.`, button);
}

watchSleep(() => {
  if (!typing.log || !typing.open) {
    client.connection.renew();
    return;
  }
  giveUp();
  room.leave();
  client.connection.renew();
  showMessage("Your computer slept during the race, so you did not finish it.", true);
});

// --- views ---

/** The lanes, and the text where one races. @param {RaceState | null} watched where one looks on */
function showRace(watched) {
  const fresh = shown !== "race";
  const heading = byId("race-title");
  byId("race").classList.toggle("watching", watched !== null);
  heading.hidden = watched === null;
  say(heading, watched ? `Race: ${raceName(watched)}` : "");
  say(byId("leave"), watched ? "Stop looking on" : "Leave the race");
  showSection("race");
  if (!watched || !fresh) return;
  heading.focus({ preventScroll: true });
  announce(`You are looking on. ${counted(watched.racers.length, "racer")}.`);
}

/** @param {string} name */
function showSection(name) {
  if (name === shown) return;
  const before = shown;
  shown = name;
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  if (name !== "race") {
    document.documentElement.classList.remove("typing-now");
    document.title = "Race – Typegate";
  }
  if (name === "lobby" && before !== "lobby") lobby.readyButton.focus({ preventScroll: true });
}

/**
 * A sentence in the place of everything.
 *
 * @param {string} sentence @param {boolean} [over] whether nothing more is to come @param {(string | Node)[]} more
 */
function showMessage(sentence, over = false, ...more) {
  const ways = over ? [" ", h("a", { href: "/race" }, "Find or make another race"), " or ", h("a", { href: "/" }, "type a test"), "."] : [];
  byId("message").replaceChildren(sentence, ...more, ...ways);
  showSection("message");
}

/** @param {number} seconds */
function onLobbyCount(seconds) {
  lobby.count(seconds);
  if (SAID_ALOUD.has(seconds)) announce(`The race begins in ${counted(seconds, "second")}.`);
}

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    if (shown !== "race" || !typing.log || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && document.activeElement === typing.field) byId("leave").focus();
    else typing.bringBack(event);
  });
  // Who has not noticed yet that the race is over types on.
  document.addEventListener("keydown", (event) => {
    if (shown === "outcome" && event.key === " " && document.activeElement === finish.heading) event.preventDefault();
  });
  byId("leave").addEventListener("click", leave);
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    if (shown === "race" && room.own) typing.focus();
    else byId("main").focus();
  });
  addEventListener("popstate", () => {
    const [, , id = ""] = location.pathname.split("/");
    if (id && id === room.id) return;
    giveUp();
    room.leave();
    route();
  });
}

async function start() {
  showSettings();
  wireSettings(() => shown === "race" && typing.focus());
  wireKeys();
  keepPage();
  const [, , id = ""] = location.pathname.split("/");
  const kept = await client.takeUp(({ started }) => started.race === id);
  if (kept) onStarted(kept);
  if (kept && kept.finished !== null) typing.end(false);
  client.open();
  route();
}

start();
