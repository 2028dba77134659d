// Numbers, sizes and times as people read them.

const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clockTimes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

const MINUTE_S = 60;
const HOUR_S = 60 * MINUTE_S;
const DAY_S = 24 * HOUR_S;

/** Of what is not known. */
export const NOTHING = "–";

export function formatCount(value) {
  return value === null || value === undefined ? NOTHING : counts.format(value);
}

/** So many a second. */
export function formatRate(value) {
  return value === null || value === undefined ? NOTHING : `${precise.format(value)}/s`;
}

/** Binary prefixes, as in policies: 512 MiB. */
export function formatBytes(bytes) {
  if (bytes === null || bytes === undefined) {
    return NOTHING;
  }
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${precise.format(value)} ${units[unit]}`;
}

export function formatMilliseconds(value) {
  if (value === null || value === undefined) {
    return NOTHING;
  }
  return value < 1000 ? `${counts.format(value)} ms` : `${precise.format(value / 1000)} s`;
}

/** The two largest units of a length of time: "2 h 5 min". */
export function formatSeconds(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(whole / DAY_S), "d"],
    [Math.floor((whole % DAY_S) / HOUR_S), "h"],
    [Math.floor((whole % HOUR_S) / MINUTE_S), "min"],
    [whole % MINUTE_S, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) {
    return "0 s";
  }
  return parts.slice(first, first + 2).filter(([value]) => value > 0).map(([value, unit]) => `${value} ${unit}`).join(" ");
}

/** "3 min ago", "in 2 h", by this machine's clock. */
export function formatAgo(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (Math.abs(seconds) < 5) {
    return "now";
  }
  const largest = formatSeconds(Math.abs(seconds)).split(" ").slice(0, 2).join(" ");
  return seconds > 0 ? `${largest} ago` : `in ${largest}`;
}

/** Date and time, where the reader is. */
export function formatMoment(iso) {
  return moments.format(new Date(iso));
}

export function formatClock(date) {
  return clockTimes.format(date);
}
