// One tenant: how it stands, why, and what to do about it.
import { call, isAborted } from "../api.js";
import { h } from "../dom.js";
import { NOTHING, formatSeconds } from "../format.js";
import { onChanges } from "../live.js";
import { hrefTo, navigate } from "../router.js";
import { age, facts, failedState, loadingState, statusBadge, viewHead } from "../widgets.js";
import { tenantButtons, tenantName, whichTenant } from "./tenant-actions.js";

const KEPT_ALIVE = { requests: "open requests", shell: "a shell that is in use", policy: "its policy: it is never stopped for being idle" };

function lifeFacts(tenant) {
  if (tenant.status !== "running") {
    return [["Last used", age(tenant.last_accessed_at)]];
  }
  return [
    ["Running since", age(tenant.started_at)],
    ["Last used", age(tenant.last_active_at)],
    ["Kept alive by", KEPT_ALIVE[tenant.kept_alive_by] ?? tenant.kept_alive_by ?? "nothing at the moment"],
    ["Stops", tenant.stops_at ? [age(tenant.stops_at), " if nobody comes"] : "not while that is so"],
    ["Idle time", tenant.idle_timeout_minutes ? formatSeconds(tenant.idle_timeout_minutes * 60) : "no limit"],
  ];
}

function identityFacts(tenant) {
  return [
    ["Policy", h("a", { href: hrefTo(["policies", tenant.policy_id]) }, tenant.policy_id)],
    ["Context", tenant.context_id],
    ["Instance", tenant.instance_name],
    ["Backend", tenant.backend_type],
    ["Address", tenant.host ? `${tenant.host}:${tenant.port}` : NOTHING],
    ["Created", age(tenant.created_at)],
    ["Started with", tenant.outdated ? "an older version of its policy: refresh it" : "the policy of today"],
    ["Audit log", h("a", { href: hrefTo(["audit"], { user_id: tenant.user_id }) }, "what happened to this user")],
  ];
}

// Why the last start failed, in the backend's words: of one that ended at once, these are the last lines of its log.
function troublePanel(error) {
  return h("section", { class: "panel trouble", role: "alert", "aria-labelledby": "trouble-title" },
    h("h2", { id: "trouble-title" }, "It failed"), h("pre", { class: "log" }, error));
}

export function tenantView({ segments, query }, signal) {
  const which = { user_id: segments[1], policy_id: query.policy_id ?? "default", context_id: query.context_id ?? "default" };
  const buttons = h("div", { class: "button-row" });
  const body = h("div", {}, h("div", { class: "panel" }, loadingState(10)));
  const cells = h("div", { class: "columns" });
  const trouble = h("div", {});
  let isShown = false;

  function show(tenant) {
    buttons.replaceChildren(...tenantButtons(tenant, (action) => (action === "delete" ? navigate(["tenants"]) : read())).flat());
    trouble.replaceChildren(...(tenant.error ? [troublePanel(tenant.error)] : []));
    cells.replaceChildren(
      h("section", { class: "panel", "aria-label": "State" }, h("h2", {}, "State"), facts([["Status", [statusBadge(tenant.status), tenant.progress && ` ${tenant.progress}`]], ...lifeFacts(tenant)])),
      h("section", { class: "panel", "aria-label": "What it is" }, h("h2", {}, "What it is"), facts(identityFacts(tenant))));
    if (!isShown) {
      isShown = true;
      body.replaceChildren(trouble, cells);
    }
  }

  async function read() {
    try {
      show(await call(`/tenants/${encodeURIComponent(which.user_id)}`, { query: whichTenant(which), signal }));
    } catch (error) {
      if (!isAborted(error)) {
        isShown = false;
        buttons.replaceChildren();
        body.replaceChildren(h("div", { class: "panel" }, failedState(error, read)));
      }
    }
  }
  read();
  onChanges(read, signal);
  return [h("p", { class: "back" }, h("a", { href: hrefTo(["tenants"]) }, "All tenants")), viewHead(tenantName(which), buttons), body];
}
