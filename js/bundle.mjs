/** How esbuild bundles: the options of every bundle, and the worker's program as a string inside the others.
 *
 * Each bundle is one module with nothing to import, for anywidget loads its own from a blob URL, where a relative
 * import could not resolve and beside which no second file lies. So what runs in a worker comes along as text:
 * `import source from "worker:source"`.
 */

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

const plain = {
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
        ...plain,
        entryPoints: ["src/worker/worker.ts"],
        write: false,
        metafile: true,
      });
      const watchFiles = Object.keys(metafile.inputs).map((path) => here + path);
      return { contents: outputFiles[0].text, loader: "text", watchFiles };
    });
  },
};

export const options = { ...plain, plugins: [worker] };
