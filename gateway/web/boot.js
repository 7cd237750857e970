// Before the first paint, and therefore no module: what the visitor chose decides colours and which options show.
(function () {
  var root = document.documentElement;
  /** @type {Record<string, unknown>} */
  var chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem("typegate.settings") || "{}") || {};
  } catch (error) {
    // no storage: the defaults below
  }
  root.dataset.theme = String(chosen.theme || "auto");
  root.dataset.size = String(chosen.size || "medium");
  root.dataset.mode = String(chosen.mode || "time");
  root.dataset.caret = String(chosen.caret || "line");
  root.dataset.restart = String(chosen.restart || "tab");
  root.dataset.smooth = String(chosen.smooth !== false);
  root.dataset.live = String(chosen.live !== false);
})();
