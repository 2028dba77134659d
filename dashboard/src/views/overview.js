// Overview: how things stand now, what is wrong, and how it came to be over the last while.
import { call, isAborted } from "../api.js";
import { timeChart } from "../chart.js";
import { h } from "../dom.js";
import { formatBytes, formatCount, formatMilliseconds, formatRate } from "../format.js";
import { onLive } from "../live.js";
import { hrefTo } from "../router.js";
import { age, viewHead } from "../widgets.js";

const STATUSES = ["running", "provisioning", "stopping", "error"];
const MEBIBYTE = 1024 * 1024;
const HISTORY_AT_MOST_EVERY_MS = 5000;

function card(label, href) {
  const value = h("span", { class: "card-value" }, "–");
  const note = h("span", { class: "card-note" }, "\u00a0");
  const content = [h("span", { class: "card-label" }, label), value, note];
  const element = href ? h("a", { class: "card panel", href }, content) : h("div", { class: "card panel" }, content);
  element.set = (text, more) => {
    value.textContent = text;
    note.textContent = more || "\u00a0";
  };
  return element;
}

/** What the API calls the things that may be wrong, in words. */
const PROBLEMS = {
  haproxy: "HAProxy", gate: "The gate", database: "The database", backend: "The backend", start_queue: "Starts", disk: "The disk", audit_backlog: "The audit log",
  siem: "The SIEM webhook", tenants_in_error: "Failed tenants",
};

function problemItem({ severity, what, detail, since }) {
  return h("li", { class: `problem ${severity}` }, h("div", {}, h("b", {}, PROBLEMS[what] ?? what), " ", h("span", { class: "hint" }, since && age(since))), h("p", {}, detail));
}

function drawHistory(charts, { interval_seconds: seconds, samples }) {
  const at = samples.map((sample) => new Date(sample.at));
  charts.instances.update({ at, series: STATUSES.map((status) => ({ label: status, kind: status, values: samples.map((sample) => sample.by_status[status] ?? 0) })) });
  charts.requests.update({ at, series: [{ label: "requests a second", kind: "first", values: samples.map(({ requests }) => (requests === null ? null : requests / seconds)) }] });
  charts.starts.update({ at, series: [{ label: "p50", kind: "first", values: samples.map((sample) => sample.p50_ms) }, { label: "p95", kind: "second", values: samples.map((sample) => sample.p95_ms) }] });
  charts.memory.update({ at, series: [{ label: "in use", kind: "first", values: samples.map((sample) => sample.memory_bytes) }] });
}

export function overviewView(_, signal) {
  const cards = {
    running: card("Running", hrefTo(["tenants"], { status: "running" })),
    failed: card("Failed", hrefTo(["tenants"], { status: "error" })),
    requests: card("Requests"),
    starts: card("Cold starts"),
    shells: card("Open WebSockets"),
    memory: card("Memory"),
  };
  const charts = {
    instances: timeChart({ title: "Instances", format: formatCount, isStacked: true }),
    requests: timeChart({ title: "Requests", format: formatRate }),
    starts: timeChart({ title: "Cold starts", format: formatMilliseconds }),
    memory: timeChart({ title: "Memory", format: formatBytes, unit: MEBIBYTE }),
  };
  const problems = h("ul", { class: "problems" }, h("li", { class: "hint" }, "Looking…"));
  let historyAt = 0;
  let shownProblems = "";

  function showProblems(found) {
    if (JSON.stringify(found) !== shownProblems) {
      shownProblems = JSON.stringify(found);
      problems.replaceChildren(...(found.length === 0 ? [h("li", { class: "all-well" }, "Nothing is wrong.")] : found.map(problemItem)));
    }
  }

  function showStats(stats) {
    const { tenants, cold_starts: starts, warm_starts: warm } = stats;
    cards.running.set(formatCount(tenants.running), `of ${formatCount(tenants.total)} ${tenants.total === 1 ? "tenant" : "tenants"}`);
    cards.failed.set(formatCount(tenants.error), tenants.error > 0 ? "look at them" : "none");
    cards.requests.set(formatCount(stats.requests), "since HAProxy started");
    cards.starts.set(formatMilliseconds(starts.p50_ms), `p95 ${formatMilliseconds(starts.p95_ms)}, p99 ${formatMilliseconds(starts.p99_ms)}; ${formatCount(starts.total)} in all, ${formatCount(starts.failed)} failed`);
    cards.shells.set(formatCount(stats.active_ws_connections), warm.ready > 0 ? `${formatCount(warm.ready)} instances warm` : "");
    cards.memory.set(formatBytes(stats.memory_bytes), "of Terminals itself");
    showProblems(stats.problems ?? []);
  }

  async function readHistory() {
    if (Date.now() - historyAt < HISTORY_AT_MOST_EVERY_MS) {
      return;
    }
    historyAt = Date.now();
    try {
      const history = await call("/stats/history", { signal });
      historyAt = Date.now() + Math.max(0, history.interval_seconds * 1000 - HISTORY_AT_MOST_EVERY_MS);
      drawHistory(charts, history);
    } catch (error) {
      if (!isAborted(error)) {
        historyAt = 0; // with the next poll; the connection's state is said at the top
      }
    }
  }

  onLive(({ stats, error }) => {
    if (stats !== null) {
      showStats(stats);
    }
    if (error === null) {
      readHistory();
    }
  }, signal);

  return [viewHead("Overview"),
    h("div", { class: "cards" }, Object.values(cards)),
    h("section", { class: "panel problems-panel", "aria-labelledby": "problems-title" }, h("h2", { id: "problems-title" }, "What is wrong now"),
      h("div", { class: "problems-frame", tabindex: "0", role: "group", "aria-labelledby": "problems-title", "aria-live": "polite" }, problems)),
    h("div", { class: "charts" }, Object.values(charts))];
}
