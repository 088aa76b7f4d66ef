import { defineConfig } from "vitest/config";

/** Node has no browser workers: without a program, the main thread runs the jobs. */
const noWorker = {
  name: "no-worker",
  resolveId: (id: string) => (id === "worker:source" ? "\0worker" : undefined),
  load: (id: string) => (id === "\0worker" ? 'export default "";' : undefined),
};

export default defineConfig({
  plugins: [noWorker],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  test: { include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 20_000 },
});
