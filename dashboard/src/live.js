// What is live: one cheap poll of /stats for the whole page. Lists are read again only when its `changes` has moved.
import { call } from "./api.js";

const EVERY_MS = 3000;
const UNATTENDED_EVERY_MS = 15000; // nobody has touched the page for a while
const UNATTENDED_AFTER_MS = 5 * 60 * 1000;
const SLOWEST_MS = 60000; // after failures, each of which doubles the pause

const listeners = new Set();
let timer = 0;
let running = false;
let asking = false;
let failures = 0;
let touchedAt = Date.now();
let latest = null;

function pause() {
  const every = Date.now() - touchedAt > UNATTENDED_AFTER_MS ? UNATTENDED_EVERY_MS : EVERY_MS;
  return Math.min(every * 2 ** Math.min(failures, 5), SLOWEST_MS);
}

function schedule() {
  clearTimeout(timer);
  if (running && !document.hidden) {
    timer = setTimeout(pollNow, pause());
  }
}

/** Asks now rather than later: after a change of one's own. */
export async function pollNow() {
  if (asking || !running) {
    return;
  }
  asking = true;
  clearTimeout(timer);
  let next;
  try {
    next = { stats: await call("/stats"), error: null };
  } catch (error) {
    next = { stats: latest?.stats ?? null, error };
  }
  asking = false;
  if (running) {
    latest = next;
    failures = next.error === null ? 0 : failures + 1;
    listeners.forEach((listener) => listener(latest));
    schedule();
  }
}

/** `listener({stats, error})` after each poll, and at once if there was one; until `signal` ends it. */
export function onLive(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
  if (latest !== null) {
    listener(latest);
  }
}

/** Calls `action` whenever a tenant or policy may have changed since the last call, until `signal` ends it. */
export function onChanges(action, signal) {
  let seen = latest?.stats?.changes;
  onLive(({ stats }) => {
    if (stats !== null && stats.changes !== seen) {
      const isFirst = seen === undefined;
      seen = stats.changes;
      if (!isFirst) {
        action();
      }
    }
  }, signal);
}

export function liveStart() {
  running = true;
  failures = 0;
  pollNow();
}

export function liveStop() {
  running = false;
  latest = null;
  clearTimeout(timer);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : pollNow()));
for (const event of ["pointerdown", "keydown"]) {
  document.addEventListener(event, () => {
    touchedAt = Date.now();
  }, { passive: true });
}
