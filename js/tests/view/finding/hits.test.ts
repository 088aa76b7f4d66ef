import { describe, expect, it } from "vitest";
import { snippet } from "../../../src/view/finding/hits";

const marked = (text: string, query: string): string =>
  snippet(text, query).map(({ text, hit }) => (hit ? `[${text}]` : text)).join("");

describe("a result", () => {
  it.each([
    ["The Loss of run 17", "loss RUN", "The [Loss] of [run] 17"],
    ["lossless, glossy, a loss", "loss", "[loss]less, glossy, a [loss]"],
    ["lossless, a loss of x", "loss x", "lossless, a [loss] of [x]"],
    ["Größe und résumé", "große resume", "[Größe] und [résumé]"],
    ["ＧＰＵ busy", "gpu", "[ＧＰＵ] busy"],
    ["我家在上海东边", "上海", "我家在[上海]东边"],
    ["🎉🎉 done 🎉", "done", "🎉🎉 [done] 🎉"],
    ["a\n\nb   loss", "loss", "a b [loss]"],
    ["<b>loss</b> & <img src=x onerror=alert(1)>", "loss onerror", "<b>[loss]</b> & <img src=x [onerror]=alert(1)>"],
    ["nothing here", "", "nothing here"],
    ["İstanbul ﬁne", "fine", "İstanbul [ﬁne]"],
    ["Łódź, Bjørn, Ærø", "lodz bjorn aero", "[Łódź], [Bjørn], [Ærø]"],
  ])("of %j for %j is %j", (text, query, expected) => {
    expect(marked(text, query)).toBe(expected);
  });

  it("begins a little before its first hit, and ends", () => {
    const text = `${"word ".repeat(100)}loss ${"tail ".repeat(100)}`;
    expect(marked(text, "loss")).toMatch(/^…(word ){6,8}\[loss\] (tail )+/);
    expect(marked(text, "loss").length).toBeLessThan(200);
    expect(marked("🎉".repeat(300), "x")).toBe(`${"🎉".repeat(90)}…`);
  });
});
