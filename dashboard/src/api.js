// Calls to the API on this origin, with the key of the session.
import { sessionKey } from "./session.js";

/** A call that failed. `status` is 0 where there was no answer at all; `message` is a sentence for people. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** A 422 lists what is wrong; everything else is one sentence. */
function sentence(detail, status) {
  if (Array.isArray(detail)) {
    return detail.map((entry) => `${(entry.loc ?? []).slice(1).join(".")}: ${entry.msg}`).join("; ");
  }
  return typeof detail === "string" && detail !== "" ? detail : `The server answered ${status}.`;
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  return new ApiError(response.status, sentence(body?.detail, response.status));
}

let refused = () => {};

/** `action(error)` is called whenever the session's key is refused. */
export function onRefused(action) {
  refused = action;
}

/** "/a?b=c" from a path and an object, of which null and "" are left out. */
export function withQuery(path, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`;
}

/** One request, answered with its Response, or an ApiError. `key` stands in for the session's. */
export async function ask(path, { method = "GET", query, body, headers = {}, signal, key = sessionKey() } = {}) {
  const options = { method, headers: { ...headers }, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  if (key) {
    options.headers.Authorization = `Bearer ${key}`;
  }
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(withQuery(path, query), options);
  } catch (problem) {
    throw problem.name === "AbortError" ? problem : new ApiError(0, "Terminals does not answer. It may be restarting, or the network is down.");
  }
  if (response.ok) {
    return response;
  }
  const error = await failure(response);
  if (error.status === 401 && key === sessionKey()) {
    refused(error);
  }
  throw error;
}

/** A call of /api/v1: its JSON. */
export async function call(path, options) {
  return (await ask(`/api/v1${path}`, options)).json();
}

/** The same of a list: {items, total}. */
export async function callList(path, options) {
  const response = await ask(`/api/v1${path}`, options);
  const items = await response.json();
  return { items, total: Number(response.headers.get("X-Total-Count") ?? items.length) };
}

/** What the caller need not show: the view it was for has gone. */
export function isAborted(error) {
  return error.name === "AbortError";
}
