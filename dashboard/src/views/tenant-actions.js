// What can be done with a tenant, and what each will do, said before it is done.
import { call } from "../api.js";
import { confirmDialog } from "../dialog.js";
import { h } from "../dom.js";
import { pollNow } from "../live.js";
import { hrefTo, navigate } from "../router.js";
import { announce, button } from "../widgets.js";

/** The query that tells a tenant from the user's others. */
export function whichTenant({ policy_id, context_id }) {
  return { policy_id, context_id };
}

/** "alice", or "alice, policy gpu, chat:7". */
export function tenantName({ user_id, policy_id, context_id }) {
  const more = [policy_id !== "default" && `policy ${policy_id}`, context_id !== "default" && context_id].filter(Boolean);
  return [user_id, ...more].join(", ");
}

export function tenantHref(tenant, place = "tenants") {
  return hrefTo([place, tenant.user_id], whichTenant(tenant));
}

function path(tenant, rest = "") {
  return `/tenants/${encodeURIComponent(tenant.user_id)}${rest}`;
}

function refresh(tenant, more) {
  return call("/terminals/refresh", { method: "POST", body: { user_id: tenant.user_id, ...whichTenant(tenant), ...more } });
}

const actions = [
  {
    name: "start", label: "Start", fits: ({ status }) => status === "stopped" || status === "error",
    does: ["The instance is started and kept until nobody has used it for its idle time."],
    act: (tenant) => call(path(tenant, "/start"), { method: "POST", query: whichTenant(tenant) }), done: "is started",
  },
  {
    name: "stop", label: "Stop", fits: ({ status }) => status === "running" || status === "provisioning",
    does: ["The instance is stopped at once: what runs in it ends, also shells that are in use.", "Record and files stay. The user’s next request starts it again."],
    act: (tenant) => call(path(tenant, "/stop"), { method: "POST", query: whichTenant(tenant) }), done: "is stopped",
  },
  {
    name: "refresh", label: "Refresh", fits: ({ status }) => status === "running",
    does: ["The instance is stopped, so that the next request gets a fresh one: with the image and the policy of today.", "Files stay. If somebody is using it, it is left alone."],
    options: [{ name: "active", label: "Also if somebody is using it", danger: true }],
    act: (tenant, { active }) => refresh(tenant, { only_idle: !active }),
    done: ({ refreshed }) => (refreshed > 0 ? "is stopped; the next request starts it afresh" : "is in use and was left alone"),
  },
  {
    name: "reset", label: "Reset", kind: "danger", fits: () => true,
    does: ["The instance is stopped, also if it is in use, and its folder is emptied: all files of this user, policy and context are deleted.", "The next request starts afresh, with an empty home."],
    act: (tenant) => refresh(tenant, { only_idle: false, reset: true }),
    done: ({ reset }) => (reset > 0 ? "is reset: its folder is empty" : "was not reset: something is mounted in its folder, or it has none"),
  },
  {
    name: "delete", label: "Delete", kind: "danger", fits: () => true,
    does: ["The instance is stopped and its record removed from the list.", "The files stay: a new tenant of this name finds them again."],
    options: [{ name: "purge", label: "Delete the files as well. They cannot be brought back.", danger: true }],
    act: (tenant, { purge }) => call(path(tenant), { method: "DELETE", query: { ...whichTenant(tenant), purge: purge ? "true" : null } }), done: "is deleted",
  },
];

async function perform(action, tenant, onDone) {
  let outcome = null;
  const isDone = await confirmDialog({
    title: `${action.label} ${tenantName(tenant)}?`, does: action.does, confirm: action.label, kind: action.kind ?? "primary", options: action.options,
    act: async (chosen) => {
      outcome = await action.act(tenant, chosen);
    },
  });
  if (isDone) {
    announce(`${tenantName(tenant)} ${typeof action.done === "string" ? action.done : action.done(outcome)}.`);
    pollNow();
    onDone?.(action.name);
  }
}

/** The buttons that fit a tenant's state. */
export function tenantButtons(tenant, onDone) {
  return [button("Terminal", () => navigate(["terminal", tenant.user_id], whichTenant(tenant)), { "aria-label": `Terminal of ${tenantName(tenant)}` }),
    actions.filter((action) => action.fits(tenant)).map((action) =>
      button(action.label, () => perform(action, tenant, onDone), { kind: action.kind === "danger" ? "quiet-danger" : "", "aria-label": `${action.label} ${tenantName(tenant)}` }))];
}

/** The same behind one button, for a row of a table. */
export function tenantMenu(tenant, id) {
  const menu = h("div", { id, popover: "auto", class: "menu", role: "group", "aria-label": `Actions for ${tenantName(tenant)}` },
    tenantButtons(tenant).flat().map((one) => {
      one.addEventListener("click", () => menu.hidePopover(), { capture: true });
      return one;
    }));
  const opener = h("button", { type: "button", class: "button icon", popovertarget: id, "aria-label": `Actions for ${tenantName(tenant)}` }, h("span", { "aria-hidden": "true" }, "⋯"));
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "open") {
      const at = opener.getBoundingClientRect();
      const top = Math.min(at.bottom + 4, innerHeight - menu.offsetHeight - 8);
      menu.style.top = `${Math.max(8, top)}px`;
      menu.style.left = `${Math.max(8, at.right - menu.offsetWidth)}px`;
      menu.querySelector("button").focus();
    }
  });
  return [opener, menu];
}
