// Where one is, in the address: `#/tenants/alice?policy_id=gpu`, so that reload, back and links work.

/** The address as {segments: ["tenants", "alice"], query: {policy_id: "gpu"}}. */
export function currentRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const segments = path.split("/").filter((segment) => segment !== "");
  try {
    return { segments: segments.map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(query)) };
  } catch {
    return { segments: [], query: {} }; // a stray %
  }
}

/** The address of a place. */
export function hrefTo(segments, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const path = `#/${segments.map(encodeURIComponent).join("/")}`;
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`;
}

/** Goes there. */
export function navigate(segments, query) {
  location.hash = hrefTo(segments, query);
}

/** Notes another state of the view one is in, which reads nothing anew. */
export function noteQuery(segments, query) {
  history.replaceState(null, "", hrefTo(segments, query));
}
