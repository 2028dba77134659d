// Every view in both colour schemes, wide and on a phone: names and contrast (axe-core), nothing that moves by itself, nothing wider than the screen, and
// the keyboard reaches what the mouse does.
import assert from "node:assert/strict";

const VIEWS = [
  ["#/overview", "Overview", "of 1 tenant"],
  ["#/tenants", "Tenants", "alice"],
  ["#/tenants/alice", "alice", "Running since"],
  ["#/terminal/alice", "Terminal of alice", "Open the terminal"],
  ["#/policies", "Policies", "default"],
  ["#/policies/gpu", "Policy gpu", "The next resets"],
  ["#/policies?new=1", "New policy", "Make the policy"],
  ["#/audit", "Audit log", "127.0.0.1"],
  ["#/settings", "Settings", "TERMINALS_API_KEY"],
  ["#/nowhere", "Nothing here", "There is no such page"],
];
const SCREENS = [
  { name: "light, wide", colorScheme: "light" },
  { name: "dark, on a phone", colorScheme: "dark", viewport: { width: 360, height: 740 } },
];

export default async function accessible(session) {
  await session.api("POST", "/api/v1/tenants/", undefined, { "X-User-Id": "alice" });
  await session.api("POST", "/api/v1/policies", { id: "gpu", data: { image: "registry.example/a/rather/long/name/of/an/image:with-a-tag" } });
  await session.api("PUT", "/api/v1/policies/gpu/lifecycle", { reset: { schedule: "@weekly" } });
  for (const { name, ...screen } of SCREENS) {
    const page = await session.open({ ...screen, reducedMotion: "reduce" });
    await page.goto(`${session.base}/`);
    await page.getByLabel("API key").waitFor();
    await session.expectAccessible(page, `${name}: signed out`);
    await session.signIn(page);
    for (const [hash, title, content] of VIEWS) {
      await session.visit(page, hash, title);
      await page.getByRole("main").getByText(content).first().waitFor();
      await session.expectAccessible(page, `${name}: ${title}`);
      // Google's threshold for "good" is 0.1.
      const shifts = await page.evaluate(() => globalThis.shifts.splice(0));
      assert.ok(shifts.reduce((sum, [value]) => sum + value, 0) < 0.1, `${name}: ${title} moves by itself: ${JSON.stringify(shifts)}`);
      const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide[0] <= wide[1], `${name}: ${title} is ${wide[0]} wide on ${wide[1]}`);
    }
    await session.visit(page, "#/tenants/alice", "alice");
    await page.getByRole("button", { name: "Delete alice" }).click();
    await page.getByRole("dialog").waitFor();
    await session.expectAccessible(page, `${name}: a dialog`);
    await session.expectGoodConduct(page);
    await page.context().close();
  }

  // The first Tab is the way past the navigation; sorting is a button, and says what it did.
  const page = await session.open();
  await session.signIn(page);
  await session.visit(page, "#/tenants", "Tenants");
  await page.getByRole("row", { name: "alice" }).waitFor();
  await page.reload();
  await page.getByRole("row", { name: "alice" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const sort = page.getByRole("button", { name: "User", exact: true });
  await sort.focus();
  await page.keyboard.press("Enter");
  await page.locator('th[aria-sort="ascending"]', { hasText: "User" }).waitFor();
  await page.keyboard.press("Enter"); // the focus stayed there
  await page.locator('th[aria-sort="descending"]', { hasText: "User" }).waitFor();
  await session.expectGoodConduct(page);
}
