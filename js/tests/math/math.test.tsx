// @vitest-environment happy-dom
/** Formulas: found in a text by their dollars, rendered as MathML of an allow-list. */

import fc from "fast-check";
import { render } from "preact";
import { describe, expect, it } from "vitest";
import { runJob } from "../../src/math";
import { mathElement } from "../../src/view/markdown/mathml";
import type { MathTree } from "../../src/worker/jobs";
import { tokenize } from "../../src/worker/tokenize";
import { cpuTime } from "../support/cpu-time";
import { FORMULAS } from "./formulas";

const all = Object.values(FORMULAS).flat();
const tree = (text: string, display = true): MathTree | null => runJob({ do: "math", text, display });
const ATTRIBUTE =
  /^(class|style|display|mathvariant|lspace|rspace|stretchy|fence|form|symmetric|minsize|maxsize|movablelimits|largeop|separator|accent|notation|linethickness|displaystyle|scriptlevel|mathsize|width|height|depth|voffset|mathbackground|mathcolor)$/;

// happy-dom has no style of other elements than HTML's.
Object.defineProperty(Element.prototype, "style", { get: () => ({}), configurable: true });

function draw(found: MathTree): HTMLElement {
  const root = document.createElement("div");
  render(<>{mathElement(found)}</>, root);
  return root;
}

/** The formulas that are found in `text`; those of a block of their own end with "!". */
const found = (text: string): string[] => {
  const formulas: string[] = [];
  JSON.stringify(tokenize(text), (_, value: unknown) => {
    const token = value as { type?: string; text?: string; display?: boolean } | null;
    if (token?.type === "math") formulas.push(`${token.text}${token.display ? "!" : ""}`);
    return value;
  });
  return formulas;
};

describe("a formula", () => {
  it("is at least 200 formulas", () => expect(all.length).toBeGreaterThanOrEqual(200));

  it.each(all)("%s is rendered", (formula) => {
    const root = draw(tree(formula)!);
    expect(root.firstElementChild?.localName).toBe("math");
    expect(root.querySelector("mi, mo, mn, mtext, mspace")).not.toBeNull();
    for (const element of root.querySelectorAll("*")) {
      expect(element.localName).toMatch(/^(math|m[a-z]+)$/);
      for (const { name } of element.attributes) expect(name).toMatch(ATTRIBUTE);
    }
  });

  it.each(["\\frac{", "\\nosuchcommand", "a^b^c", "\\begin{foo}x\\end{foo}", "{".repeat(4_000), "x".repeat(6_000)])(
    "%.20s is shown as it was written",
    (formula) => expect(tree(formula)).toBeNull(),
  );

  it.each([
    ...["\\href{javascript:alert(1)}{x}", "\\url{javascript:alert(1)}", "\\includegraphics{https://evil.example/x.png}", "\\class{bq-send}{x}"],
    ...["\\id{bqwidget}{x}", "\\style{position:fixed}{x}", "\\data{a=b}{x}", "\\htmlClass{a}{x}", "\\htmlStyle{color:red}{x}", "\\htmlData{a=b}{x}"],
    ...["\\text{<img src=x onerror=alert(1)>}", "\\text{</math><script>alert(1)</script>}", "\\def\\x{\\x\\x}\\x", "\\rule{9999em}{9999em}", "\\color{url(x)}{y}"],
  ])("%s is harmless", (formula) => {
    const result = tree(formula);
    if (result === null) return;
    const root = draw(result);
    expect(root.querySelector("a, img, script, iframe, form, svg")).toBeNull();
    for (const element of root.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name).toMatch(ATTRIBUTE);
        expect(value).not.toMatch(/javascript|bq-|url\(|9999/);
      }
    }
  });

  it("never takes long", () => {
    const pieces = fc.constantFrom(...["{", "}", "\\frac", "^", "_", "\\left(", "\\begin{matrix}", "&", "\\\\", "\\sqrt", "x", "\\def\\a{\\a\\a}", "\\a", "\\text{", "#1"]);
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 400 }), (parts) => {
        expect(cpuTime(() => tree(parts.join("")))).toBeLessThan(2_000);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a text", () => {
  it.each<[string, string[]]>([
    ["$x$ and $y_1 * z_2$", ["x", "y_1 * z_2"]],
    ["the $n$th, $k$-NN, ($p$), $p$.", ["n", "k", "p", "p"]],
    ["\\(a+b\\) and \\[c\\]", ["a+b", "c!"]],
    ["$$\na &= b \\\\\n- c\n$$", ["a &= b \\\\\n- c!"]],
    ["text\n\\[\n# x\n\\]\nmore", ["# x!"]],
    ["so $$x$$ it is", ["x!"]],
    ["```math\n\\frac12\n```", ["\\frac12!"]],
    ["$`a_b`$", ["a_b"]],
    ["*a $x*y$ b*", ["x*y"]],
    ["| $x$ |\n|---|\n| $y$ |", ["x", "y"]],
    ["- $x$\n- $y$\n\n# $z$\n\n> $w$", ["x", "y", "z", "w"]],
    ["$x = 2$ holds\n\n$$y = \\frac12$$ too", ["x = 2", "y = \\frac12!"]],
    ["$5 and $10", []],
    ["US$5, US$10; 5$ and 10$", []],
    ["$HOME/$USER, $A$B, ${a}/${b}, $(ls) $(pwd)", []],
    ["it costs $5, or 10$ each", []],
    ["\\$x\\$ and `$x$`", []],
    ["$ x $ and $x $", []],
    ["$x\n\ny$", []],
    ["a \\(foo\\)* and \\[0-9\\]\\+ and \\(\\d\\)", []],
  ])("%j has the formulas %j", (text, formulas) => {
    expect(found(text)).toEqual(formulas);
  });
});
