// Tenants: all of them, found by name, status and policy, a page at a time. The server searches, sorts and counts.
import { callList, isAborted } from "../api.js";
import { debounce, h } from "../dom.js";
import { formatCount } from "../format.js";
import { onChanges } from "../live.js";
import { noteQuery } from "../router.js";
import { dataTable, pager } from "../table.js";
import { age, announce, emptyState, select, statusBadge, viewHead } from "../widgets.js";
import { tenantHref, tenantMenu } from "./tenant-actions.js";

const PAGE = 50;
const TYPING_MS = 200;
const STATUS_CHOICES = [["", "Any status"], ["running", "running"], ["provisioning", "provisioning"], ["stopping", "stopping"], ["stopped", "stopped"], ["error", "error"]];

const columns = [
  { label: "User", sort: "user_id", class: "main-cell", cell: (tenant) => [h("a", { href: tenantHref(tenant) }, tenant.user_id), tenant.context_id !== "default" && h("span", { class: "hint" }, tenant.context_id)] },
  { label: "Policy", sort: "policy_id", cell: (tenant) => tenant.policy_id },
  { label: "Status", sort: "status", cell: (tenant) => [statusBadge(tenant.status), tenant.error && h("span", { class: "row-error", title: tenant.error }, tenant.error), tenant.outdated && h("span", { class: "hint" }, "outdated")] },
  { label: "Last used", sort: "last_accessed_at", cell: (tenant) => age(tenant.last_accessed_at) },
  { label: "Created", sort: "created_at", class: "wide-only", cell: (tenant) => age(tenant.created_at) },
  { label: "Actions", hidden: true, class: "actions-cell", cell: (tenant) => tenantMenu(tenant, `menu-${tenant.id}`) },
];

export function tenantsView({ query }, signal) {
  const state = { q: query.q ?? "", status: query.status ?? "", policy_id: query.policy_id ?? "", sort: query.sort ?? "-last_accessed_at", offset: Number(query.offset) || 0 };
  const search = h("input", { id: "tenant-search", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "Search users", value: state.q });
  const policies = select("tenant-policy", [["", "Any policy"]], "", () => change({ policy_id: policies.value }));
  const pages = pager((offset) => change({ offset }));
  const table = dataTable({
    caption: "Tenants", columns, key: (tenant) => tenant.id, onSort: (sort) => change({ sort }),
    empty: () => state.q || state.status || state.policy_id
      ? emptyState("No tenant fits", "Try another search, or fewer filters.")
      : emptyState("No tenants yet", "A tenant appears here with a user’s first request; nothing has to be set up for that."),
  });
  let reading = null;

  function shownQuery() {
    return { ...state, sort: state.sort === "-last_accessed_at" ? "" : state.sort, offset: state.offset || "" };
  }

  async function read() {
    reading?.abort();
    const mine = reading = new AbortController();
    try {
      const { items, total } = await callList("/tenants/", { query: { ...state, limit: PAGE }, signal: mine.signal });
      if (items.length === 0 && total > 0) {
        change({ offset: Math.floor((total - 1) / PAGE) * PAGE }); // the last page has gone meanwhile
        return;
      }
      table.show(items);
      pages.show({ offset: state.offset, limit: PAGE, total });
      return total;
    } catch (error) {
      if (!isAborted(error)) {
        table.failed(error, read);
      }
    }
  }

  async function change(more) {
    Object.assign(state, { offset: 0 }, more);
    noteQuery(["tenants"], shownQuery());
    table.sorted(state.sort);
    const total = await read();
    if (total !== undefined && !("offset" in more)) {
      announce(`${formatCount(total)} tenants`, "quiet");
    }
  }

  const typed = debounce(() => change({ q: search.value.trim() }), TYPING_MS);
  search.addEventListener("input", typed);
  signal.addEventListener("abort", () => {
    typed.cancel();
    reading?.abort();
  });
  table.sorted(state.sort);
  table.loading();
  read();
  onChanges(read, signal);
  callList("/policies", { signal }).then(({ items }) => {
    policies.append(...items.map(({ id }) => h("option", { value: id }, id)));
    policies.value = state.policy_id;
  }, () => {}); // without them there is one filter less

  return [viewHead("Tenants"),
    h("div", { class: "toolbar", role: "search", "aria-label": "Tenants" },
      h("label", { class: "visually-hidden", for: "tenant-search" }, "Search users"), search,
      h("label", { class: "visually-hidden", for: "tenant-status" }, "Status"), select("tenant-status", STATUS_CHOICES, state.status, (event) => change({ status: event.target.value })),
      h("label", { class: "visually-hidden", for: "tenant-policy" }, "Policy"), policies),
    table, pages];
}
