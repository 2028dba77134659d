// A terminal in a tenant's instance, once the admin has asked for it: looking at the page opens nothing.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { adoptStyles } from "../adopted-styles.js";
import { isAborted } from "../api.js";
import { h } from "../dom.js";
import { openShell } from "../shell-session.js";
import { announce, button, viewHead } from "../widgets.js";
import { tenantHref, tenantName } from "./tenant-actions.js";

const FONT = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';
const DARK = { background: "#101317", foreground: "#e6e8eb", cursor: "#e6e8eb", selectionBackground: "#3d5a80" };

function emulator(screenReaderMode) {
  adoptStyles();
  const terminal = new Terminal({ fontFamily: FONT, fontSize: 14, cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches, theme: DARK, screenReaderMode, scrollback: 5000 });
  // Tab belongs to the shell, so the keyboard needs another way out (WCAG 2.1.2).
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type === "keydown" && event.key === "Escape" && event.shiftKey) {
      document.getElementById("terminal-close").focus();
      return false;
    }
    return true;
  });
  return terminal;
}

export function terminalView({ segments, query }, signal) {
  const which = { user_id: segments[1], policy_id: query.policy_id ?? "default", context_id: query.context_id ?? "default" };
  const place = h("div", { class: "terminal-place" });
  const reader = h("input", { type: "checkbox", id: "screen-reader" });
  let close = () => {};

  function invite(problem) {
    place.replaceChildren(h("div", { class: "panel invitation" },
      problem && h("p", { class: "field-error", role: "alert" }, problem),
      h("p", {}, "This opens a shell in the instance of ", h("b", {}, tenantName(which)), ", as that user, and starts the instance if it does not run."),
      h("p", {}, "You see and change this user’s files. It is written to the audit log as ", h("code", {}, "terminal_opened_by_admin"), "."),
      h("p", { class: "choice" }, reader, h("label", { for: "screen-reader" }, "Read the screen to a screen reader")),
      button("Open the terminal", open, { kind: "primary" })));
  }

  async function open() {
    const status = h("p", { class: "terminal-status", role: "status" }, "Starting the instance…");
    const screen = h("div", { class: "terminal-screen" });
    const frame = h("div", { class: "terminal-frame" },
      h("div", { class: "terminal-bar" }, status, h("span", { class: "hint keys" }, "Shift+Esc leaves the terminal"), button("Close", () => close(), { id: "terminal-close" })), screen);
    place.replaceChildren(frame);
    const terminal = emulator(reader.checked);
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(screen);
    fit.fit();
    let shell = null;
    const watcher = new ResizeObserver(() => fit.fit());
    watcher.observe(screen);
    const finish = (problem) => {
      close = () => {};
      watcher.disconnect();
      shell?.end();
      terminal.dispose();
      if (!signal.aborted) {
        invite(problem);
        place.querySelector("button").focus();
      }
    };
    const opening = new AbortController();
    close = () => {
      opening.abort();
      finish();
    };
    try {
      shell = await openShell(which, {
        signal: opening.signal,
        receive: (bytes) => terminal.write(bytes),
        ended: (sentence) => {
          announce(sentence);
          finish(sentence);
        },
      });
      status.textContent = `Connected to ${tenantName(which)}`;
      terminal.onData((text) => shell.send(text));
      terminal.onBinary((text) => shell.send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
      terminal.onResize(({ cols, rows }) => shell.resize(cols, rows));
      shell.resize(terminal.cols, terminal.rows);
      terminal.focus();
    } catch (error) {
      if (!isAborted(error)) {
        finish(error.message);
      }
    }
  }

  signal.addEventListener("abort", () => close());
  invite();
  return [h("p", { class: "back" }, h("a", { href: tenantHref(which) }, "This tenant")), viewHead(`Terminal of ${tenantName(which)}`), place];
}
