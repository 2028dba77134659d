// What an admin does on a day: sign in, watch a tenant appear, open its terminal, change a policy, read and export the audit log, sign out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export default async function journey(session) {
  const { base, given } = session;
  const user = "müller@example.com"; // no ASCII: a header, a query and a path have to carry it
  const page = await session.open({ acceptDownloads: true });

  await page.goto(`${base}/`);
  const key = page.getByLabel("API key");
  await key.fill("not-the-key");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Invalid API key").waitFor();
  assert.equal(await key.getAttribute("aria-invalid"), "true");
  await key.fill(given.key);
  await key.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.locator(".problems li:not(.hint)").first().waitFor();

  // A reload keeps the session, and Back goes back.
  await page.getByRole("link", { name: "Tenants", exact: true }).click();
  await page.getByText("No tenants yet").waitFor();
  await page.reload();
  await page.getByText("No tenants yet").waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.goForward();
  await page.getByText("No tenants yet").waitFor();

  // A request starts the tenant; the list shows it by itself.
  const bytes = Buffer.from(user).toString("latin1");
  await session.api("GET", "/files/list", undefined, { "X-User-Id": bytes, "X-Terminal-Context-Id": "chat:7" });
  const row = page.getByRole("row", { name: user });
  await row.getByText("running").waitFor();
  await row.getByText("chat:7").waitFor();

  // Its terminal.
  await row.getByRole("button", { name: "Actions" }).click();
  await page.getByRole("button", { name: `Terminal of ${user}` }).click();
  await page.getByText("terminal_opened_by_admin").waitFor();
  await page.getByRole("button", { name: "Open the terminal" }).click();
  await page.getByText("Connected to").waitFor();
  await page.keyboard.type("stty size; printf '\\033[38;2;250;100;50m%s\\033[0m\\n' $((6*7))ü\n");
  await session.eventually(async () => /42ü/.test(await page.locator(".xterm-rows").innerText()));
  await session.eventually(async () => /^\s*\d{2,} \d{2,}/m.test(await page.locator(".xterm-rows").innerText()));
  await page.keyboard.press("Shift+Escape");
  await page.locator("#terminal-close:focus").press("Enter");
  await page.getByRole("button", { name: "Open the terminal" }).waitFor();

  // A policy: what is wrong is said where it is wrong.
  await session.visit(page, "#/policies?new=1", "New policy");
  await page.getByLabel("Name", { exact: true }).fill("gpu");
  await page.getByLabel("CPU").fill("a lot");
  await page.getByRole("button", { name: "Make the policy" }).click();
  await page.locator("#policy-cpu_limit-error").getByText("is not a Kubernetes quantity").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "policy-cpu_limit");
  await page.getByLabel("CPU").fill("500m");
  await page.getByLabel("Environment").fill("EDITOR=vim\nGREETING=a=b c");
  await page.getByRole("button", { name: "Make the policy" }).click();
  await page.getByRole("heading", { name: "Policy gpu" }).waitFor();
  await page.getByRole("tab", { name: "JSON" }).click();
  const data = JSON.parse(await page.getByLabel("The policy’s data").inputValue());
  assert.deepEqual(data, { cpu_limit: "500m", env: { EDITOR: "vim", GREETING: "a=b c" } });
  await page.getByLabel("The policy’s data").fill('{"cpu_limit": "2", "own": {"kept": true}}');
  await page.getByRole("tab", { name: "Form" }).click();
  await page.getByLabel("Memory", { exact: true }).fill("512Mi");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await session.eventually(async () => { // it said that it is saved when it was made, too
    assert.deepEqual((await session.api("GET", "/api/v1/policies/gpu")).data, { cpu_limit: "2", memory_limit: "512Mi", own: { kept: true } });
    return true;
  });
  await page.getByText("Policy gpu is saved").waitFor();

  // Its resets: the next five dates.
  await page.getByLabel("Schedule", { exact: true }).fill("every now and then");
  await page.getByRole("button", { name: "Save the schedule" }).click();
  await page.locator("#reset-schedule-error").getByText("reset.schedule").waitFor();
  await page.getByLabel("Schedule", { exact: true }).fill("30 4 * * mon-fri");
  await page.getByLabel("Time zone").fill("Europe/Berlin");
  await page.getByRole("button", { name: "Save the schedule" }).click();
  await session.eventually(async () => (await page.locator(".next-resets li").count()) === 5);

  // The audit log has it all, and exports it.
  await session.visit(page, "#/audit", "Audit log");
  await page.getByRole("row", { name: "policy_updated" }).first().waitFor();
  await page.getByLabel("Action").selectOption("terminal_opened_by_admin");
  await page.getByRole("row", { name: user }).first().waitFor();
  await session.eventually(async () => (await page.getByRole("row", { name: "policy_updated" }).count()) === 0);
  const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as CSV" }).click()]);
  assert.match(saved.suggestedFilename(), /^terminals-audit-.*\.csv$/);
  const csv = readFileSync(await saved.path(), "utf8");
  assert.match(csv, /terminal_opened_by_admin/);
  assert.ok(csv.includes(user) && !csv.includes("policy_updated"), csv);

  // The settings say what is set, and no secret.
  await session.visit(page, "#/settings", "Settings");
  await page.getByRole("row", { name: "TERMINALS_API_KEY" }).getByText("secret, never shown").waitFor();
  assert.ok(!(await page.content()).includes(given.key));

  // The key is in this tab's session storage and nowhere else, and goes with signing out.
  const kept = () => page.evaluate(() => JSON.stringify([Object.values(sessionStorage), Object.values(localStorage), document.cookie]));
  assert.equal(await kept(), JSON.stringify([[given.key], [], ""]));
  await session.expectGoodConduct(page); // before the next page counts anew
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out").waitFor();
  assert.equal(await kept(), JSON.stringify([[], [], ""]));
  await page.reload();
  await page.getByLabel("API key").waitFor();
  assert.equal(await page.getByLabel("API key").inputValue(), "");
  await session.expectGoodConduct(page);
}
