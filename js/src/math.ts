/** The program that turns formulas into MathML: a worker's, which is loaded with the first formula. See js/README.md. */

/*! Temml, MIT License, Copyright (c) 2020 Ron Kok */
import temml from "temml";
import { STARTED, type Job, type MathTree } from "./worker/jobs";

/** Longer formulas, and those of more elements, are shown as they were written. */
const MAX_CHARACTERS = 5_000;
const MAX_ELEMENTS = 5_000;

/** A node of Temml's tree. */
interface TemmlNode {
  readonly type?: string;
  readonly text?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly style?: Readonly<Record<string, unknown>>;
  readonly classes?: readonly string[];
  readonly children?: readonly TemmlNode[] | TemmlNode;
}

interface Temml {
  __renderToMathMLTree(text: string, options: Readonly<Record<string, unknown>>): TemmlNode;
}

/** Null for a formula that TeX would not accept. */
export function runJob(job: Job): MathTree | null {
  if (job.do !== "math" || job.text.length > MAX_CHARACTERS) return null;
  try {
    // Without `trust` there are no links, images, classes or styles of the author's choice.
    const options = { displayMode: job.display, throwOnError: true, trust: false };
    let left = MAX_ELEMENTS;
    const plain = (node: TemmlNode): MathTree[] => {
      if (typeof node.text === "string") return [node.text];
      if ((left -= 1) < 0) throw new RangeError("too many elements");
      const children = [node.children ?? []].flat().flatMap(plain);
      // A fragment, or a part that is no MathML, such as the number of an equation.
      if (node.type === undefined) return node.attributes === undefined ? children : [];
      const attributes = { ...texts(node.attributes), ...(node.classes?.length ? { class: node.classes.join(" ") } : {}) };
      return [[node.type, attributes, texts(node.style), children]];
    };
    return plain((temml as unknown as Temml).__renderToMathMLTree(job.text, options))[0] ?? null;
  } catch {
    return null;
  }
}

const texts = (values: Readonly<Record<string, unknown>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));

if ("WorkerGlobalScope" in globalThis) {
  addEventListener("message", ({ data }: MessageEvent<Job>) => postMessage(runJob(data)));
  postMessage(STARTED);
}
