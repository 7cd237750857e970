/**
 * The page of one result, for everybody whom its owner lets see it.
 *
 * @module
 */

import { ApiError, replayOf } from "./api.js";
import { asSentence, byId, h, say } from "./dom.js";
import { fixed } from "./figures.js";
import { ResultView } from "./result-view.js";
import { show as showSettings } from "./settings.js";
import { wireSettings } from "./settings-dialog.js";
import { token } from "./token.js";
import { scorerOf } from "./typing-view.js";

/** What can be raced against: others may type it too. */
const RACED = ["time", "words", "quote"];
const SESSION = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const id = (location.pathname.split("/")[2] ?? "").toLowerCase();
const root = byId("result");

async function open() {
  if (!SESSION.test(id)) {
    fail("this is no link to a result.");
    return;
  }
  try {
    show(await replay());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if ([401, 404, 422].includes(error.status)) fail("its owner shows it to nobody, or not any more.");
    else if (error.status === 403) root.replaceChildren(message(asSentence(error.message))); // a ban: to try again is of no use
    else fail(error.message, h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
  }
}

/** As who the visitor is; a token that is not accepted any more is in nobody's way here. */
async function replay() {
  try {
    return await replayOf(id);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401 || !token()) throw error;
    return replayOf(id, null);
  }
}

/** @param {Record<string, any>} replay */
function show(replay) {
  const { result } = replay;
  const started = { ...result, ...replay };
  const scorer = scorerOf(started);
  scorer.feed(replay.events);
  const view = new ResultView(root);
  view.show({ session: id, result, scorer, started, events: replay.events, state: "stored", fresh: false });
  const own = result.name === undefined;
  const name = own ? "Your result" : result.name;
  const when = new Date(result.created_at);
  view.heading.classList.remove("unseen");
  view.heading.replaceChildren(h("bdi", {}, name));
  view.state.dataset.state = "shared";
  view.state.replaceChildren("Typed on ", h("time", { datetime: when.toISOString() }, when.toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" })), replay.agrees ? "; scored again from its keys to the same figures." : ".");
  root.querySelector(".after")?.append(
    h(
      "p",
      { class: "actions" },
      RACED.includes(started.mode) ? h("a", { class: "button primary", href: `/race?ghost=${id}` }, "Race against this") : null,
      h("a", { class: "button", href: "/#/" }, "Type a test"),
    ),
  );
  document.title = `${name}: ${fixed(result.wpm)} wpm – Typegate`;
}

/** @param {string} why @param {HTMLElement | null} [button] */
function fail(why, button = null) {
  root.replaceChildren(message(`There is no result to be seen here: ${why} `, button, " ", h("a", { href: "/#/" }, "Type a test yourself"), "."));
}

/** @param {...(string | HTMLElement | null)} words */
function message(...words) {
  return h("p", { class: "message", role: "status" }, ...words);
}

showSettings();
wireSettings(() => {});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
say(byId("loading"), "Loading …");
open();
