/** The esbuild options of all bundles, with the worker's program as a string inside them.
 *
 * Each bundle is one module without imports: anywidget loads it from a blob URL, against which a relative import
 * could not be resolved. So the worker's program is part of the bundle as text: `import source from "worker:source"`.
 */

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

const base = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  legalComments: "eof",
};

const worker = {
  name: "worker",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^worker:source$/ }, () => ({ path: "worker", namespace: "worker" }));
    onLoad({ filter: /.*/, namespace: "worker" }, async () => {
      const { outputFiles, metafile } = await build({
        ...base,
        entryPoints: ["src/worker/worker.ts"],
        write: false,
        metafile: true,
      });
      const watchFiles = Object.keys(metafile.inputs).map((path) => here + path);
      return { contents: outputFiles[0].text, loader: "text", watchFiles };
    });
  },
};

export const options = { ...base, plugins: [worker] };
