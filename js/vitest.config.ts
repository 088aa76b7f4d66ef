import { defineConfig } from "vitest/config";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // The time limit, as that of pytest, only ends what hangs: the properties take 10 s beside the browser tests, or more.
  test: { include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 120_000 },
});
