/** Attachments over HTTP, from the server that served the page, with its session cookie. */

import type { Attachment } from "../../protocol/attachments";
import { RequestError } from "../../protocol/errors";
import { asAttachment } from "../../protocol/guards";
import { parseJson } from "../../protocol/schema";
import { HttpError, httpError, xsrfHeader } from "./client";
import type { OnProgress } from "../source";

const UNREACHABLE = { code: "unreachable", message: "The server cannot be reached: try again" };

/** `roomUrl` has no slash at its end. */
export async function fetchAttachment(roomUrl: string, sha256: string, signal: AbortSignal): Promise<Blob> {
  const response = await fetch(`${roomUrl}/parts/${sha256}`, { signal }).catch(throwUnreachable);
  if (!response.ok) throw httpError(response, await response.json().catch(() => null));
  return await response.blob();
}

/** Repeats it while the server has no room for it, as when a whole class uploads at once. */
export async function uploadAttachment(
  roomUrl: string,
  file: Blob,
  mime: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Attachment> {
  for (;;) {
    try {
      return await uploadOnce(roomUrl, file, mime, onProgress, signal);
    } catch (error) {
      if (!(error instanceof HttpError && error.code === "overload")) throw error;
      await pause(error.retryAfterMs, signal);
    }
  }
}

/** With XMLHttpRequest, because `fetch` does not report the progress of an upload. */
function uploadOnce(
  roomUrl: string,
  file: Blob,
  mime: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Attachment> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${roomUrl}/parts`);
    request.setRequestHeader("content-type", mime);
    for (const [name, value] of Object.entries(xsrfHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    request.onload = () => {
      const body = parseJson(request.responseText);
      const attachment = request.status === 201 ? asAttachment(body) : null;
      if (attachment !== null) return resolve(attachment);
      const headers = new Headers({ "retry-after": request.getResponseHeader("retry-after") ?? "" });
      reject(httpError({ status: request.status, headers }, body));
    };
    request.onerror = () => reject(new RequestError(UNREACHABLE));
    request.onabort = () => reject(aborted());
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

const aborted = (): DOMException => new DOMException("removed", "AbortError");

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(aborted());
    });
  });
}

function throwUnreachable(error: unknown): never {
  if (error instanceof DOMException && error.name === "AbortError") throw error;
  throw new RequestError(UNREACHABLE);
}
