// The members of a policy that the form knows (docs/api.md, Policies): how each is asked for, and how it goes from the policy's data into its
// control and back. What a policy has besides is left as it is.
import { h } from "./dom.js";

/** A value that cannot become data; `message` belongs at the field. */
export class FieldError extends Error {}

function text(value) {
  return value.trim() === "" ? undefined : value.trim();
}

function whole(value) {
  if (value.trim() === "") {
    return undefined;
  }
  if (!/^\d+$/.test(value.trim())) {
    throw new FieldError("A whole number, please.");
  }
  return Number(value);
}

function object(value) {
  if (value.trim() === "") {
    return undefined;
  }
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new FieldError(`That is no JSON: ${error.message}`);
  }
}

/** `NAME=value` lines. */
function variables(value) {
  const lines = value.split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) {
    return undefined;
  }
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf("=");
    if (at < 1) {
      throw new FieldError(`“${line.slice(0, 60)}” is not NAME=value.`);
    }
    return [line.slice(0, at).trim(), line.slice(at + 1)];
  }));
}

function variableLines(value) {
  return Object.entries(value ?? {}).map(([name, content]) => `${name}=${content}`).join("\n");
}

function prettyJson(value) {
  return value === undefined ? "" : JSON.stringify(value, null, 2);
}

function yesOrNo(value) {
  return value === "" ? undefined : value === "true";
}

const line = (id, more) => h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", ...more });
const numberLine = (id) => line(id, { inputmode: "numeric" });
const lines = (id) => h("textarea", { id, rows: 4, spellcheck: "false", class: "code" });
const choice = (options) => (id) => h("select", { id }, options.map(([value, label]) => h("option", { value }, label)));

/**
 * {member, group, label, hint, control(id), read(text) → value or undefined, write(value) → text}. A `member` with a dot is inside an object.
 */
export const policyFields = [
  { member: "image", group: "Machine", label: "Image", hint: "What containers are made of. Empty: TERMINALS_IMAGE.", control: line, read: text },
  { member: "cpu_limit", group: "Machine", label: "CPU", hint: "500m, 2", control: line, read: text },
  { member: "memory_limit", group: "Machine", label: "Memory", hint: "512Mi, 4Gi", control: line, read: text },
  { member: "storage", group: "Machine", label: "Storage", hint: "10Gi", control: line, read: text },
  { member: "storage_mode", group: "Machine", label: "Storage mode", hint: "Kubernetes only.", read: text,
    control: choice([["", "as the settings say"], ["per-user", "per-user"], ["shared", "shared"], ["shared-rwo", "shared-rwo"]]) },
  { member: "env", group: "Machine", label: "Environment", hint: "NAME=value, one a line.", control: lines, read: variables, write: variableLines },
  { member: "idle_timeout_minutes", group: "Life", label: "Stop when idle for (minutes)", hint: "0: never. Empty: as the settings say.", control: numberLine, read: whole },
  { member: "max_lifetime_minutes", group: "Life", label: "Stop after (minutes)", hint: "Even if it is in use. Empty: no limit.", control: numberLine, read: whole },
  { member: "warm", group: "Life", label: "Instances kept warm", hint: "Ready for whoever comes; 100 at most.", control: numberLine, read: whole },
  { member: "pre_stop.command", group: "Life", label: "Before a stop, run", hint: "A command, in the instance.", control: line, read: text },
  { member: "pre_stop.timeout_seconds", group: "Life", label: "… for so many seconds at most", hint: "1 to 60. Empty: 10.", control: numberLine, read: whole },
  { member: "restricted", group: "Kubernetes", label: "Pod Security Standard “restricted”", read: yesOrNo,
    control: choice([["", "as the settings say"], ["true", "yes"], ["false", "no"]]) },
  { member: "pod_security_context", group: "Kubernetes", label: "Pod security context", hint: "JSON", control: lines, read: object, write: prettyJson },
  { member: "container_security_context", group: "Kubernetes", label: "Container security context", hint: "JSON", control: lines, read: object, write: prettyJson },
  { member: "podTemplate", group: "Kubernetes", label: "Pod template", hint: "JSON", control: lines, read: object, write: prettyJson },
];

/** What stands in a field for a policy's data. */
export function fieldText(known, data) {
  const [outer, inner] = known.member.split(".");
  const value = inner === undefined ? data[outer] : data[outer]?.[inner];
  if (known.write) {
    return known.write(value ?? undefined);
  }
  return value === undefined || value === null ? "" : String(value);
}

/** The data with what stands in a field. An object of which nothing is left goes. */
export function withField(known, data, content) {
  const [outer, inner] = known.member.split(".");
  const value = known.read(content);
  const result = { ...data };
  if (inner === undefined) {
    result[outer] = value;
  } else {
    const within = { ...result[outer], [inner]: value };
    result[outer] = Object.values(within).some((one) => one !== undefined) ? within : undefined;
  }
  return JSON.parse(JSON.stringify(result));
}

/** The member that an error of the API is about: it stands in backticks, and begins the sentence. */
export function memberOf(message) {
  return message.match(/^`([\w.]+)`/)?.[1] ?? null;
}
