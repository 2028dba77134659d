// Small charts over time, in SVG: lines, or areas on top of each other. Pointing at one shows that moment's values in its legend; a screen
// reader is told the latest.
import { h, s } from "./dom.js";
import { formatClock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 120;

/** 1, 2 or 5 times a power of ten of the unit, so that the scale has round numbers. */
function roundUp(value, unit) {
  const power = unit * 10 ** Math.floor(Math.log10(value / unit));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= value);
}

function path(points, x, y) {
  let text = "";
  let isDrawing = false;
  points.forEach((value, index) => {
    if (value === null || value === undefined) {
      isDrawing = false;
      return;
    }
    text += `${isDrawing ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    isDrawing = true;
  });
  return text;
}

function area(upper, lower, x, y) {
  const there = upper.map((value, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const back = lower.map((value, index) => `L${x(index).toFixed(1)} ${y(value).toFixed(1)}`).reverse().join("");
  return `${there}${back}Z`;
}

/** Sums of the series up to each, for areas. */
function stack(series) {
  let below = (series[0]?.values ?? []).map(() => 0);
  return series.map((one) => {
    const upper = one.values.map((value, index) => (value ?? 0) + below[index]);
    const layer = { ...one, lower: below, upper };
    below = upper;
    return layer;
  });
}

/**
 * A chart with a title. update({at: [Date], series: [{label, kind, values: [number|null]}]}) draws it anew; `kind` is a class that gives the colour,
 * `format` makes text of a value, `unit` is what that counts in, `isStacked` puts areas on top of each other.
 */
export function timeChart({ title, format, unit = 1, isStacked = false }) {
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: no data yet` });
  const legend = h("ul", { class: "legend" });
  const top = h("span", { class: "scale" });
  const from = h("span", {});
  const to = h("span", {});
  const element = h("figure", { class: "panel chart" }, h("figcaption", {}, h("h2", {}, title), top), drawing,
    h("div", { class: "chart-times", "aria-hidden": "true" }, from, to), legend);
  let shown = { at: [], series: [] };

  function readOut(index) {
    legend.replaceChildren(...shown.series.map(({ label, kind, values }) =>
      h("li", { class: kind }, h("span", { class: "swatch", "aria-hidden": "true" }), `${label} `, h("b", {}, format(values[index])))));
  }

  drawing.addEventListener("pointermove", (event) => {
    if (shown.at.length > 1) {
      const box = drawing.getBoundingClientRect();
      const index = Math.round(((event.clientX - box.left) / box.width) * (shown.at.length - 1));
      readOut(Math.max(0, Math.min(index, shown.at.length - 1)));
    }
  });
  drawing.addEventListener("pointerleave", () => readOut(shown.at.length - 1));

  element.update = ({ at, series }) => {
    shown = { at, series };
    const layers = isStacked ? stack(series) : series;
    const largest = Math.max(0, ...layers.flatMap((layer) => (isStacked ? layer.upper : layer.values.filter((value) => value !== null && value !== undefined))));
    const bound = largest > 0 ? roundUp(largest, unit) : unit;
    const x = (index) => (at.length < 2 ? WIDTH : (index / (at.length - 1)) * WIDTH);
    const y = (value) => HEIGHT - 1 - (value / bound) * (HEIGHT - 4);
    drawing.replaceChildren(
      s("path", { class: "grid", d: `M0 ${y(bound / 2)}H${WIDTH}M0 ${y(bound)}H${WIDTH}M0 ${y(0)}H${WIDTH}` }),
      ...layers.map((layer) => isStacked
        ? s("path", { class: `area ${layer.kind}`, d: area(layer.upper, layer.lower, x, y) })
        : s("path", { class: `line ${layer.kind}`, d: path(layer.values, x, y) })));
    const last = at.length - 1;
    drawing.setAttribute("aria-label", last < 0 ? `${title}: no data yet`
      : `${title}, now: ${series.map(({ label, values }) => `${label} ${format(values[last])}`).join(", ")}; at most ${format(largest)}`);
    top.textContent = last < 0 ? "" : format(bound);
    from.textContent = last < 1 ? "" : formatClock(at[0]);
    to.textContent = last < 1 ? "" : "now";
    readOut(last);
  };
  element.update({ at: [], series: [] });
  return element;
}
