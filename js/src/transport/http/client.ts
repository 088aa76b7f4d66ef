/** The room over HTTP: pages of messages, the raw log, and the reason for a rejected join. */

import type { PagePosition } from "../../model/state";
import type { Entry, Message } from "../../protocol/entries";
import { RequestError, UNREADABLE } from "../../protocol/errors";
import { asEntries, asMessages, asModeration } from "../../protocol/guards";
import type { Moderation, Order } from "../../protocol/moderation";
import { isObject } from "../../protocol/schema";

const REQUEST_TIMEOUT_MS = 15_000;
/** The first search of a large room builds its index. */
const SEARCH_TIMEOUT_MS = 120_000;

type Query = Readonly<Record<string, number | string>>;

/** The server answered with an error. */
export class HttpError extends RequestError {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** From `Retry-After`; 0 without it. */
    readonly retryAfterMs = 0,
  ) {
    super({ code, message });
  }
}

export class HttpClient {
  /** Without a slash at its end. */
  readonly roomUrl: string;

  /** `base` is the server's base URL, ending in a slash. */
  constructor(base: string, room: string) {
    this.roomUrl = `${base}rooms/${encodeURIComponent(room)}`;
  }

  async fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    return asMessages(await this.#get("messages", { limit, ...position }));
  }

  async search(words: string, limit: number, signal: AbortSignal): Promise<Message[]> {
    return asMessages(await this.#get("search", { q: words, limit }, AbortSignal.any([signal, AbortSignal.timeout(SEARCH_TIMEOUT_MS)])));
  }

  async fetchLog(after: number, limit: number): Promise<Entry[]> {
    return asEntries(await this.#get("log", { after, limit }));
  }

  /** Why the server rejects a join, or null if it does not: browsers hide the HTTP answer to a WebSocket handshake. */
  async checkJoin(user: string): Promise<HttpError | null> {
    try {
      await this.#get("join", user === "" ? {} : { user });
      return null;
    } catch (error) {
      return error instanceof HttpError ? error : null;
    }
  }

  async moderate(order: Order | null): Promise<Moderation> {
    const url = `${this.roomUrl}/moderation`;
    if (order !== null) await postJson(url, order);
    return asModeration(await fetchJson(url)) ?? Promise.reject(new RequestError(UNREADABLE));
  }

  #get(path: string, query: Query, signal?: AbortSignal): Promise<unknown> {
    return fetchJson(`${this.roomUrl}/${path}`, query, signal);
  }
}

/** Rejects with HttpError. */
export async function fetchJson(url: string, query: Query = {}, signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)): Promise<unknown> {
  const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const response = await fetch(`${url}?${parameters}`, {
    headers: { accept: "application/json" },
    signal,
  });
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw httpError(response, body);
  return body;
}

/** Returns null if the answer is empty. Rejects with HttpError. */
export async function postJson(url: string, body: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...xsrfHeader() },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) throw httpError(response, answer);
  return answer;
}

/** Jupyter Server requires its XSRF token in addition to the cookie: it proves that a page of the same origin sent this. */
export function xsrfHeader(): Readonly<Record<string, string>> {
  const found = document.cookie.split("; ").find((each) => each.startsWith("_xsrf="));
  return found === undefined ? {} : { "x-xsrftoken": decodeURIComponent(found.slice("_xsrf=".length)) };
}

export function httpError({ status, headers }: Pick<Response, "status" | "headers">, body: unknown): HttpError {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  const code = typeof error.code === "string" ? error.code : "http";
  const message = typeof error.message === "string" ? error.message : `The server answered ${status}`;
  return new HttpError(status, code, message, 1_000 * (Number(headers.get("retry-after")) || 0));
}

/** Whether a retry would get the same answer. */
export const isPermanent = (status: number): boolean => [400, 401, 403, 404].includes(status);
