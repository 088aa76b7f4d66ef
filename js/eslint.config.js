/** Strict TypeScript, and no API that turns a string into HTML or code: the text of a message must stay text. */

import js from "@eslint/js";
import tseslint from "typescript-eslint";

const REASON = "turns a string into HTML or script; build elements with JSX instead";
const properties = ["innerHTML", "outerHTML", "srcdoc", "insertAdjacentHTML", "createContextualFragment", "setHTMLUnsafe"];

export const noHtmlSinks = {
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-script-url": "error",
  "no-restricted-syntax": [
    "error",
    ...properties.flatMap((name) => [
      { selector: `MemberExpression[property.name="${name}"]`, message: `${name} ${REASON}` },
      { selector: `MemberExpression[property.value="${name}"]`, message: `${name} ${REASON}` },
      { selector: `JSXAttribute[name.name=/^${name}$/i]`, message: `${name} ${REASON}` },
      { selector: `Property[key.name="${name}"]`, message: `${name} ${REASON}` },
    ]),
    { selector: `JSXAttribute[name.name="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${REASON}` },
    { selector: `Property[key.name="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${REASON}` },
    { selector: `Property[key.value="dangerouslySetInnerHTML"]`, message: `dangerouslySetInnerHTML ${REASON}` },
    {
      selector: `CallExpression[callee.object.name="document"][callee.property.name=/^(write|writeln)$/]`,
      message: `document.write ${REASON}`,
    },
    { selector: `NewExpression[callee.name="DOMParser"]`, message: `DOMParser ${REASON}` },
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
      "@typescript-eslint/no-non-null-assertion": "off", // for indices that arithmetic has checked
      "@typescript-eslint/no-confusing-void-expression": "off", // allows `return this.#hello(frame)` in a switch
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/consistent-type-definitions": "off", // allows both
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
