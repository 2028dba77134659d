// Tables: sorting is said and done by their headers, a row keeps its element (and the focus in it) while it is the same, and on a narrow screen
// each row is a card. The roles are written out, since `display: block` would take them away.
import { h } from "./dom.js";
import { button, emptyState, failedState, loadingState } from "./widgets.js";
import { formatCount } from "./format.js";

function header(column, sort, onSort) {
  const descends = sort === `-${column.sort}`;
  const ascends = sort === column.sort;
  if (!column.sort || !onSort) {
    return h("th", { role: "columnheader", scope: "col", class: column.class }, column.hidden ? h("span", { class: "visually-hidden" }, column.label) : column.label);
  }
  return h("th", { role: "columnheader", scope: "col", class: column.class, "aria-sort": ascends ? "ascending" : descends ? "descending" : "none" },
    h("button", { type: "button", class: "sort", onclick: () => onSort(ascends ? `-${column.sort}` : column.sort) }, column.label,
      h("span", { class: "sort-mark", "aria-hidden": "true" }, ascends ? "↑" : descends ? "↓" : "")));
}

function rowElement(columns, row) {
  return h("tr", { role: "row" }, columns.map((column) =>
    h("td", { role: "cell", class: column.class, "data-label": column.hidden ? "" : column.label }, h("div", { class: "cell" }, column.cell(row)))));
}

/**
 * A table: `columns` are {label, cell(row), sort, class, hidden}; `key(row)` tells rows apart. Its methods: loading(), failed(error, retry), show(rows),
 * sorted(sort). `empty` makes what stands there instead of no rows.
 */
export function dataTable({ caption, columns, key, empty, onSort }) {
  const head = h("tr", { role: "row" });
  const body = h("tbody", { role: "rowgroup" });
  const table = h("table", { role: "table" }, h("caption", { class: "visually-hidden" }, caption), h("thead", { role: "rowgroup" }, head), body);
  const frame = h("div", { class: "table-frame", role: "region", "aria-label": caption, tabindex: "0" }, table);
  const place = h("div", { class: "table-place" });
  let known = new Map();

  function put(content) {
    if (place.firstChild !== content) {
      place.replaceChildren(content);
    }
  }

  place.loading = () => put(h("div", { class: "panel" }, loadingState(10)));
  place.failed = (error, retry) => put(h("div", { class: "panel" }, failedState(error, retry)));
  place.sorted = (sort) => {
    const had = head.contains(document.activeElement) ? [...head.children].findIndex((cell) => cell.contains(document.activeElement)) : -1;
    head.replaceChildren(...columns.map((column) => header(column, sort, onSort)));
    if (had >= 0) {
      head.children[had].querySelector("button")?.focus();
    }
  };
  place.show = (rows) => {
    const next = new Map();
    for (const row of rows) {
      const text = JSON.stringify(row);
      const old = known.get(key(row));
      next.set(key(row), old?.text === text ? old : { text, element: rowElement(columns, row) });
    }
    known = next;
    const elements = [...next.values()].map(({ element }) => element);
    if (elements.length !== body.children.length || elements.some((element, index) => element !== body.children[index])) {
      body.replaceChildren(...elements);
    }
    put(rows.length === 0 ? h("div", { class: "panel" }, empty?.() ?? emptyState("Nothing here", "There is nothing to show.")) : frame);
  };
  place.sorted("");
  return place;
}

/** "51–100 of 1,234", and the ways to the pages around: show({offset, limit, total}). */
export function pager(onPage) {
  const count = h("span", {});
  let at = { offset: 0, limit: 1 };
  const previous = button("Previous", () => onPage(Math.max(0, at.offset - at.limit)));
  const next = button("Next", () => onPage(at.offset + at.limit));
  const element = h("nav", { class: "pager", "aria-label": "Pages" }, count, previous, next);
  element.show = ({ offset, limit, total }) => {
    at = { offset, limit };
    const last = Math.min(offset + limit, total);
    const focused = document.activeElement;
    count.textContent = total === 0 ? "none" : `${formatCount(offset + 1)}–${formatCount(last)} of ${formatCount(total)}`;
    previous.disabled = offset === 0;
    next.disabled = last >= total;
    if (focused?.disabled && element.contains(focused)) {
      (previous.disabled ? next : previous).focus();
    }
  };
  return element;
}
