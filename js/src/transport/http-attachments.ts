/** Attachments over HTTP: from the page's own server, with the page's own cookie. */

import { asPart } from "../protocol/guards";
import type { Part } from "../protocol/frames";
import { Refused } from "./source";
import { refusal } from "./http-client";

const UNREACHABLE = { code: "unreachable", message: "The server can't be reached just now: try again" };

/** `room` is the address of the room, without a slash at its end. */
export async function fetchPart(room: string, sha256: string, signal: AbortSignal): Promise<Blob> {
  const answer = await fetch(`${room}/parts/${sha256}`, { signal }).catch(unreachable);
  if (!answer.ok) throw refusal(answer, await answer.json().catch(() => null));
  return await answer.blob();
}

/** Not `fetch`, which tells nothing of how far it is. */
export function putPart(
  room: string,
  file: Blob,
  mime: string,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<Part> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${room}/parts`);
    request.setRequestHeader("content-type", mime);
    // Inside Jupyter, whose cookie comes with every request of the browser's, this says that the page sent it.
    const xsrf = cookie("_xsrf");
    if (xsrf !== null) request.setRequestHeader("x-xsrftoken", xsrf);
    request.upload.onprogress = ({ loaded, total }) => progress(total > 0 ? loaded / total : 0);
    request.onload = () => {
      const body = parse(request.responseText);
      const part = request.status === 201 ? asPart(body) : null;
      if (part !== null) return resolve(part);
      const headers = new Headers({ "retry-after": request.getResponseHeader("retry-after") ?? "" });
      reject(refusal({ status: request.status, headers }, body));
    };
    request.onerror = () => reject(new Refused(UNREACHABLE));
    request.onabort = () => reject(new DOMException("removed", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function unreachable(error: unknown): never {
  if (error instanceof DOMException && error.name === "AbortError") throw error;
  throw new Refused(UNREACHABLE);
}

function cookie(name: string): string | null {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  return found === undefined ? null : decodeURIComponent(found.slice(name.length + 1));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
