/** Strict TypeScript, and no way from a string to HTML or code: a stranger's message must stay text. */

import js from "@eslint/js";
import tseslint from "typescript-eslint";

const SINK = "turns a string into HTML or script; build elements with JSX instead";
const properties = ["innerHTML", "outerHTML", "srcdoc", "insertAdjacentHTML", "createContextualFragment", "setHTMLUnsafe"];

export const noHtmlSinks = {
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-script-url": "error",
  "no-restricted-syntax": [
    "error",
    ...properties.flatMap((name) => [
      { selector: `MemberExpression[property.name="${name}"]`, message: `${name} ${SINK}` },
      { selector: `MemberExpression[property.value="${name}"]`, message: `${name} ${SINK}` },
      { selector: `JSXAttribute[name.name=/^${name}$/i]`, message: `${name} ${SINK}` },
      { selector: `Property[key.name="${name}"]`, message: `${name} ${SINK}` },
    ]),
    { selector: `JSXAttribute[name.name="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${SINK}` },
    { selector: `Property[key.name="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${SINK}` },
    { selector: `Property[key.value="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${SINK}` },
    {
      selector: `CallExpression[callee.object.name="document"][callee.property.name=/^(write|writeln)$/]`,
      message: `document.write ${SINK}`,
    },
    { selector: `NewExpression[callee.name="DOMParser"]`, message: `DOMParser ${SINK}` },
  ],
};

export default tseslint.config(
  { ignores: ["node_modules/"] },
  js.configs.recommended,
  {
    files: ["**/*.{ts,tsx}"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off", // an index just checked by arithmetic
      "@typescript-eslint/no-confusing-void-expression": "off", // `return this.#hello(frame)` in a switch reads well
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/consistent-type-definitions": "off", // unions and interfaces side by side
      "@typescript-eslint/no-implied-eval": "error",
      "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_$" }],
    },
  },
  {
    files: ["**/*.{js,mjs}"],
    languageOptions: { globals: { process: "readonly", console: "readonly", URL: "readonly" } },
  },
  { rules: noHtmlSinks },
  { files: ["tests/**"], rules: { "no-script-url": "off" } }, // payloads
);
