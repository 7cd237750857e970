// Before the first paint, and therefore no module: what the visitor chose decides colours and which options show.
(function () {
  var root = document.documentElement;
  var chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem("typegate.settings") || "{}") || {};
  } catch (error) {
    // no storage: the defaults below
  }
  root.dataset.theme = chosen.theme || "auto";
  root.dataset.size = chosen.size || "medium";
  root.dataset.mode = chosen.mode || "time";
  root.dataset.caret = chosen.caret || "line";
  root.dataset.restart = chosen.restart || "tab";
  root.dataset.smooth = String(chosen.smooth !== false);
  root.dataset.live = String(chosen.live !== false);
})();
