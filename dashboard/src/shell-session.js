// A shell in a tenant's instance: started if need be, opened, attached to by a WebSocket, and ended with the view.
import { ask, call, withQuery } from "./api.js";
import { sessionKey } from "./session.js";

/** What the close codes mean (docs/api.md, Shells). */
const REASONS = {
  1000: "The shell has ended.",
  1013: "This user has as many terminals open as are allowed.",
  4001: "The API key was refused.",
  4003: "The instance is not reachable.",
  4004: "The shell is gone: its instance was stopped.",
};

/**
 * Opens a shell for `which` ({user_id, policy_id, context_id}). `receive(bytes)` gets what it prints, `ended(sentence)` is called once at its end. Resolves to
 * {send(text or bytes), resize(cols, rows), end()}.
 */
export async function openShell(which, { receive, ended, signal }) {
  const { path } = await call("/terminals/open", { method: "POST", body: which, signal });
  const headers = { "X-User-Id": encodeHeader(which.user_id), "X-Terminal-Context-Id": encodeHeader(which.context_id) };
  const { id } = await (await ask(`${path}/api/terminals`, { method: "POST", headers, signal })).json();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  // No header can be given to a browser's WebSocket: the user and the context go into the query, the key into the first message.
  const socket = new WebSocket(withQuery(`${scheme}//${location.host}${path}/api/terminals/${encodeURIComponent(id)}`, { user_id: which.user_id, context_id: which.context_id }));
  socket.binaryType = "arraybuffer";
  let isOver = false;

  function end() {
    if (!isOver) {
      isOver = true;
      socket.close(1000);
      ask(`${path}/api/terminals/${encodeURIComponent(id)}`, { method: "DELETE", headers }).catch(() => {}); // it may have ended by itself
    }
  }

  socket.addEventListener("message", ({ data }) => receive(typeof data === "string" ? data : new Uint8Array(data)));
  socket.addEventListener("close", ({ code, reason }) => {
    if (!isOver) {
      isOver = true;
      ended(REASONS[code] ?? (reason || "The connection was lost."));
    }
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("The terminal could not be connected.")));
    signal.addEventListener("abort", () => reject(new DOMException("The view has gone.", "AbortError")));
  }).catch((error) => {
    end();
    throw error;
  });
  socket.send(JSON.stringify({ type: "auth", token: sessionKey() || "none" })); // the message has to come even where any token will do
  const encoder = new TextEncoder();
  return {
    send: (input) => socket.readyState === WebSocket.OPEN && socket.send(typeof input === "string" ? encoder.encode(input) : input),
    resize: (cols, rows) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ type: "resize", cols, rows })),
    end,
  };
}

/** A header's value is bytes, which fetch() takes as Latin-1: the UTF-8 of the text, one character a byte. */
function encodeHeader(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
