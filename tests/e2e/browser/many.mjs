// A hundred thousand tenants: found, sorted and paged through by the server. How long each step took goes to stdout.
import assert from "node:assert/strict";

export default async function many(session) {
  const page = await session.open();
  await session.signIn(page);
  const timed = async (what, step) => {
    const began = performance.now();
    await step();
    console.log(`${what}: ${Math.round(performance.now() - began)} ms`);
  };
  const rows = page.locator("tbody tr");
  await timed("the first page", async () => {
    await page.evaluate(() => { location.hash = "#/tenants"; });
    await page.getByText("1–50 of 100,000").waitFor();
  });
  await timed("a search", async () => {
    await page.getByLabel("Search users").fill("user-04242");
    await page.getByText("1–10 of 10", { exact: true }).waitFor();
  });
  assert.equal(await rows.count(), 10);
  await timed("all again, sorted by user", async () => {
    await page.getByLabel("Search users").fill("");
    await page.getByText("1–50 of 100,000").waitFor();
    await page.getByRole("button", { name: "User", exact: true }).click();
    await page.getByRole("link", { name: "user-000000" }).waitFor();
  });
  await timed("the second page", async () => {
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByRole("link", { name: "user-000050" }).waitFor();
  });
  await timed("those that failed", async () => {
    await page.getByLabel("Status").selectOption("error");
    await page.getByText("1–50 of 1,000", { exact: true }).waitFor();
  });
  await session.expectGoodConduct(page);
}
