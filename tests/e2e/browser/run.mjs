// Drives the admin page in a real browser: `node run.mjs SCENARIO '{"base": "http://…", "key": "…", "patience": 1}'`. A scenario is a file beside
// this one whose default export is async (session) => …, with node:assert for what it expects. Whatever it does, the page must break no
// rule of its own: see expectGoodConduct().
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";

const require = createRequire(new URL("../../../build/browser/", import.meta.url)); // where `make browser-modules` puts what comes from npm
const { chromium, errors } = require("playwright-core");

// In each document before its own script: what breaks the policy, what moves by itself, and axe-core.
const WATCH = `
  globalThis.violations = [];
  globalThis.shifts = [];
  document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample));
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { if (!entry.hadRecentInput) shifts.push([entry.value, ...entry.sources.map(({ node }) => (node?.outerHTML ?? node?.textContent ?? "").slice(0, 200))]); })).observe({ type: "layout-shift", buffered: true });`;

class Session {
  constructor(browser, given) {
    this.browser = browser;
    this.given = given;
    this.base = given.base;
    this.conduct = []; // what no page of ours may do
  }

  /** A page of its own profile; `options` are Playwright's. */
  async open(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(30000 * this.given.patience);
    await context.addInitScript({ content: WATCH });
    await context.addInitScript({ content: readFileSync(require.resolve("axe-core/axe.min.js"), "utf8") });
    const page = await context.newPage();
    this.page = page;
    page.on("pageerror", (error) => this.conduct.push(`uncaught: ${error.message}`));
    page.on("console", (message) => {
      // The browser says this of each answer from 400 on, which a scenario may be about.
      if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Failed to load resource")) {
        this.conduct.push(`console: ${message.text()}`);
      }
    });
    context.on("request", (request) => {
      const url = new URL(request.url());
      if (!["data:", "blob:"].includes(url.protocol) && url.host !== new URL(this.base).host) {
        this.conduct.push(`asked another origin: ${url}`);
      }
    });
    return page;
  }

  async signIn(page, key = this.given.key) {
    await page.goto(`${this.base}/`);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  }

  /** Goes to a view by the address, and waits for its title. */
  async visit(page, hash, title) {
    await page.evaluate((wanted) => { location.hash = wanted; }, hash);
    await page.getByRole("heading", { name: title, level: 1, exact: true }).waitFor();
  }

  /** A call of the API beside the page. */
  async api(method, path, body, headers = {}) {
    const response = await fetch(this.base + path, { method, headers: { Authorization: `Bearer ${this.given.key}`, ...headers }, body: body && JSON.stringify(body) });
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
    return response.json();
  }

  /** Waits until `check()` is true; what it threw last is what the failure says. */
  async eventually(check) {
    const deadline = Date.now() + 30000 * this.given.patience;
    for (;;) {
      try {
        assert.ok(await check());
        return;
      } catch (problem) {
        if (Date.now() > deadline) {
          throw problem;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async expectGoodConduct(page) {
    assert.deepEqual(await page.evaluate(() => violations), [], "the page broke its Content-Security-Policy");
    assert.deepEqual(this.conduct, []);
  }

  /** Names, roles, contrast and the like, by axe-core. */
  async expectAccessible(page, where) {
    const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"], selectors: false, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    const problems = found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
    assert.deepEqual(problems, [], where);
  }
}

const [, , name, given] = process.argv;
const { default: scenario } = await import(new URL(`${name}.mjs`, import.meta.url));
const root = process.getuid() === 0; // whom Chromium gives no sandbox
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: root ? ["--no-sandbox"] : [], timeout: 120000 });
const session = new Session(browser, JSON.parse(given));
try {
  await scenario(session);
} catch (problem) {
  const picture = `${tmpdir()}/dashboard-${name}-${process.pid}.png`;
  await session.page?.screenshot({ path: picture }).catch(() => {});
  console.error(problem instanceof errors.TimeoutError ? problem.message : problem);
  console.error(`${session.page?.url()}\n${session.conduct.join("\n")}\nscreenshot: ${picture}\n${await session.page?.locator("body").innerText().catch(() => "")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
