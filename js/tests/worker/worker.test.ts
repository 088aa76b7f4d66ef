/** The worker's jobs: highlighting splits code into tokens, parsing turns Markdown into data that can be posted. */

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { highlight, type CodeToken } from "../../src/worker/highlight";
import { STARTED } from "../../src/worker/jobs";
import { tokenize } from "../../src/worker/tokenize";
import { runJob } from "../../src/worker/worker";
import { MAX_JOB_TICKS, TICK_MS, WorkerClient } from "../../src/worker/worker-client";
import { cpuTime } from "../support/cpu-time";

const text = (tokens: readonly CodeToken[]): string => tokens.map((token) => (typeof token === "string" ? token : token[1])).join("");
const kinds = (runs: readonly CodeToken[] | null): Record<string, string> =>
  Object.fromEntries((runs ?? []).filter((run) => typeof run !== "string").map(([kind, part]) => [part, kind]));

describe("highlighting", () => {
  it("distinguishes the kinds of tokens", () => {
    const found = kinds(highlight('@wraps(f)\ndef step(n: int) -> None:\n    return f"{n:>3} of {len(x)}" + 12  # now', "python"));
    expect(found).toMatchObject({ def: "keyword", step: "name", int: "type", "12": "number", "# now": "comment" });
    expect(kinds(highlight("+new\n-old", "diff"))).toEqual({ "+new": "added", "-old": "removed" });
  });

  it.each(["py", "Python", "ipython", "js", "ts", "tsx", "sh", "console", "c++", "rs", "html", "toml", "yml", "R"])("knows %s", (name) => {
    expect(highlight("x", name.toLowerCase())).not.toBeNull();
  });

  it.each(["", "klingon", "constructor", "__proto__", "<img src=x>"])("does not highlight %j", (name) => {
    expect(highlight("x", name)).toBeNull();
  });

  it("keeps every character of any code", () => {
    const pieces = fc.constantFrom("def ", "'", '"', "`", "${", "}", "/*", "*/", "//", "#", "\n", "<b>", "</b>", "&amp;", "\u0000", "🦊", "\ud800");
    const code = fc.array(fc.oneof(pieces, fc.string({ maxLength: 6 })), { maxLength: 30 }).map((parts) => parts.join(""));
    const language = fc.constantFrom("python", "javascript", "typescript", "xml", "bash", "cpp", "rust", "yaml", "sql", "diff");
    fc.assert(
      fc.property(code, language, (written, name) => {
        expect(text(highlight(written, name)!)).toBe(written);
      }),
      { numRuns: Number(process.env.BQWIDGET_RUNS ?? 500) },
    );
  });

  it.each(["python", "javascript", "xml", "cpp", "rust", "yaml", "sql", "bash", "r", "css"])(
    "of a long message in %s takes less than the time of a job",
    (name) => {
      for (const piece of ["(", '"', "a ", "/*", "<a ", "{ ", "f'{", "0.", "\\", "a: "]) {
        expect(cpuTime(() => highlight(piece.repeat(16_000 / piece.length), name)), piece).toBeLessThan(MAX_JOB_TICKS * TICK_MS);
      }
    },
  );

  it("does not highlight code that would be thousands of elements", () => {
    expect(highlight("1 + ".repeat(1_000), "python")).not.toBeNull();
    expect(highlight("1 + ".repeat(4_000), "python")).toBeNull();
  });
});

describe("a result", () => {
  it("can be posted from a worker, and is the same there", () => {
    const message = `# Title\n\n- [x] **done** [link](https://example.org)\n\n> quoted\n\n\`\`\`py\nx = 1\n\`\`\``;
    const tokens = runJob({ do: "parse", text: message });
    expect(structuredClone(tokens)).toEqual(tokenize(message));
    expect(tokens).not.toBeNull();
    expect(runJob({ do: "highlight", text: "x = 1", language: "py" })).toEqual(highlight("x = 1", "py"));
  });
});

const parsing = (text: string) => ({ do: "parse", text }) as const;

/** A worker that a test starts, and that answers when it says so. */
class FakeWorker {
  static last: FakeWorker;
  onmessage: (event: { data: unknown }) => void = () => undefined;
  postMessage = vi.fn();
  terminate = vi.fn();

  constructor() {
    FakeWorker.last = this;
  }
}

describe("the time of a job in a worker", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("Worker", FakeWorker);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("begins when the worker has started, which takes long on a busy computer", async () => {
    const client = new WorkerClient("the program");
    const { signal } = new AbortController();
    client.submit(parsing("*first*"), signal, () => undefined);
    await vi.advanceTimersByTimeAsync(20_000);
    const worker = FakeWorker.last;
    expect(client.cached(parsing("*first*"))).toBeUndefined();
    worker.onmessage({ data: STARTED });
    await vi.advanceTimersByTimeAsync((MAX_JOB_TICKS - 1) * TICK_MS);
    worker.onmessage({ data: ["its tokens"] });
    await vi.advanceTimersByTimeAsync(0);
    expect(client.cached(parsing("*first*"))).toEqual(["its tokens"]);
    client.submit(parsing("*endless*"), signal, () => undefined);
    await vi.advanceTimersByTimeAsync(MAX_JOB_TICKS * TICK_MS);
    expect(client.cached(parsing("*endless*"))).toBeNull();
    expect(worker.terminate).toHaveBeenCalledOnce();
  });
});

describe("without a worker", () => {
  const submitted = (client: WorkerClient, text: string): Promise<void> =>
    new Promise((done) => client.submit(parsing(text), new AbortController().signal, done));

  it("jobs run on the main thread, except aborted ones", async () => {
    const client = new WorkerClient("");
    const aborted = new AbortController();
    const unwanted = vi.fn();
    const first = submitted(client, "*first*");
    client.submit(parsing("*aborted*"), aborted.signal, unwanted);
    aborted.abort();
    await Promise.all([first, submitted(client, "*last*")]);
    expect(client.cached(parsing("*first*"))).toEqual(tokenize("*first*"));
    expect(client.cached(parsing("*last*"))).toEqual(tokenize("*last*"));
    expect(client.cached(parsing("*aborted*"))).toBeUndefined();
    expect(unwanted).not.toHaveBeenCalled();
  });

  it("the oldest results are evicted from the cache", async () => {
    const client = new WorkerClient("");
    for (let number = 0; number < 310; number += 1) await submitted(client, `*${number}*`);
    expect(client.cached(parsing("*0*"))).toBeUndefined();
    expect(client.cached(parsing("*309*"))).toBeDefined();
  });
});
