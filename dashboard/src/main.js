// The page as a whole: signed in or not, the frame around the views, and which view the address means.
import { onRefused } from "./api.js";
import { h } from "./dom.js";
import { liveStart, liveStop, onLive } from "./live.js";
import { currentRoute, hrefTo } from "./router.js";
import { sessionEnd, sessionKey } from "./session.js";
import { button, emptyState, viewHead } from "./widgets.js";
import { auditView } from "./views/audit.js";
import { overviewView } from "./views/overview.js";
import { policiesView } from "./views/policies.js";
import { policyView } from "./views/policy.js";
import { settingsView } from "./views/settings.js";
import { signInView } from "./views/sign-in.js";
import { tenantView } from "./views/tenant.js";
import { tenantsView } from "./views/tenants.js";
import { terminalView } from "./views/terminal.js";

const SECTIONS = [
  { name: "overview", label: "Overview", view: () => overviewView },
  { name: "tenants", label: "Tenants", view: ({ segments }) => (segments.length > 1 ? tenantView : tenantsView) },
  { name: "policies", label: "Policies", view: ({ segments, query }) => (segments.length > 1 || query.new ? policyView : policiesView) },
  { name: "audit", label: "Audit log", view: () => auditView },
  { name: "settings", label: "Settings", view: () => settingsView },
];

let frame = null; // the same of the frame around it, from signing in to signing out
let shown = null; // the AbortController of the view that is shown: what it started ends with it

function notFoundView() {
  return [viewHead("Nothing here"), h("div", { class: "panel" }, emptyState("There is no such page", "The address may be from another version.", h("p", {}, h("a", { href: hrefTo(["overview"]) }, "To the overview"))))];
}

function viewFor(route) {
  const [name = "overview"] = route.segments;
  if (name === "terminal" && route.segments.length > 1) {
    return { section: "tenants", view: terminalView };
  }
  const section = SECTIONS.find((one) => one.name === name);
  return section ? { section: name, view: section.view(route) } : { section: "", view: notFoundView };
}

function showView(main, links, { isFirst }) {
  shown?.abort();
  shown = new AbortController();
  const route = currentRoute();
  const { section, view } = viewFor(route);
  main.replaceChildren(...view(route, shown.signal).flat().filter(Boolean));
  links.forEach(({ link }) => link.removeAttribute("aria-current"));
  const current = links.find(({ name }) => name === section)?.link;
  current?.setAttribute("aria-current", "page");
  current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  const title = main.querySelector("h1");
  document.title = `${title.textContent} – Terminals`;
  if (!isFirst) {
    scrollTo(0, 0);
    title.focus({ preventScroll: true });
  }
}

function connectionState(signal) {
  const element = h("p", { class: "connection", role: "status" }, "");
  onLive(({ error }) => {
    const text = error === null ? "Live" : error.status === 0 ? "Not connected. Trying again…" : error.message;
    if (element.textContent !== text) {
      element.textContent = text;
      element.classList.toggle("lost", error !== null);
    }
  }, signal);
  return element;
}

function showSignIn(why) {
  document.title = "Sign in – Terminals";
  document.getElementById("page").replaceChildren(signInView({ why, onSignedIn: () => showFrame({ isFirst: false }) }));
  document.getElementById("api-key").focus();
}

function signOut(why) {
  shown?.abort(); // with the key still there: an open shell is ended by a call
  frame?.abort();
  liveStop();
  sessionEnd();
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.close();
  }
  shown = null;
  showSignIn(why);
}

function showFrame({ isFirst }) {
  const links = SECTIONS.map(({ name, label }) => ({ name, link: h("a", { href: hrefTo([name]) }, label) }));
  const main = h("main", { id: "main", tabindex: "-1" });
  frame = new AbortController();
  liveStart();
  document.getElementById("page").replaceChildren(
    h("header", { class: "top" },
      h("a", { class: "brand", href: hrefTo(["overview"]) }, "Terminals"),
      h("nav", { "aria-label": "Views" }, h("ul", {}, links.map(({ link }) => h("li", {}, link)))),
      connectionState(frame.signal),
      button("Sign out", () => signOut("You are signed out. The key is forgotten."), { kind: "quiet" })),
    main);
  addEventListener("hashchange", () => showView(main, links, { isFirst: false }), { signal: frame.signal });
  showView(main, links, { isFirst });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the router's
  document.getElementById("main").focus();
});
onRefused((error) => sessionKey() !== null && signOut(`The key is not accepted any more: ${error.message}.`));
if (sessionKey() === null) {
  showSignIn();
} else {
  showFrame({ isFirst: true });
}
