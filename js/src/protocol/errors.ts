/** What the requests of a `Source` reject with. */

import type { ErrorInfo } from "./server-frames";

export const UNREADABLE: ErrorInfo = { code: "unreadable", message: "The server's answer cannot be read" };

/** A request that the server or the kernel rejected, or that did not reach it. */
export class RequestError extends Error {
  constructor(readonly info: ErrorInfo) {
    super(info.message);
  }
}

/** A page that no retry will bring: the source does not have it, or may not read it. */
export class PageUnavailableError extends Error {}
