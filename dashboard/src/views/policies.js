// Policies: what kinds of machine there are.
import { callList, isAborted } from "../api.js";
import { h } from "../dom.js";
import { NOTHING, formatSeconds } from "../format.js";
import { onChanges } from "../live.js";
import { hrefTo } from "../router.js";
import { dataTable } from "../table.js";
import { age, viewHead } from "../widgets.js";

const unset = h.bind(null, "span", { class: "hint" }, "default");

function idle({ idle_timeout_minutes: minutes }) {
  return minutes === undefined ? unset() : minutes === 0 ? "never" : formatSeconds(minutes * 60);
}

const columns = [
  { label: "Policy", class: "main-cell", cell: ({ id, error }) => [h("a", { href: hrefTo(["policies", id]) }, id), error && h("span", { class: "row-error" }, error)] },
  { label: "Image", cell: ({ data }) => data.image ?? unset() },
  { label: "CPU", cell: ({ data }) => data.cpu_limit ?? unset() },
  { label: "Memory", cell: ({ data }) => data.memory_limit ?? unset() },
  { label: "Stops when idle", cell: ({ data }) => idle(data) },
  { label: "Warm", cell: ({ data }) => data.warm || NOTHING },
  { label: "Changed", class: "wide-only", cell: ({ updated_at: at }) => age(at) },
  { label: "Tenants", hidden: true, cell: ({ id }) => h("a", { href: hrefTo(["tenants"], { policy_id: id }), "aria-label": `Tenants of ${id}` }, "Tenants") },
];

export function policiesView(_, signal) {
  const table = dataTable({ caption: "Policies", columns, key: (policy) => policy.id });

  async function read() {
    try {
      table.show((await callList("/policies", { signal })).items);
    } catch (error) {
      if (!isAborted(error)) {
        table.failed(error, read);
      }
    }
  }
  table.loading();
  read();
  onChanges(read, signal);
  return [viewHead("Policies", h("a", { class: "button primary", href: hrefTo(["policies"], { new: 1 }) }, "New policy")),
    h("p", { class: "lead" }, "A policy is one kind of machine. A user asks for it with ", h("code", {}, "/p/{policy}/…"), ", and has an instance and a folder of their own on it."), table];
}
