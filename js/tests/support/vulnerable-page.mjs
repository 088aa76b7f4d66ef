/** Bundles a page with an XSS vulnerability, which the tests must find: `node vulnerable-page.mjs OUT`.
 *
 * It differs from the page of `build.mjs` in one module, which inserts the text of a message as HTML.
 */

import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { options } from "../../bundle.mjs";

const VULNERABLE_MARKDOWN = `
  import { h } from "preact";
  export const Markdown = ({ text }) => h("div", { dangerouslySetInnerHTML: { __html: text } });
`;

const vulnerability = {
  name: "vulnerability",
  setup({ onLoad }) {
    onLoad({ filter: /markdown[/\\]markdown\.tsx$/ }, () => ({
      contents: VULNERABLE_MARKDOWN,
      resolveDir: fileURLToPath(new URL("../../src/view/markdown", import.meta.url)),
      loader: "js",
    }));
  },
};

await build({
  ...options,
  entryPoints: ["src/page.ts"],
  outfile: process.argv[2],
  plugins: [...options.plugins, vulnerability],
});
