// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { uploadAttachment } from "../../../src/transport/http/attachments";

const PART = { mime: "image/png", sha256: "0".repeat(64), size: 3 };
const OVERLOAD = [503, JSON.stringify({ error: { code: "overload", message: "try again" } })] as const;
const BROKEN = [503, JSON.stringify({ error: { code: "unavailable", message: "the disk is full" } })] as const;

let answers: (readonly [number, string])[];
let sent: number;

class FakeRequest {
  upload = {};
  status = 0;
  responseText = "";
  onload = vi.fn<() => void>();
  open = vi.fn();
  abort = vi.fn();
  setRequestHeader = vi.fn();
  getResponseHeader = (): string => "2";
  send(): void {
    sent += 1;
    [this.status, this.responseText] = answers.shift() ?? [201, JSON.stringify(PART)];
    queueMicrotask(() => this.onload());
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("XMLHttpRequest", FakeRequest);
  sent = 0;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const upload = (signal = new AbortController().signal) => uploadAttachment("/rooms/lobby", new Blob(["abc"]), "image/png", vi.fn(), signal);

test("an upload that the server has no room for is repeated when the server says", async () => {
  answers = [OVERLOAD, OVERLOAD];
  const done = upload();
  await vi.advanceTimersByTimeAsync(1_999);
  expect(sent).toBe(1);
  await vi.advanceTimersByTimeAsync(2_001);
  expect(await done).toEqual(PART);
  expect(sent).toBe(3);
});

test("an upload that was removed is not repeated", async () => {
  answers = [OVERLOAD];
  const abort = new AbortController();
  const done = expect(upload(abort.signal)).rejects.toThrow("removed");
  await vi.advanceTimersByTimeAsync(1_000);
  abort.abort();
  await vi.advanceTimersByTimeAsync(2_000);
  await done;
  expect(sent).toBe(1);
});

test("another error is shown at once", async () => {
  answers = [BROKEN];
  await expect(upload()).rejects.toThrow("the disk is full");
});
