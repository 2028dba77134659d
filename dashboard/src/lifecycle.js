// A policy's lifecycle: when the folders of its tenants are emptied by themselves, and the next times that happens.
import { call } from "./api.js";
import { h } from "./dom.js";
import { formatAgo, formatMoment } from "./format.js";
import { confirmDialog } from "./dialog.js";
import { announce, button, failedState, field, loadingState } from "./widgets.js";
import { memberOf } from "./policy-fields.js";

function nextTimes(lifecycle) {
  if (lifecycle.error) {
    return h("p", { class: "field-error", role: "alert" }, lifecycle.error);
  }
  if (!lifecycle.reset) {
    return h("p", { class: "hint" }, "No resets are scheduled.");
  }
  return [h("h3", {}, "The next resets"),
    h("ol", { class: "next-resets" }, lifecycle.next_resets.map((time) => h("li", {}, h("time", { datetime: time }, formatMoment(time)), h("span", { class: "hint" }, ` ${formatAgo(time)}`))))];
}

/** The panel for the policy called `id`. */
export function lifecyclePanel(id, signal) {
  const path = `/policies/${encodeURIComponent(id)}/lifecycle`;
  const schedule = h("input", { id: "reset-schedule", type: "text", autocomplete: "off", spellcheck: "false" });
  const zone = h("input", { id: "reset-timezone", type: "text", autocomplete: "off", spellcheck: "false", list: "timezones", placeholder: "UTC" });
  const scheduleField = field("Schedule", schedule, { hint: "Five cron fields (30 4 * * mon-fri), @daily, @weekly, @monthly, or one time (2026-12-24T18:00)." });
  const zoneField = field("Time zone", zone, { hint: "Europe/Berlin. Empty: UTC." });
  const times = h("div", { class: "reset-times", "aria-live": "polite" }, loadingState(3));
  const panel = h("section", { class: "panel", "aria-labelledby": "lifecycle-title" },
    h("h2", { id: "lifecycle-title" }, "Scheduled resets"),
    h("p", { class: "hint" }, "At these times each instance of this policy is stopped, even one that is in use, and its folder is emptied."),
    h("form", { onsubmit: save, novalidate: true }, h("div", { class: "fields" }, scheduleField, zoneField),
      h("datalist", { id: "timezones" }, (Intl.supportedValuesOf?.("timeZone") ?? []).map((name) => h("option", { value: name }))),
      h("div", { class: "form-buttons" }, h("button", { type: "submit", class: "button primary" }, "Save the schedule"), button("No more resets", clear))),
    times);

  function show(lifecycle) {
    schedule.value = lifecycle.reset?.schedule ?? "";
    zone.value = lifecycle.reset?.timezone ?? "";
    times.replaceChildren(...[nextTimes(lifecycle)].flat());
  }

  async function put(lifecycle) {
    show(await call(path, { method: "PUT", body: lifecycle }));
    announce("The schedule is saved.");
  }

  async function save(event) {
    event.preventDefault();
    scheduleField.setError("");
    zoneField.setError("");
    if (schedule.value.trim() === "") {
      scheduleField.setError("When? To have none, use “No more resets”.");
      schedule.focus();
      return;
    }
    try {
      await put({ reset: { schedule: schedule.value.trim(), timezone: zone.value.trim() || "UTC" } });
    } catch (error) {
      const wrong = memberOf(error.message) === "reset.timezone" ? zoneField : scheduleField;
      wrong.setError(error.message);
      (wrong === zoneField ? zone : schedule).focus();
    }
  }

  function clear() {
    confirmDialog({ title: `No more resets of ${id}?`, does: ["The schedule is forgotten. Nobody's files are touched."], confirm: "Forget it", act: () => put({ reset: null }) });
  }

  call(path, { signal }).then(show, (error) => signal.aborted || times.replaceChildren(failedState(error)));
  return panel;
}
