/** What the worker does: code cut into runs that are the code again, Markdown into data that can be posted. */

import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { highlight, type Run } from "../../src/worker/highlight";
import { parse } from "../../src/worker/tokenize";
import { Offload } from "../../src/worker/worker-client";
import { work } from "../../src/worker/worker";

const text = (runs: readonly Run[]): string => runs.map((run) => (typeof run === "string" ? run : run[1])).join("");
const kinds = (runs: readonly Run[] | null): Record<string, string> =>
  Object.fromEntries((runs ?? []).filter((run) => typeof run !== "string").map(([kind, part]) => [part, kind]));

describe("highlighting", () => {
  it("tells the kinds of code apart", () => {
    const found = kinds(highlight('@wraps(f)\ndef step(n: int) -> None:\n    return f"{n:>3} of {len(x)}" + 12  # now', "python"));
    expect(found).toMatchObject({ def: "keyword", step: "name", int: "type", "12": "number", "# now": "comment" });
    expect(kinds(highlight("+new\n-old", "diff"))).toEqual({ "+new": "added", "-old": "removed" });
  });

  it.each(["py", "Python", "ipython", "js", "ts", "tsx", "sh", "console", "c++", "rs", "html", "toml", "yml", "R"])("knows %s", (name) => {
    expect(highlight("x", name.toLowerCase())).not.toBeNull();
  });

  it.each(["", "klingon", "constructor", "__proto__", "<img src=x>"])("leaves %j as it is", (name) => {
    expect(highlight("x", name)).toBeNull();
  });

  it("loses no letter and adds none, whatever is written", () => {
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
    "takes no time over the longest message in %s",
    (name) => {
      for (const piece of ["(", '"', "a ", "/*", "<a ", "{ ", "f'{", "0.", "\\", "a: "]) {
        const start = performance.now();
        highlight(piece.repeat(16_000 / piece.length), name);
        expect(performance.now() - start, piece).toBeLessThan(2_000);
      }
    },
  );

  it("shows code that would be thousands of elements as it is", () => {
    expect(highlight("1 + ".repeat(1_000), "python")).not.toBeNull();
    expect(highlight("1 + ".repeat(4_000), "python")).toBeNull();
  });
});

describe("an answer", () => {
  it("is data that can be posted from a worker, and the same there", () => {
    const message = `# Title\n\n- [x] **done** [link](https://example.org)\n\n> quoted\n\n\`\`\`py\nx = 1\n\`\`\``;
    const tokens = work({ do: "parse", text: message });
    expect(structuredClone(tokens)).toEqual(parse(message));
    expect(tokens).not.toBeNull();
    expect(work({ do: "highlight", text: "x = 1", language: "py" })).toEqual(highlight("x = 1", "py"));
  });
});

describe("where there is no worker", () => {
  const parsing = (text: string) => ({ do: "parse", text }) as const;
  const asked = (offload: Offload, text: string): Promise<void> =>
    new Promise((done) => offload.ask(parsing(text), new AbortController().signal, done));

  it("the work is done all the same, but none that nobody waits for any more", async () => {
    const offload = new Offload("");
    const gone = new AbortController();
    const unwanted = vi.fn();
    const first = asked(offload, "*first*");
    offload.ask(parsing("*gone*"), gone.signal, unwanted);
    gone.abort();
    await Promise.all([first, asked(offload, "*last*")]);
    expect(offload.known(parsing("*first*"))).toEqual(parse("*first*"));
    expect(offload.known(parsing("*last*"))).toEqual(parse("*last*"));
    expect(offload.known(parsing("*gone*"))).toBeUndefined();
    expect(unwanted).not.toHaveBeenCalled();
  });

  it("the answers of long ago are forgotten", async () => {
    const offload = new Offload("");
    for (let number = 0; number < 310; number += 1) await asked(offload, `*${number}*`);
    expect(offload.known(parsing("*0*"))).toBeUndefined();
    expect(offload.known(parsing("*309*"))).toBeDefined();
  });
});
