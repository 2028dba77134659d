// A question before something is done. The browser's own <dialog> keeps the focus inside and gives it back.
import { freshId, h } from "./dom.js";
import { button } from "./widgets.js";

/**
 * Asks. `does` says what will happen, a sentence each; `options` are extras that one has to choose: [{name, label, danger}]. `act(chosen)` is called
 * with {name: boolean} when the answer is yes; the dialog stays, and says why, if that fails. Resolves to true once it is done, to false otherwise.
 */
export function confirmDialog({ title, does, confirm, kind = "primary", options = [], act }) {
  return new Promise((resolve) => {
    const opener = document.activeElement;
    const titleId = freshId("dialog");
    const problem = h("p", { class: "dialog-problem", role: "alert" });
    const boxes = options.map(({ name, label, danger }) => ({ name, danger, box: h("input", { type: "checkbox", id: freshId(name), onchange: update }), label }));
    const yes = button(confirm, run, { kind });
    const no = button("Cancel", () => dialog.close());
    let isDone = false;

    function update() {
      yes.classList.toggle("danger", kind === "danger" || boxes.some(({ box, danger }) => danger && box.checked));
    }

    async function run() {
      yes.disabled = true;
      yes.setAttribute("aria-busy", "true");
      problem.textContent = "";
      try {
        await act(Object.fromEntries(boxes.map(({ name, box }) => [name, box.checked])));
        isDone = true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        yes.disabled = false;
      }
      yes.removeAttribute("aria-busy");
    }

    const dialog = h("dialog", { "aria-labelledby": titleId },
      h("h2", { id: titleId }, title),
      does.map((line) => h("p", {}, line)),
      boxes.map(({ box, label, danger }) => h("p", { class: danger ? "choice danger-choice" : "choice" }, box, h("label", { for: box.id }, label))),
      problem,
      h("div", { class: "dialog-buttons" }, no, yes));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener?.isConnected) {
        opener.focus();
      }
      resolve(isDone);
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}
