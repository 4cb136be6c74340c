// browser.js ADDRESS HOSTILE: opens every kind of page of a running agent in Chromium and fails with a line for each thing
// that is wrong. With SCREENSHOTS=FOLDER it leaves pictures there; with STYLE=FILE it shows the pages in that style.
"use strict";
const fs = require("fs");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [address, hostile] = process.argv.slice(2);
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const named = name => "/databases/" + encodeURIComponent(name);
const PAGES = {
  front: "/", unknown: "/?q=e&state=unknown&sort=-name&page=7", nothing: "/?q=nothing+has+this+name",
  shop: named("shop"), orders: named("orders"), crm: named("crm"), ledger: named("ledger"), archive: named("archive"),
  hostile: named(hostile), runbook: "/runbook", check: "/runbook/ReplicationLag", missing: "/databases/none", wrong: "/?sort=x",
};
const wrong = [];
const expect = (holds, what) => { if (!holds) wrong.push(what); };

// A page that notes what it should not do.
async function open(context, path) {
  const page = await context.newPage();
  page.on("console", said => {
    // A browser tells of each answer that is an error, and of those a test makes.
    const told = /Failed to load resource/.test(said.text());
    if (said.type() === "error" && !told) wrong.push(`${path}: console: ${said.text()}`);
  });
  page.on("pageerror", error => wrong.push(`${path}: ${error}`));
  page.on("dialog", dialog => { wrong.push(`${path}: a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", request => {
    const url = request.url();
    if (!url.startsWith(address) && !url.startsWith("data:")) wrong.push(`${path}: asks ${url}`);
  });
  if (process.env.STYLE) {
    await page.route("**/static/style-*", route => route.fulfill({ path: process.env.STYLE, contentType: "text/css" }));
  }
  await page.goto(address + path);
  return page;
}

async function judge(browser) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  for (const [name, path] of Object.entries(PAGES)) {
    const page = await open(context, path);
    await page.evaluate(axe);
    for (const width of [1280, 360]) for (const colorScheme of ["light", "dark"]) {
      const where = `${path} at ${width}, ${colorScheme}`;
      await page.setViewportSize({ width, height: 1000 });
      await page.emulateMedia({ colorScheme });
      const show = open => page.evaluate(open => { for (const details of document.querySelectorAll("details")) details.open = open; }, open);
      await show(false);
      if (process.env.SCREENSHOTS) {
        const fullPage = !process.env.FIRST_SCREEN;
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${width}-${colorScheme}.png`, fullPage });
      }
      await show(true);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(wide <= 0, `${where}: ${wide} px too wide`);
      const { violations, passes } = await page.evaluate(tags => axe.run(document, { runOnly: tags }), TAGS);
      expect(passes.length > 10, `${where}: axe looked at nothing`);
      for (const { id, help, nodes } of violations) {
        const found = nodes.slice(0, 2).map(node => node.html + " " + node.failureSummary).join("; ");
        wrong.push(`${where}: ${id}: ${help}: ${nodes.length}: ${found}`);
      }
    }
    await page.close();
  }
  await context.close();
}

// The same answer shows the same text with scripts and without, and states have words.
async function scriptless(browser) {
  const texts = [];
  const bodies = {};
  for (const javaScriptEnabled of [true, false]) {
    const context = await browser.newContext({ javaScriptEnabled, viewport: { width: 1280, height: 800 } });
    for (const path of Object.values(PAGES)) {
      bodies[path] ??= await (await context.request.get(address + path)).text();
      const page = await context.newPage();
      await page.route("**" + path.replace(/[?*]/g, "\\$&"), route => route.fulfill({ body: bodies[path], contentType: "text/html; charset=utf-8" }));
      await page.goto(address + path);
      texts.push(await page.locator("main").innerText());
      await page.close();
    }
    await context.close();
  }
  const count = texts.length / 2;
  for (let at = 0; at < count; at++) expect(texts[at] === texts[at + count] && texts[at], `${Object.values(PAGES)[at]}: scripts change what is there`);
}

// What is broken comes first, in words.
async function words(context) {
  const page = await open(context, "/");
  const text = await page.locator("main").innerText();
  const at = what => { const place = text.search(what); expect(place >= 0, `/: no ${what} in ${text}`); return place; };
  const order = [/\d of 6 databases need you, 1 is unknown, everything else is safe up to \d\d:\d\d:\d\d UTC\./, /Needs you/,
    /orders → file\s+Writes since \d\d:\d\d:\d\d UTC would be lost: (at least )?\d/, /Unknown/, /ledger → s3\s+What would be lost is unknown/, /Databases/, /This agent/].map(at);
  expect(order.every((place, n) => n === 0 || order[n - 1] < place), `/: in another order: ${order}`);
  expect(/^\d need you, 1 unknown/.test(await page.title()), `/: title ${await page.title()}`);
  expect(/^data:image/.test(await page.locator("[rel=icon]").getAttribute("href")), "/: no icon");
  await page.getByRole("link", { name: "ReplicationLag" }).first().click();
  expect(await page.locator("h1").innerText() === "ReplicationLag", "the runbook is not one click away");
  await page.close();
}

async function inert(context) {
  for (const path of [PAGES.front, PAGES.hostile, "/?q=" + encodeURIComponent(hostile), "/databases/" + encodeURIComponent("<script>alert(1)</script>")]) {
    const page = await open(context, path);
    expect(await page.locator("main img, main script, main iframe").count() === 0, `${path}: a name became an element`);
    await page.close();
  }
  const page = await open(context, PAGES.front);
  await page.locator("table").getByRole("link", { name: hostile }).click();
  expect((await page.locator("h1").innerText()).includes(hostile), `no page for ${hostile}`);
  await page.close();
}

async function keyboard(context) {
  const page = await open(context, "/");
  const focused = () => page.evaluate(() => {
    const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
    const shown = box.width > 0 && box.height > 0 && box.right > 0 && box.left < innerWidth && box.top < innerHeight && box.bottom > 0;
    return { tag: at.tagName, text: at.innerText || at.id, shown, ringed: style.outlineStyle !== "none" };
  });
  await page.keyboard.press("Tab");
  expect((await focused()).text === "Skip to the content", "the first stop is not the way to the content");
  await page.keyboard.press("Enter");
  expect((await focused()).tag === "MAIN", "the content has not got the focus");
  let stops = 0;
  for (;;) {
    await page.keyboard.press("Tab");
    const at = await focused();
    if (at.tag === "BODY" || ++stops > 300) break;
    expect(at.shown && at.ringed, `the focus does not show on ${JSON.stringify(at)}`);
  }
  expect(stops > 20 && stops < 300, `${stops} stops`);
  await page.keyboard.press("/");
  await page.keyboard.type("shop");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=shop/);
  expect(await page.locator("#databases ~ table.cards tbody tr").count() === 1, "the search found something else");
  await page.getByRole("link", { name: /^all/ }).click();
  await page.waitForURL(/q=shop/);
  await page.close();
}

// A newer report changes the page and not the place of the reader.
async function live(context) {
  const page = await open(context, "/");
  const renewed = async () => {
    await page.evaluate(() => { document.querySelector("main").dataset.old = "yes"; });
    await page.waitForFunction(() => !document.querySelector("main").dataset.old, null, { timeout: 30000 });
  };
  await page.locator("#checklist summary").click();
  const link = page.locator("table.cards").first().getByRole("link", { name: "shop" });
  await link.focus();
  await page.evaluate(() => scrollTo(0, 300));
  const place = () => page.evaluate(() => [document.activeElement.getAttribute("href"), document.querySelector("#checklist").open, scrollY]);
  const before = JSON.stringify(await place());
  const time = () => page.locator(".headline time").last().innerText();
  const old = await time();
  await renewed();
  expect(JSON.stringify(await place()) === before, `the reader was moved from ${before} to ${JSON.stringify(await place())}`);
  expect(await time() !== old, "what is shown is not newer");
  await page.locator("#q").fill("sho");
  await page.locator("#q").evaluate(q => q.setSelectionRange(1, 1));
  await renewed();
  const search = await page.evaluate(() => [document.activeElement.id, document.querySelector("#q").value, document.querySelector("#q").selectionStart]);
  expect(search.join() === "q,sho,1", `the search was ${search}`);
  await context.setOffline(true);
  await page.waitForFunction(() => /No answer from the agent since/.test(document.querySelector("#live").textContent), null, { timeout: 30000 });
  await context.setOffline(false);
  await page.waitForFunction(() => !document.documentElement.classList.contains("stale"), null, { timeout: 30000 });
  await page.emulateMedia({ media: "print" });
  await page.evaluate(() => { document.querySelector("#checklist").open = false; });
  expect(await page.locator("#checklist table").evaluate(table => table.getBoundingClientRect().height) > 100, "what is closed is not printed");
  await page.close();
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true, args: ARGUMENTS });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  for (const part of [words, inert, keyboard, live, () => scriptless(browser), () => judge(browser)]) {
    const start = Date.now();
    await part(context).catch(error => wrong.push(String(error)));
    console.log(`${part.name || "whole"}: ${Date.now() - start} ms`);
  }
  await browser.close();
  if (wrong.length) {
    console.error(wrong.join("\n"));
    process.exit(1);
  }
  console.log(`${Object.keys(PAGES).length} pages, 2 widths, 2 schemes: nothing wrong`);
})();
