// When something fails: it is said, in words that help, and is over when it is over. And who looks away is not served.
import assert from "node:assert/strict";

export default async function trouble(session) {
  const page = await session.open();
  const expectEmpty = () => page.getByText("No tenants yet").waitFor();
  await session.signIn(page);

  // A call that fails keeps the rest of the page, and can be tried again.
  await page.route("**/api/v1/tenants/**", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"detail": "all starts are taken"}' }));
  await session.visit(page, "#/tenants", "Tenants");
  await page.getByRole("alert").getByText("all starts are taken").waitFor();
  await page.unroute("**/api/v1/tenants/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await expectEmpty();

  // No connection at all.
  await page.route("**/api/v1/stats", (route) => route.abort());
  await page.getByText("Not connected. Trying again…").waitFor();
  await page.unroute("**/api/v1/stats");
  await page.getByText("Live", { exact: true }).waitFor();

  // Names are text, whatever they hold.
  const name = '<img src=x onerror="globalThis.hacked=1">';
  await session.api("POST", "/api/v1/tenants/", undefined, { "X-User-Id": name });
  await page.getByRole("link", { name }).click();
  await page.getByRole("heading", { name }).waitFor();
  assert.equal(await page.evaluate(() => globalThis.hacked), undefined);

  // A tab that nobody sees asks nothing; one that is seen again asks at once. (The clock is the test's.)
  await page.clock.install();
  await page.reload();
  await page.getByText("Live", { exact: true }).waitFor();
  let polls = 0;
  page.on("request", (request) => {
    polls += request.url().endsWith("/api/v1/stats") ? 1 : 0;
  });
  const show = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await show(true);
  await page.clock.runFor(600000);
  assert.equal(polls, 0, "a hidden page polls");
  await show(false);
  await session.eventually(() => polls === 1);
  await page.clock.resume();

  // A key that is refused later signs out, and says so.
  await page.route("**/api/v1/**", (route) => route.fulfill({ status: 401, contentType: "application/json", body: '{"detail": "Invalid API key"}' }));
  await page.getByText("The key is not accepted any more: Invalid API key.").waitFor();
  await session.expectGoodConduct(page);
}
