// Small parts that every view uses: how a status, a time, and "nothing", "not yet" and "failed" look.
import { h } from "./dom.js";
import { NOTHING, formatAgo, formatMoment } from "./format.js";

const AGES_EVERY_MS = 10000;

/** What screen readers are told when something happened that is elsewhere on the screen; everybody else sees it for a moment. */
export function announce(text, kind = "done") {
  const message = h("p", { class: `toast ${kind}` }, text);
  document.getElementById("announcements").replaceChildren(message);
  setTimeout(() => message.remove(), kind === "failed" ? 12000 : 5000);
}

export function statusBadge(status) {
  return h("span", { class: `badge ${status}` }, status);
}

/** A moment as an age that keeps up with the clock; the whole of it on hovering. */
export function age(iso) {
  if (!iso) {
    return NOTHING;
  }
  return h("time", { datetime: iso, title: formatMoment(iso), class: "age" }, formatAgo(iso));
}

setInterval(() => {
  for (const time of document.querySelectorAll("time.age")) {
    time.textContent = formatAgo(time.dateTime);
  }
}, AGES_EVERY_MS);

export function button(label, onclick, { kind = "", ...attributes } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, onclick, ...attributes }, label);
}

/** A label and its control, with room for a hint and an error below. */
export function field(label, control, { hint } = {}) {
  const id = control.id;
  const error = h("p", { class: "field-error", id: `${id}-error` });
  const described = hint ? `${id}-hint ${id}-error` : `${id}-error`;
  control.setAttribute("aria-describedby", described);
  const element = h("div", { class: "field" }, h("label", { for: id }, label), control, hint && h("p", { class: "hint", id: `${id}-hint` }, hint), error);
  element.setError = (text) => {
    error.textContent = text ?? "";
    control.toggleAttribute("aria-invalid", Boolean(text));
    if (text) {
      control.setAttribute("aria-invalid", "true");
    }
  };
  return element;
}

export function select(id, options, value, onchange) {
  const element = h("select", { id, onchange }, options.map(([key, label]) => h("option", { value: key }, label)));
  element.value = value ?? "";
  return element;
}

export function emptyState(title, text, ...more) {
  return h("div", { class: "state" }, h("p", { class: "state-title" }, title), h("p", {}, text), more);
}

export function failedState(error, retry) {
  return h("div", { class: "state failed", role: "alert" },
    h("p", { class: "state-title" }, "That did not work"), h("p", {}, error.message),
    retry && h("p", {}, button("Try again", retry)));
}

/** Lines that stand in for what is being read, of the same height. */
export function loadingState(lines = 6) {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "visually-hidden" }, "Loading"),
    Array.from({ length: lines }, () => h("span", { class: "loading-line" })));
}

/** Term and description, one pair a row. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([term, description]) => h("div", {}, h("dt", {}, term), h("dd", {}, description ?? NOTHING))));
}

/** A view's title with what belongs beside it. Views are told of by their titles: main.js moves the focus there. */
export function viewHead(title, ...beside) {
  return h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "view-actions" }, beside));
}

/** Saves text as a file. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
