/** Bundles the two faces of the view into the Python package: `node build.mjs [--watch]`.
 *
 * Each is one module with nothing to import: anywidget loads its own from a blob URL, where a relative
 * import could not resolve. No source maps: they would carry the paths of the machine that built them.
 */

import { context } from "esbuild";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

const build = await context({
  absWorkingDir: here,
  entryPoints: ["src/widget.ts", "src/widget.css", "src/page.ts", "src/page.css"],
  outdir: join(here, "..", "bqwidget", "static"),
  bundle: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  legalComments: "eof",
  logLevel: "info",
});

if (process.argv.includes("--watch")) {
  await build.watch();
} else {
  await build.rebuild();
  await build.dispose();
}
