/** The room over HTTP: pages of messages, the raw log, and what a refusal means. */

import { asEntries, asMessages, isObject } from "../protocol/guards";
import type { Entry, Message } from "../protocol/frames";
import { Refused } from "./source";

/** The server answered with something else than a page. */
export class HttpRefusal extends Refused {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Milliseconds to wait, where the server said so. */
    readonly retryMs = 0,
  ) {
    super({ code, message });
  }
}

export class Rest {
  readonly #room: string;

  /** The room's address, without a slash at its end. */
  get room(): string {
    return this.#room;
  }

  /** `base` is the server's base URL, ending in a slash. */
  constructor(base: string, room: string) {
    this.#room = `${base}rooms/${encodeURIComponent(room)}`;
  }

  async page(before: number | null, limit: number): Promise<Message[]> {
    return asMessages(await this.#get("messages", { limit, ...(before === null ? {} : { before }) }));
  }

  async log(after: number, limit: number): Promise<Entry[]> {
    return asEntries(await this.#get("log", { after, limit }));
  }

  /** Why a WebSocket is not let in, or null where it is: a browser tells no script what its handshake was answered. */
  async knock(user: string): Promise<HttpRefusal | null> {
    try {
      await this.#get("join", user === "" ? {} : { user });
      return null;
    } catch (error) {
      return error instanceof HttpRefusal ? error : null;
    }
  }

  async #get(path: string, query: Readonly<Record<string, number | string>>): Promise<unknown> {
    const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    const answer = await fetch(`${this.#room}/${path}?${parameters}`, {
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(15_000),
    });
    const body: unknown = await answer.json().catch(() => null);
    if (!answer.ok) throw refusal(answer, body);
    return body;
  }
}

export function refusal({ status, headers }: Pick<Response, "status" | "headers">, body: unknown): HttpRefusal {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  const code = typeof error.code === "string" ? error.code : "http";
  const message = typeof error.message === "string" ? error.message : `The server answered ${status}`;
  return new HttpRefusal(status, code, message, 1_000 * (Number(headers.get("retry-after")) || 0));
}

/** Asking again won't change these. */
export const isFinal = (status: number): boolean => [400, 401, 403, 404].includes(status);
