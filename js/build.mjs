/** Bundles the entry points, and the programs of the workers, into the Python package: `node build.mjs [--watch]`.
 *
 * Without source maps, which would contain paths of the machine that built them.
 */

import { context } from "esbuild";
import { fileURLToPath } from "node:url";
import { options } from "./bundle.mjs";

const build = await context({
  ...options,
  entryPoints: [
    ...["loader.ts", "widget.ts", "widget.css", "page.ts", "page.css", "lab.ts", "panel.ts", "panel.css"],
    ...["math.ts", "worker/worker.ts"],
  ].map((name) => ({
    in: `src/${name}`,
    out: name.replace(/^.*\/|\.\w+$/g, ""),
  })),
  outdir: fileURLToPath(new URL("../bqwidget/static", import.meta.url)),
  logLevel: "info",
});

if (process.argv.includes("--watch")) {
  await build.watch();
} else {
  await build.rebuild();
  await build.dispose();
}
