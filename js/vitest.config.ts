import { defineConfig } from "vitest/config";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // The time limit, as that of pytest, only ends what hangs: the properties take 10 s or more next to the browser tests.
  test: { include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 120_000 },
});
