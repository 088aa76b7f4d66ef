/** Loads a program from the kernel, as the loader loads the view. */

import { isObject } from "../../protocol/schema";
import type { Model } from "./commands";

const TIMEOUT_MS = 30_000;
/** A busy kernel answers all requests when it is idle again, so they are few. */
const MIN_RESEND_INTERVAL_MS = 300_000;

interface CodeRequest {
  /** The answer, however late. */
  readonly answer: Promise<string>;
  sentAt: number;
}

const requests = new WeakMap<Model, Map<string, CodeRequest>>();

/** The text of the program `name`, of the kernel's version. Rejects if no kernel answers in time, or the comm is closed. */
export async function fetchCode(model: Model, name: string): Promise<string> {
  const known = requests.get(model) ?? new Map<string, CodeRequest>();
  requests.set(model, known);
  const request = known.get(name) ?? { answer: answerTo(model, name), sentAt: -Infinity };
  known.set(name, request);
  if (Date.now() - request.sentAt >= MIN_RESEND_INTERVAL_MS) {
    Promise.resolve(model.send({ do: "code", name })).catch(() => undefined); // the time runs out
    request.sentAt = Date.now();
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no kernel has sent ${name}`)), TIMEOUT_MS);
  });
  return Promise.race([request.answer, timeout]).finally(() => clearTimeout(timer));
}

const answerTo = (model: Model, name: string): Promise<string> =>
  new Promise((resolve) => {
    const receive = (content: unknown, buffers: readonly DataView[] = []): void => {
      const [program] = buffers;
      if (!isObject(content) || content.name !== name || typeof content.code !== "string" || program === undefined) return;
      model.off("msg:custom", receive);
      resolve(new TextDecoder().decode(program));
    };
    model.on("msg:custom", receive);
  });
