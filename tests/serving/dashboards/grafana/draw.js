// draw.js PROMETHEUS SECONDS NOTHING DATABASE...: draws every dashboard of dashboards/ in Chromium over the last SECONDS, *Database*
// for each database, and fails with a line for each thing that is wrong in a picture. NOTHING is JSON: the panels of which nothing
// is known in any picture, as "fleet / Bill". All others have something of all databases and of the first. With SCREENSHOTS=FOLDER it leaves the upper HEIGHT
// pixels of the pictures there, of *Database* those of the first one.
"use strict";
const fs = require("fs");
const path = require("path");
const esbuild = require("esbuild");
const { chromium } = require("playwright-core");

const [prometheus, seconds, nothing, ...databases] = process.argv.slice(2);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="/drawn/main.css">' +
  '<div id="root"></div><script src="/drawn/main.js"></script>';
// Grafana's own letters, which its components do not bring: they decide what fits.
const FONTS = Object.fromEntries([["Regular", 400], ["Medium", 500]].map(([name, weight]) =>
  [`fonts/inter/Inter-${name}.woff2`, require.resolve(`@fontsource/inter/files/inter-latin-${weight}-normal.woff2`)]));
const PUBLIC = path.join(path.dirname(require.resolve("@grafana/ui/package.json")), "dist/public");
const HEIGHT = Number(process.env.HEIGHT || 1330);
const wrong = [];

function bundle() {
  const loader = Object.fromEntries([".svg", ".ttf", ".woff", ".woff2"].map(ending => [ending, "dataurl"]));
  const built = esbuild.buildSync({
    entryPoints: [path.join(__dirname, "main.tsx")], bundle: true, write: false, outdir: "/drawn", jsx: "automatic", loader, logLevel: "error",
    nodePaths: process.env.NODE_PATH.split(path.delimiter), define: { "process.env.NODE_ENV": '"production"' },
  });
  return Object.fromEntries(built.outputFiles.map(file => [file.path, file.text]));
}

// What a reader of the picture would stumble over.
function judge(nothing) {
  const found = [];
  const grey = colour => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number); return Math.max(r, g, b) - Math.min(r, g, b) < 24; };
  const cut = (element, panel) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const { left, right } = range.getBoundingClientRect();
    for (let at = element; at !== panel; at = at.parentElement) {
      const box = at.getBoundingClientRect();
      if (getComputedStyle(at).overflowX !== "visible" && (left < box.left - 1 || right > box.right + 1)) return true;
    }
    return false;
  };
  for (const panel of document.querySelectorAll("[data-panel]")) {
    const say = text => found.push(`${panel.dataset.panel}: ${text}`);
    if (!panel.querySelector("canvas, [data-name]") && panel.innerText.trim() === panel.dataset.panel) say("nothing is drawn");
    if (nothing && panel.querySelector("[data-nothing]") && !nothing.includes(panel.dataset.panel)) say("nothing is known");
    const legends = [...panel.querySelectorAll('[data-testid^="data-testid VizLegend series"], [data-name]')].map(one => one.textContent.trim());
    for (const legend of legends) {
      if (!legend || /[{}=]|undefined|^Value/.test(legend)) say(`a legend says ${JSON.stringify(legend)}`);
      if (legends.filter(other => other === legend).length > 1) say(`two legends say ${JSON.stringify(legend)}`);
    }
    for (const element of panel.querySelectorAll("*")) {
      const text = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data).join("").trim();
      if (!text) continue;
      // A path may be of any length, and what has a name or a state is not drawn by Grafana.
      const fits = /^(file:\/\/)?\//.test(text) || "name" in element.dataset || "state" in element.dataset;
      if (!fits && cut(element, panel)) say(`${JSON.stringify(text)} is cut off`);
      if (parseFloat(getComputedStyle(element).fontSize) < 9) say(`${JSON.stringify(text)} is too small to be read`);
      if (text !== "unknown") continue;
      for (let at = element; at !== panel; at = at.parentElement) {
        const { backgroundColor, color } = getComputedStyle(at);
        if (!grey(backgroundColor) || !grey(color)) say(`unknown is ${color} on ${backgroundColor}`);
      }
    }
  }
  return [...new Set(found)];
}

async function draw(browser, files, name, mode, database) {
  const where = `${name}, ${mode}, ${database}`;
  // As high as a whole dashboard: tables draw no rows that are not on the screen.
  const page = await browser.newPage({ viewport: { width: 1400, height: 9000 }, colorScheme: mode });
  page.on("console", said => { if (said.type() === "error") wrong.push(`${where}: ${said.text()}`); });
  page.on("pageerror", error => wrong.push(`${where}: ${error}`));
  const dashboard = JSON.parse(fs.readFileSync(path.join(__dirname, `../../../../dashboards/streamgauge-${name}.json`)));
  const selected = dashboard.templating.list.filter(variable => variable.type === "query").map(variable => variable.name);
  const variables = Object.fromEntries(selected.map(variable => [variable, variable === "database" ? database : ".+"]));
  const end = Math.floor(Date.now() / 1000);
  const scene = { dashboard, mode, variables, start: end - Number(seconds), end, step: 5 };
  await page.addInitScript(`window.scene = ${JSON.stringify(scene)}`);
  // All on the address of Prometheus, so that the page may ask it.
  await page.route("**/drawn/", route => route.fulfill({ body: HTML, contentType: "text/html" }));
  await page.route("**/drawn/main.*", route => {
    const asked = new URL(route.request().url()).pathname;
    return route.fulfill({ body: files[asked], contentType: asked.endsWith(".js") ? "text/javascript" : "text/css" });
  });
  await page.route("**/public/**", route => {
    const asked = new URL(route.request().url()).pathname.replace(/.*\/public\/(build\/)?/, "");
    return route.fulfill({ path: FONTS[asked] ?? path.join(PUBLIC, asked) });
  });
  await page.goto(`http://${prometheus}/drawn/`, { timeout: 180000 });
  await page.waitForFunction(() => document.title === "drawn", undefined, { timeout: 180000 });
  // Of the other databases some things are rightly not known.
  const known = databases.includes(database, 1) ? null : JSON.parse(nothing).filter(panel => panel.startsWith(`${name} / `));
  const titles = known?.map(panel => panel.slice(`${name} / `.length));
  wrong.push(...(await page.evaluate(judge, titles ?? null)).map(text => `${where}: ${text}`));
  const panels = await page.locator("[data-panel]").count();
  if (process.env.SCREENSHOTS && [".+", databases[0]].includes(database)) {
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/dashboard-${name}-${mode}.png`, clip: { x: 0, y: 0, width: 1400, height: HEIGHT } });
  }
  await page.close();
  return panels;
}

(async () => {
  const files = bundle();
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ARGUMENTS });
  let panels = 0;
  const pictures = [["fleet", ".+"], ["agent", ".+"], ...databases.map(database => ["database", database])];
  for (const [name, database] of pictures) for (const mode of ["light", "dark"]) {
    if (mode === "light" || !databases.includes(database, 1)) panels += await draw(browser, files, name, mode, database);
  }
  await browser.close();
  if (wrong.length) { console.log(wrong.join("\n")); process.exit(1); }
  console.log(`${panels} panels are as they should be`);
})().catch(error => { console.log([...wrong, error.stack].join("\n")); process.exit(1); });
