/**
 * Small plots in SVG: lines over a common x, marks for errors, a reading line that follows pointer and arrow keys, and
 * the same as a table for who prefers or needs one.
 *
 * @module
 */

import { h, svg } from "./dom.js";

const HEIGHT = 230;
const MARGIN = { top: 14, right: 40, bottom: 34, left: 52 };

/**
 * @typedef {object} PlotData
 * @property {string} title what the plot shows, for its label
 * @property {string} xName
 * @property {string[]} xTexts one for each point, as a table and the reading line say it
 * @property {number[]} xs
 * @property {{name: string, values: (number | null)[], className: string}[]} lines share the left axis
 * @property {{name: string, values: (number | null)[]}[]} [others] what only the table says
 * @property {string} yName
 * @property {{name: string, values: number[]}} [errors] counts on the right axis, marked where above 0
 */

export class Plot {
  /** @param {PlotData} data */
  constructor(data) {
    this.data = data;
    this.at = -1;
    this.width = 0;
    this.drawing = h("div", { class: "drawing" });
    this.reading = h("output", { class: "reading", "aria-live": "polite" });
    this.board = h(
      "div",
      {
        class: "board",
        tabindex: 0,
        role: "group",
        "aria-label": `${data.title}. Arrow keys read the points.`,
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
        onpointermove: (/** @type {PointerEvent} */ event) => this.onPointer(event),
        onpointerleave: () => this.read(-1),
        onblur: () => this.read(-1),
      },
      this.drawing,
    );
    this.element = h("figure", { class: "plot" }, this.legend(), this.board, this.reading, this.table());
    new ResizeObserver(() => this.draw()).observe(this.board);
  }

  legend() {
    const { lines, errors } = this.data;
    const names = lines.map(({ name, className }) => h("span", { class: `key ${className}` }, name));
    if (errors) names.push(h("span", { class: "key errors" }, errors.name));
    return h("figcaption", {}, ...names);
  }

  table() {
    const { xName, xTexts, lines, others = [], errors, title } = this.data;
    const columns = [...lines, ...others, ...(errors ? [errors] : [])];
    const head = h("tr", {}, h("th", { scope: "col" }, xName), ...columns.map(({ name }) => h("th", { scope: "col" }, name)));
    const rows = xTexts.map((text, i) => h("tr", {}, h("th", { scope: "row" }, text), ...columns.map(({ values }) => h("td", {}, values[i] ?? "–"))));
    return h(
      "details",
      { class: "as-table" },
      h("summary", {}, "as a table"),
      h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "unseen" }, title), h("thead", {}, head), h("tbody", {}, ...rows))),
    );
  }

  draw() {
    const width = this.board.clientWidth;
    if (width === 0 || width === this.width) return;
    this.width = width;
    const { xs, lines, errors, yName, xName } = this.data;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const least = Math.min(...xs);
    const span = Math.max(...xs) - least || 1;
    const all = lines.flatMap(({ values }) => values.filter((v) => v !== null));
    const yTicks = ticks(Math.max(10, ...all), 4);
    const top = yTicks[yTicks.length - 1];
    const x = (/** @type {number} */ v) => MARGIN.left + (xs.length === 1 ? 0.5 : (v - least) / span) * inner.width;
    const y = (/** @type {number} */ v) => MARGIN.top + inner.height * (1 - v / top);
    this.x = x;

    const parts = yTicks.flatMap((v) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(v), y2: y(v) }),
      svg("text", { class: "tick", x: MARGIN.left - 8, y: y(v) + 4, "text-anchor": "end" }, v),
    ]);
    const step = Math.max(1, Math.ceil(xs.length / Math.max(2, Math.floor(inner.width / 56))));
    for (let i = step - 1; i < xs.length; i += step) {
      parts.push(svg("text", { class: "tick", x: x(xs[i]), y: HEIGHT - 14, "text-anchor": "middle" }, this.data.xTexts[i]));
    }
    if (xName === "second") parts.push(svg("text", { class: "axis", x: width - MARGIN.right + 18, y: HEIGHT - 14 }, "s"));
    parts.push(svg("text", { class: "axis", transform: `translate(11 ${MARGIN.top + inner.height / 2}) rotate(-90)`, "text-anchor": "middle" }, yName));

    for (const { values, className } of lines) {
      const points = values.flatMap((v, i) => (v === null ? [] : [`${x(xs[i]).toFixed(1)},${y(v).toFixed(1)}`]));
      if (points.length === 1 || className.includes("dots")) {
        const dot = (/** @type {string} */ point) => svg("circle", { class: `dot ${className}`, cx: point.split(",")[0], cy: point.split(",")[1], r: 3 });
        parts.push(...points.map(dot));
      } else if (points.length) {
        parts.push(svg("polyline", { class: `curve ${className}`, points: points.join(" ") }));
      }
    }
    if (errors) parts.push(...this.errorMarks(errors.values, x, inner.height, width));
    this.line = svg("line", { class: "at", y1: MARGIN.top, y2: MARGIN.top + inner.height, visibility: "hidden" });
    parts.push(this.line);
    this.drawing.replaceChildren(svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" }, ...parts));
    this.mark();
  }

  /** @param {number[]} counts @param {(v: number) => number} x @param {number} height @param {number} width */
  errorMarks(counts, x, height, width) {
    const most = Math.max(...counts);
    if (most === 0) return [];
    const top = Math.max(4, most);
    const y = (/** @type {number} */ v) => MARGIN.top + height * (1 - v / top);
    const marks = counts.flatMap((count, i) => {
      if (!count) return [];
      const [cx, cy] = [x(this.data.xs[i]), y(count)];
      return [svg("path", { class: "error", d: `M${cx - 3.5} ${cy - 3.5}l7 7m0 -7l-7 7` })];
    });
    const labels = ticks(top, 3)
      .filter((v) => Number.isInteger(v) && v > 0 && v <= top)
      .map((v) => svg("text", { class: "tick error-tick", x: width - MARGIN.right + 10, y: y(v) + 4 }, v));
    return [...marks, ...labels];
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const last = this.data.xs.length - 1;
    const moves = { ArrowLeft: Math.max(0, this.at - 1), ArrowRight: Math.min(last, this.at + 1), Home: 0, End: last };
    const to = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (to === undefined) return;
    event.preventDefault();
    this.read(to);
  }

  /** @param {PointerEvent} event */
  onPointer(event) {
    const { x } = this;
    if (!x) return;
    const at = event.clientX - this.board.getBoundingClientRect().left;
    let nearest = 0;
    this.data.xs.forEach((v, i) => {
      if (Math.abs(x(v) - at) < Math.abs(x(this.data.xs[nearest]) - at)) nearest = i;
    });
    this.read(nearest);
  }

  /** Reads one point out; −1 none. @param {number} index */
  read(index) {
    this.at = index;
    this.mark();
    if (index < 0) {
      this.reading.textContent = "";
      return;
    }
    const { xName, xTexts, lines, errors } = this.data;
    const values = lines.map(({ name, values: list }) => `${name} ${list[index] ?? "–"}`);
    if (errors) values.push(`${errors.name} ${errors.values[index]}`);
    this.reading.textContent = `${xName} ${xTexts[index]}: ${values.join(", ")}`;
  }

  /** Stands the line at the point that is read, where the plot is drawn already; who cannot see it need not wait for that. */
  mark() {
    const { line, x, at } = this;
    if (!line || !x) return;
    line.setAttribute("visibility", at < 0 ? "hidden" : "visible");
    if (at < 0) return;
    line.setAttribute("x1", String(x(this.data.xs[at])));
    line.setAttribute("x2", String(x(this.data.xs[at])));
  }
}

/** Round values from 0 to at least `most`. @param {number} most @param {number} count */
export function ticks(most, count) {
  const rough = most / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((m) => m * unit >= rough) ?? 10);
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => Math.round(i * step * 100) / 100);
}

/** The plot of one result. @param {Record<string, any>} result */
export function speedPlot(result) {
  const { wpm, raw, burst, err } = result.series;
  const whole = wpm.map((/** @type {number} */ _, /** @type {number} */ i) => i + 1);
  // An untimed test may end within a second: its last point stands where the test ended.
  const xs = [...whole];
  const end = (result.duration_ms ?? 0) / 1000;
  if (xs.length && end < xs.length) xs[xs.length - 1] = Math.round(end * 10) / 10;
  return new Plot({
    title: "Speed and errors over time",
    xName: "second",
    xTexts: xs.map(String),
    xs,
    yName: "words per minute",
    lines: [
      { name: "each second", values: burst, className: "raw" },
      { name: "wpm so far", values: wpm, className: "wpm" },
    ],
    others: [{ name: "raw so far", values: raw }],
    errors: { name: "errors", values: err },
  });
}
