// Packs vendor.js and uplot.js, each into one file, beside the licences of what is in them. With `--check` it
// only compares.

import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const OUT = new URL("../page/vendor/", import.meta.url);
const manifest = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));
const names = Object.keys(manifest.dependencies).sort();

const packed = await build({
  entryPoints: ["vendor.js", "uplot.js"],
  outdir: "packed", // named only; nothing is written there
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  banner: { js: `/* ${names.map((name) => `${name} ${manifest.dependencies[name]}`).join(", ")}: see LICENSES.txt */` },
  write: false,
});
const licences = await Promise.all(names.map(async (name) => {
  const text = await readFile(new URL(`node_modules/${name}/LICENSE`, import.meta.url), "utf8");
  return `${name} ${manifest.dependencies[name]}\n\n${text.trim()}\n`;
}));
const made = {
  ...Object.fromEntries(packed.outputFiles.map(({ path, text }) => [path.split("/").at(-1), text])),
  "LICENSES.txt": licences.join(`\n${"-".repeat(80)}\n\n`),
};

for (const [file, text] of Object.entries(made)) {
  const place = new URL(file, OUT);
  if (!process.argv.includes("--check")) {
    await writeFile(place, text);
  } else if ((await readFile(place, "utf8").catch(() => "")) !== text) {
    console.error(`serve/edge/page/vendor/${file} is not what its sources make: run 'make page'`);
    process.exitCode = 1;
  }
}
