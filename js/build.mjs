/** Bundles both entry points into the Python package: `node build.mjs [--watch]`.
 *
 * Without source maps, which would contain paths of the machine that built them.
 */

import { context } from "esbuild";
import { fileURLToPath } from "node:url";
import { options } from "./bundle.mjs";

const build = await context({
  ...options,
  entryPoints: ["src/loader.ts", "src/widget.ts", "src/widget.css", "src/page.ts", "src/page.css"],
  outdir: fileURLToPath(new URL("../bqwidget/static", import.meta.url)),
  logLevel: "info",
});

if (process.argv.includes("--watch")) {
  await build.watch();
} else {
  await build.rebuild();
  await build.dispose();
}
