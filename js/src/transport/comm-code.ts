/** Loads a program from the kernel, as the loader loads the view. */

import { isObject } from "../protocol/schema";
import type { Model } from "./comm-commands";

const TIMEOUT_MS = 30_000;

/** The text of the program `name`, of the kernel's version. Rejects if no kernel answers in time. */
export function fetchCode(model: Model, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const receive = (content: unknown, buffers: readonly DataView[] = []): void => {
      const [program] = buffers;
      if (!isObject(content) || content.name !== name || typeof content.code !== "string" || program === undefined) return;
      end();
      resolve(new TextDecoder().decode(program));
    };
    const end = (): void => {
      clearTimeout(timer);
      model.off("msg:custom", receive);
    };
    const timer = setTimeout(() => {
      end();
      reject(new Error(`no kernel has sent ${name}`));
    }, TIMEOUT_MS);
    model.on("msg:custom", receive);
    try {
      model.send({ do: "code", name });
    } catch {
      end();
      reject(new Error("the comm is closed"));
    }
  });
}
