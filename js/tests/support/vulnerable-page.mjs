/** Bundles the page with a hole in it, to see that the search for holes finds one: `node vulnerable-page.mjs OUT`.
 *
 * It is the page of `build.mjs` in all but one module: here a message's text is put in as HTML.
 */

import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { options } from "../../bundle.mjs";

const HOLE = `
  import { h } from "preact";
  export const Markdown = ({ text }) => h("div", { dangerouslySetInnerHTML: { __html: text } });
`;

const hole = {
  name: "hole",
  setup({ onLoad }) {
    onLoad({ filter: /messages[/\\]markdown\.tsx$/ }, () => ({
      contents: HOLE,
      resolveDir: fileURLToPath(new URL("../../src/view/messages", import.meta.url)),
      loader: "js",
    }));
  },
};

await build({
  ...options,
  entryPoints: ["src/page.ts"],
  outfile: process.argv[2],
  plugins: [...options.plugins, hole],
});
