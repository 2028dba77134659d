// Start, stop, refresh, reset and delete, each said before it is done; with the keyboard alone where that is harder.
import assert from "node:assert/strict";

export default async function actions(session) {
  const page = await session.open();
  await session.api("POST", "/api/v1/tenants/", undefined, { "X-User-Id": "alice" });
  await session.api("POST", "/execute?wait=20", { command: "echo precious > ~/file" }, { "X-User-Id": "alice", "Content-Type": "application/json" });
  await session.signIn(page);
  await session.visit(page, "#/tenants/alice", "alice");
  const status = page.getByRole("region", { name: "State" });
  await status.getByText("running", { exact: true }).waitFor();
  await page.getByText("nothing at the moment").or(page.getByText("open requests")).first().waitFor();

  const act = async (label, texts, choose) => {
    await page.getByRole("button", { name: `${label} alice` }).click();
    const dialog = page.getByRole("dialog", { name: `${label} alice?` });
    for (const text of texts) {
      await dialog.getByText(text).waitFor();
    }
    if (choose) {
      await dialog.getByLabel(choose).check();
    }
    await dialog.getByRole("button", { name: label, exact: true }).click();
    await dialog.waitFor({ state: "detached" });
  };

  // Escape does nothing but close, and the focus goes back to where it was.
  const stop = page.getByRole("button", { name: "Stop alice" });
  await stop.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  for (let press = 0; press < 5; press++) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)), "the focus left the dialog");
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await page.locator("button:focus", { hasText: "Stop" }).waitFor();
  assert.equal((await session.api("GET", "/api/v1/tenants/alice")).status, "running");

  await act("Stop", ["what runs in it ends", "Record and files stay"]);
  await status.getByText("stopped", { exact: true }).waitFor();
  await act("Start", ["The instance is started"]);
  await status.getByText("running", { exact: true }).waitFor();
  await act("Refresh", ["Files stay"], "Also if somebody is using it");
  await status.getByText("stopped", { exact: true }).waitFor();
  const files = () => session.api("GET", "/files/list", undefined, { "X-User-Id": "alice" }).then((list) => JSON.stringify(list));
  assert.match(await files(), /"file"/);
  await act("Reset", ["all files of this user"]);
  await page.getByText("is reset").waitFor();
  assert.doesNotMatch(await files(), /"file"/);
  await act("Delete", ["The files stay"], "Delete the files as well");
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  await page.getByText("No tenants yet").waitFor();
  await session.expectGoodConduct(page);
}
