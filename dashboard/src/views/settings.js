// The settings in force. They come from the environment and are changed there.
import { call, isAborted } from "../api.js";
import { h } from "../dom.js";
import { dataTable } from "../table.js";
import { emptyState, viewHead } from "../widgets.js";

/** Names as in the environment; of a secret only whether there is one. */
function settingRow([name, value]) {
  const secret = name.startsWith("has_");
  const shown = secret ? (value ? "set" : "not set") : value === null || value === "" ? "not set" : String(value);
  return { name: `TERMINALS_${(secret ? name.slice(4) : name).toUpperCase()}`, value: shown, secret, isSet: shown !== "not set" };
}

const columns = [
  { label: "Setting", class: "main-cell", cell: ({ name }) => h("code", {}, name) },
  { label: "Value", cell: ({ value, secret, isSet }) => [h("span", { class: isSet ? "value" : "hint" }, value), secret && h("span", { class: "hint" }, "secret, never shown")] },
];

export function settingsView(_, signal) {
  const search = h("input", { id: "settings-search", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "Search settings" });
  const table = dataTable({ caption: "Settings in force", columns, key: ({ name }) => name, empty: () => emptyState("No such setting", "Try a part of its name or value.") });
  let rows = [];

  function show() {
    const wanted = search.value.trim().toLowerCase();
    table.show(rows.filter(({ name, value }) => `${name} ${value}`.toLowerCase().includes(wanted)));
  }

  async function read() {
    table.loading();
    try {
      rows = Object.entries(await call("/config", { signal })).map(settingRow).sort((one, other) => one.name.localeCompare(other.name));
      show();
    } catch (error) {
      if (!isAborted(error)) {
        table.failed(error, read);
      }
    }
  }
  search.addEventListener("input", show);
  read();
  return [viewHead("Settings"), h("p", { class: "lead" }, "What is in force, defaults included. To change one, change the environment and restart."),
    h("div", { class: "toolbar", role: "search", "aria-label": "Settings" }, h("label", { class: "visually-hidden", for: "settings-search" }, "Search settings"), search), table];
}
