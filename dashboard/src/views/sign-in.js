// Signed out: the one form that asks for the API key.
import { call } from "../api.js";
import { h } from "../dom.js";
import { sessionBegin } from "../session.js";
import { field } from "../widgets.js";

/** `why`: a sentence, if somebody was signed in before. `onSignedIn` is called once a key was found good. */
export function signInView({ why, onSignedIn }) {
  const input = h("input", { id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  const keyField = field("API key", input, { hint: "TERMINALS_API_KEY, or what `terminals serve` printed (it is in data/api.key). Kept in this tab only." });
  const submit = h("button", { type: "submit", class: "button primary wide" }, "Sign in");

  async function signIn(event) {
    event.preventDefault();
    keyField.setError("");
    submit.disabled = true;
    const key = input.value.trim();
    try {
      if (/[^\x21-\x7e]/.test(key)) {
        throw new Error("A key has neither spaces nor letters beyond ASCII.");
      }
      await call("/status", { key });
    } catch (error) {
      keyField.setError(error.status === 401 && key === "" ? "Enter the API key." : error.message);
      submit.disabled = false;
      input.focus();
      input.select();
      return;
    }
    sessionBegin(key);
    onSignedIn();
  }

  return h("main", { class: "sign-in", id: "main", tabindex: "-1" },
    h("form", { class: "panel", onsubmit: signIn, novalidate: true },
      h("h1", {}, "Terminals"),
      h("p", { class: "sign-in-why", role: "status" }, why ?? "Sign in to see and manage your users’ terminals."),
      keyField, submit));
}
