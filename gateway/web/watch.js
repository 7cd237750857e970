/**
 * The page of who looks on: whom it follows, and what it says while there is nothing to be seen.
 *
 * @module
 */

import { Connection } from "./connection.js";
import { byId, h, say } from "./dom.js";
import { fixed, percent } from "./figures.js";
import { show as showSettings } from "./settings.js";
import { wireSettings } from "./settings-dialog.js";
import { keepToken, refuse, token } from "./token.js";
import { WatchView } from "./watch-view.js";

/** A loss of the connection shorter than this is not worth a word. */
const QUIET_MS = 1200;
const LEAST_RETRY_MS = 1000;
/** After a loss of this page's connection the typist's may be lost as well: so long it is waited for, so often asked. */
const PATIENCE_MS = 150_000;
const AGAIN_MS = 2000;

const socketUrl = new URL("/ws", location.href);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

/** What the address asks for. */
const asked = location.pathname.split("/")[2] ?? "";
const view = new WatchView();

/** The test that is shown, by which it is found again after a loss of the connection. */
let session = "";
let name = "";
/** Whether it is one's own test: a name may be any, "You" too. */
let own = false;
/** Whether there is nothing more to come. */
let over = false;
let lostTimer = 0;
let retryTimer = 0;
/** Until when, by performance.now(), what was seen before the loss may come back. */
let patientUntil = -Infinity;
let tries = 0;

const connection = new Connection({
  url: socketUrl.href,
  token,
  refuse,
  aside: true, // who looks on at their own test must not be taken for somebody who signs in twice
  listener: {
    opened: () => watch(session || asked),
    ready: (ready) => {
      clearTimeout(lostTimer);
      lostTimer = 0;
      if (ready.token) keepToken(ready.token, ready.user);
    },
    message: onMessage,
    lost: () => {
      view.stop();
      if (session) patientUntil = performance.now() + PATIENCE_MS;
      clearTimeout(retryTimer);
      if (!over) lostTimer ||= window.setTimeout(() => tell("Connection lost. This page comes back by itself."), QUIET_MS);
    },
    refused: (_, sentence) => tell(sentence),
  },
});

/** @param {string} id */
function watch(id) {
  connection.send({ t: "watch", session: id });
}

/** @param {Record<string, any>} message */
function onMessage(message) {
  switch (message.t) {
    case "watched":
      return onWatched(message);
    case "watch.keys":
      return view.keys(/** @type {any} */ (message));
    case "watch.state":
      return onState(message.state);
    case "watch.end":
      return onEnd(message);
    case "error":
      return onError(/** @type {any} */ (message));
  }
}

/** @param {Record<string, any>} watched */
function onWatched(watched) {
  session = watched.session;
  own = watched.own;
  name = own ? "You" : (watched.name ?? "Somebody");
  say(byId("who"), name);
  document.title = `${name} – Watch – Typegate`;
  view.show(watched);
  onState("typing");
}

/** @param {string} state */
function onState(state) {
  byId("watch").dataset.state = state;
  const they = name || "The typist";
  if (state !== "typing") view.stop();
  if (state === "typing") {
    tell(own ? "Your test, as it is typed elsewhere." : "Types now; every key shows here.");
  } else if (state === "away") {
    tell(`${own ? "Your" : `${they}’s`} connection is lost. It goes on here as soon as it is back.`);
  } else if (state === "waiting") {
    tell(byId("end").hidden ? "No test just now. The next one shows here by itself." : `${lastWord} The next test shows here by itself.`);
    if (!session) view.hide();
  } else if (state === "gone") {
    leave(`${byId("end").hidden ? "" : `${lastWord} `}${own ? "You have" : `${they} has`} left; nothing more comes.`);
  }
}

/** What was said of the end. */
let lastWord = "";

/** @param {Record<string, any>} end */
function onEnd(end) {
  if (end.session !== session) return;
  if (end.how === "finished") {
    const again = !byId("end").hidden;
    view.end(end);
    if (again) return; // the verdict has come, and was said with the figures
    lastWord = `Finished: ${fixed(end.wpm)} wpm, ${percent(end.acc)} accuracy.`;
  } else {
    view.stop();
    lastWord = "Given up.";
  }
  tell(lastWord);
}

/** @param {{code: string, message: string, retry: number | null}} error */
function onError({ code, message, retry }) {
  clearTimeout(retryTimer);
  if (code === "unwatchable" && performance.now() < patientUntil) {
    onState("away");
    // Which of the two is known depends on where the typist comes back.
    retryTimer = window.setTimeout(() => watch(++tries % 2 ? asked : session), AGAIN_MS);
  } else if (retry !== null) {
    const why = code === "watch_full" ? "So many look on that there is no room for one more." : "The servers cannot reach each other just now.";
    tell(`${why} This page tries again by itself.`);
    retryTimer = window.setTimeout(() => watch(session || asked), Math.max(LEAST_RETRY_MS, retry));
  } else {
    view.hide();
    const ended = session ? "It has ended meanwhile." : "The test is over, or it is not shown to others. Ask for a new link.";
    leave(code === "unwatchable" ? `There is nothing to be seen here. ${ended}` : message);
  }
}

/** Nothing more comes. @param {string} sentence */
function leave(sentence) {
  over = true;
  byId("watch").dataset.state = "gone";
  view.stop();
  tell(sentence);
  byId("onward").hidden = false;
  connection.close();
}

/** @param {string} sentence */
function tell(sentence) {
  say(byId("state"), sentence);
}

showSettings();
wireSettings(() => {});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(asked)) connection.open();
else leave("There is nothing to be seen here: this is no link to a test.");
