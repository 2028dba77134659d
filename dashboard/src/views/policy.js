// One policy, or a new one: a form that knows its fields, the same as JSON, and its lifecycle.
import { call, isAborted } from "../api.js";
import { confirmDialog } from "../dialog.js";
import { h } from "../dom.js";
import { lifecyclePanel } from "../lifecycle.js";
import { pollNow } from "../live.js";
import { FieldError, fieldText, memberOf, policyFields, withField } from "../policy-fields.js";
import { hrefTo, navigate } from "../router.js";
import { announce, button, failedState, field, loadingState, viewHead } from "../widgets.js";

function controlId(member) {
  return `policy-${member.replace(".", "-")}`;
}

/** The two ways to edit `data`; value() gives it back, or throws a FieldError after showing it. */
function policyEditor(initial) {
  let data = initial;
  const rows = policyFields.map((known) => {
    const control = known.control(controlId(known.member));
    return { known, control, element: field(known.label, control, { hint: known.hint }) };
  });
  const json = h("textarea", { id: "policy-json", rows: 18, spellcheck: "false", class: "code" });
  const jsonField = field("The policy’s data", json, { hint: "What the form does not know stays as it is." });
  const groups = [...new Set(policyFields.map(({ group }) => group))].map((group) =>
    h("fieldset", {}, h("legend", {}, group), h("div", { class: "fields" }, rows.filter(({ known }) => known.group === group).map(({ element }) => element))));
  const form = h("div", { id: "as-form", role: "tabpanel", "aria-labelledby": "tab-form" }, groups);
  const raw = h("div", { id: "as-json", role: "tabpanel", "aria-labelledby": "tab-json", hidden: true }, jsonField);
  const tabs = [["tab-form", "Form", form], ["tab-json", "JSON", raw]].map(([id, label, panel]) =>
    h("button", { type: "button", role: "tab", id, class: "tab", "aria-controls": panel.id, onclick: () => turnTo(panel) }, label));
  const tabList = h("div", { role: "tablist", class: "tabs", "aria-label": "How to edit", onkeydown: (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      turnTo(raw.hidden ? raw : form);
      tabs.find((tab) => tab.getAttribute("aria-selected") === "true").focus();
    }
  } }, tabs);

  function fill() {
    rows.forEach(({ known, control }) => {
      control.value = fieldText(known, data);
    });
    json.value = JSON.stringify(data, null, 2);
  }

  function select(panel) {
    form.hidden = panel !== form;
    raw.hidden = panel !== raw;
    tabs.forEach((tab) => {
      const isSelected = tab.getAttribute("aria-controls") === panel.id;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
    });
  }

  function turnTo(panel) {
    try {
      data = value();
      fill();
      select(panel);
    } catch (error) {
      if (!(error instanceof FieldError)) {
        throw error;
      }
    }
  }

  function complain(target, control, message) {
    target.setError(message);
    control.focus();
    throw new FieldError(message);
  }

  function value() {
    rows.forEach(({ element }) => element.setError(""));
    jsonField.setError("");
    if (!raw.hidden) {
      try {
        return JSON.parse(json.value);
      } catch (error) {
        complain(jsonField, json, `That is no JSON: ${error.message}`);
      }
    }
    return rows.reduce((made, { known, control, element }) => {
      try {
        return withField(known, made, control.value);
      } catch (error) {
        return complain(element, control, error.message);
      }
    }, data);
  }

  fill();
  select(form);
  return {
    element: h("div", {}, tabList, form, raw),
    value,
    /** Shows an error of the API where it belongs; false if it belongs to no field. */
    blame(message) {
      const member = memberOf(message) ?? "";
      const row = rows.find(({ known }) => known.member === member) ?? rows.find(({ known }) => member.startsWith(`${known.member}.`) || known.member.startsWith(`${member}.`) && member !== "");
      if (!raw.hidden) {
        jsonField.setError(message);
        json.focus();
      } else if (row) {
        row.element.setError(message);
        row.control.focus();
      }
      return !raw.hidden || row !== undefined;
    },
  };
}

function editPanel(policy, isNew, onSaved) {
  const editor = policyEditor(policy.data);
  const id = h("input", { id: "policy-id", type: "text", autocomplete: "off", spellcheck: "false" });
  const idField = isNew && field("Name", id, { hint: "Lower-case letters, digits and dashes; users ask for it as /p/{name}/…" });
  const problem = h("p", { class: "field-error", role: "alert" });

  async function send(query) {
    problem.textContent = "";
    if (idField) {
      idField.setError("");
    }
    try {
      const data = editor.value();
      const path = isNew ? "/policies" : `/policies/${encodeURIComponent(policy.id)}`;
      return await call(path, { method: isNew ? "POST" : "PUT", query, body: isNew ? { id: id.value.trim(), data } : { data } });
    } catch (error) {
      if (error instanceof FieldError) {
        return null;
      }
      if (idField && (error.status === 409 || /policy id|`id`/i.test(error.message))) {
        idField.setError(error.message);
        id.focus();
      } else if (!editor.blame(error.message)) {
        problem.textContent = error.message;
      }
      return null;
    }
  }

  async function save(event) {
    event.preventDefault();
    const saved = await send({});
    if (saved !== null) {
      announce(`Policy ${saved.id} is saved. It applies to what starts from now on.`);
      pollNow();
      onSaved(saved);
    }
  }

  async function check() {
    if ((await send({ dry_run: "true" })) !== null) {
      announce("It can be saved like this. Nothing was changed.");
    }
  }

  return h("form", { class: "panel", onsubmit: save, novalidate: true, "aria-label": "Policy" },
    policy.error && h("p", { class: "field-error", role: "alert" }, policy.error),
    idField, editor.element, problem,
    h("div", { class: "form-buttons" }, h("button", { type: "submit", class: "button primary" }, isNew ? "Make the policy" : "Save"), button("Check only", check)));
}

function removeButton(id) {
  return button("Delete", async () => {
    const isDone = await confirmDialog({
      title: `Delete the policy ${id}?`, kind: "danger", confirm: "Delete",
      does: ["It is forgotten, if no instance of it runs.", "Its tenants and their files stay, but cannot be started until there is a policy of this name again."],
      act: () => call(`/policies/${encodeURIComponent(id)}`, { method: "DELETE" }),
    });
    if (isDone) {
      announce(`Policy ${id} is deleted.`);
      pollNow();
      navigate(["policies"]);
    }
  }, { kind: "quiet-danger" });
}

function refreshButton(id) {
  return button("Refresh its instances", () => confirmDialog({
    title: `Refresh all instances of ${id}?`, confirm: "Refresh",
    does: ["Every instance of this policy that nobody is using is stopped, so that the next request starts it with the policy of today.", "Files stay. Instances in use are left alone."],
    act: async () => {
      const { refreshed, skipped_active: skipped } = await call("/terminals/refresh", { method: "POST", body: { policy_id: id } });
      announce(`${refreshed} stopped, ${skipped} in use and left alone.`);
    },
  }));
}

export function policyView({ segments }, signal) {
  const id = segments[1];
  const isNew = id === undefined;
  const body = h("div", {});

  function show(policy) {
    body.replaceChildren(editPanel(policy, isNew, (saved) => (isNew ? navigate(["policies", saved.id]) : show(saved))), ...(isNew ? [] : [lifecyclePanel(id, signal)]));
  }

  async function read() {
    body.replaceChildren(h("div", { class: "panel" }, loadingState(12)));
    try {
      show(await call(`/policies/${encodeURIComponent(id)}`, { signal }));
    } catch (error) {
      if (!isAborted(error)) {
        body.replaceChildren(h("div", { class: "panel" }, failedState(error, read)));
      }
    }
  }
  if (isNew) {
    show({ data: {} });
  } else {
    read();
  }
  const beside = isNew ? [] : [h("a", { class: "button", href: hrefTo(["tenants"], { policy_id: id }) }, "Its tenants"), refreshButton(id), id !== "default" && removeButton(id)];
  return [h("p", { class: "back" }, h("a", { href: hrefTo(["policies"]) }, "All policies")), viewHead(isNew ? "New policy" : `Policy ${id}`, beside), body];
}
