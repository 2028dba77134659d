// The audit log: who did what to whom, newest first.
import { ask, callList, isAborted } from "../api.js";
import { debounce, h } from "../dom.js";
import { NOTHING, formatMoment } from "../format.js";
import { onChanges } from "../live.js";
import { hrefTo, noteQuery } from "../router.js";
import { dataTable, pager } from "../table.js";
import { announce, button, download, emptyState, select, viewHead } from "../widgets.js";

const PAGE = 100;
const TYPING_MS = 300;
const EXPORT_PAGE = 1000; // what the API gives at once
const ACTIONS = ["tenant_created", "tenant_started", "tenant_stopped", "tenant_deleted", "tenant_reset", "scheduled_reset", "idle_cleanup", "quota_cleanup",
  "lifetime_cleanup", "pre_stop", "policy_created", "policy_updated", "policy_deleted", "auth_failed", "terminal_opened", "terminal_opened_by_admin", "terminal_closed"];

const columns = [
  { label: "When", class: "main-cell", cell: ({ created_at: at }) => h("time", { datetime: at, title: at, class: "nowrap" }, formatMoment(at)) },
  { label: "Action", cell: ({ action, severity }) => h("span", { class: severity === "warning" ? "badge error" : "action" }, action) },
  { label: "User", cell: ({ user_id: user }) => (user ? h("a", { href: hrefTo(["audit"], { user_id: user }) }, user) : NOTHING) },
  { label: "Detail", cell: ({ detail, resource_type: type, resource_id: id }) => [detail && h("span", {}, detail), h("span", { class: "hint id" }, [type, id].filter(Boolean).join(" "))] },
  { label: "From", cell: ({ ip_address: address, user_agent: agent }) => (address ? h("span", { title: agent ?? "", class: "nowrap" }, address) : NOTHING) },
  { label: "Request", class: "wide-only", cell: ({ request_id: id }) => h("span", { class: "hint id" }, id ?? NOTHING) },
];

/** What `datetime-local` holds is the reader's local time; the API gets UTC. */
function sinceTime(text) {
  return text ? new Date(text).toISOString() : "";
}

export function auditView({ query }, signal) {
  const state = { action: query.action ?? "", user_id: query.user_id ?? "", since: query.since ?? "", offset: Number(query.offset) || 0 };
  const user = h("input", { id: "audit-user", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "User, in full", value: state.user_id });
  const since = h("input", { id: "audit-since", type: "datetime-local", value: state.since, onchange: () => change({ since: since.value }) });
  const pages = pager((offset) => change({ offset }));
  const table = dataTable({ caption: "Audit log", columns, key: (row) => row.id, empty: () => emptyState("No such events", "Nothing of the kind is in the log. Rows are kept for TERMINALS_AUDIT_RETENTION_DAYS.") });
  let reading = null;

  function filters() {
    return { action: state.action, user_id: state.user_id, since: sinceTime(state.since) };
  }

  async function read() {
    reading?.abort();
    const mine = reading = new AbortController();
    try {
      const { items, total } = await callList("/audit-logs", { query: { ...filters(), limit: PAGE, offset: state.offset }, signal: mine.signal });
      table.show(items);
      pages.show({ offset: state.offset, limit: PAGE, total });
    } catch (error) {
      if (!isAborted(error)) {
        table.failed(error, read);
      }
    }
  }

  function change(more) {
    Object.assign(state, { offset: 0 }, more);
    noteQuery(["audit"], { ...state, offset: state.offset || "" });
    read();
  }

  /** All that fits the filters, as the API gives it: the next pages come without the line of names. */
  async function exportCsv() {
    try {
      const parts = [];
      for (let offset = 0, total = 1; offset < total; offset += EXPORT_PAGE) {
        const response = await ask("/api/v1/audit-logs", { query: { ...filters(), format: "csv", limit: EXPORT_PAGE, offset }, signal });
        const text = await response.text();
        total = Number(response.headers.get("X-Total-Count"));
        parts.push(offset === 0 ? text : text.slice(text.indexOf("\n") + 1));
      }
      download(`terminals-audit-${new Date().toISOString().slice(0, 10)}.csv`, new Blob(parts, { type: "text/csv" }));
      announce("The audit log is saved as CSV.");
    } catch (error) {
      if (!isAborted(error)) {
        announce(error.message, "failed");
      }
    }
  }

  const typed = debounce(() => change({ user_id: user.value.trim() }), TYPING_MS);
  user.addEventListener("input", typed);
  signal.addEventListener("abort", () => {
    typed.cancel();
    reading?.abort();
  });
  table.loading();
  read();
  onChanges(read, signal);

  return [viewHead("Audit log", button("Read again", read), button("Export as CSV", exportCsv)),
    h("div", { class: "toolbar", role: "search", "aria-label": "Audit log" },
      h("label", { class: "visually-hidden", for: "audit-action" }, "Action"),
      select("audit-action", [["", "Any action"], ...ACTIONS.map((action) => [action, action])], state.action, (event) => change({ action: event.target.value })),
      h("label", { class: "visually-hidden", for: "audit-user" }, "User"), user,
      h("label", { class: "beside", for: "audit-since" }, "Since"), since),
    table, pages];
}
