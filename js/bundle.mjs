/** The esbuild options of all bundles.
 *
 * Each bundle is one module without imports: anywidget loads the view from a blob URL, against which a relative import
 * could not be resolved, and a worker's program is started from one. The view asks for the programs of its workers, when it
 * needs them, from where it came from: the kernel or the server.
 */

import { fileURLToPath } from "node:url";

export const options = {
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  bundle: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  legalComments: "eof",
  plugins: [],
};
