/** Attachments in chunks: complete and in order, even if the comm loses replies. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { fetchInChunks, uploadInChunks, type ChunkCommand, type Reply } from "../../../src/transport/comm/attachments";

const ATTACHMENT = { mime: "image/png", sha256: "0".repeat(64), size: 5 };
const running = (): AbortSignal => new AbortController().signal;
const bytes = (...values: number[]): DataView => new DataView(new Uint8Array(values).buffer);
const reply = (envelope: Reply["envelope"], ...buffers: DataView[]): Promise<Reply> =>
  Promise.resolve({ envelope, buffers });

afterEach(() => vi.useRealTimers());

describe("downloading", () => {
  it("joins the chunks, also if they are views into larger buffers", async () => {
    const whole = bytes(9, 9, 1, 2, 3, 4, 5);
    const requested: ChunkCommand[] = [];
    const blob = await fetchInChunks(
      (command) => {
        requested.push(command);
        return reply({ part: { size: 5, at: command.at } }, new DataView(whole.buffer, 2 + command.at, command.at ? 2 : 3));
      },
      "abc",
      running(),
    );
    expect([...new Uint8Array(await blob.arrayBuffer())]).toEqual([1, 2, 3, 4, 5]);
    expect(requested).toEqual([
      { do: "part", sha256: "abc", at: 0 },
      { do: "part", sha256: "abc", at: 3 },
    ]);
  });

  it("requests a chunk again whose reply is lost, and gives up after the third attempt", async () => {
    vi.useFakeTimers();
    let attempts = 0;
    const silent = (): Promise<Reply> => {
      attempts += 1;
      return new Promise(() => undefined);
    };
    const failure = expect(fetchInChunks(silent, "abc", running())).rejects.toThrow("transfer failed");
    await vi.advanceTimersByTimeAsync(100_000);
    await failure;
    expect(attempts).toBe(3);
    attempts = 0;
    const late = fetchInChunks(
      () => (attempts === 0 ? silent() : reply({ part: { size: 1, at: 0 } }, bytes(7))),
      "abc",
      running(),
    );
    await vi.advanceTimersByTimeAsync(31_000);
    expect((await late).size).toBe(1);
  });

  it.each([
    ["no bytes", { part: { size: 5, at: 0 } }, []],
    ["an empty chunk", { part: { size: 5, at: 0 } }, [bytes()]],
    ["another position", { part: { size: 5, at: 3 } }, [bytes(1)]],
    ["no header", {}, [bytes(1)]],
  ])("rejects a reply with %s", async (_, envelope, buffers) => {
    await expect(fetchInChunks(() => reply(envelope, ...buffers), "abc", running())).rejects.toThrow("transfer failed");
  });

  it("ends when it is aborted", async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(fetchInChunks(() => reply({}), "abc", stop.signal)).rejects.toThrow();
  });
});

describe("uploading", () => {
  it("sends one chunk after the other, and reports the progress", async () => {
    const file = new Blob([new Uint8Array(1_200_000).fill(7)]);
    const sent: number[] = [];
    const fractions: number[] = [];
    let open = 0;
    const attachment = await uploadInChunks(
      async (command, buffer) => {
        open += 1;
        expect(open).toBe(1);
        sent.push(command.at, buffer!.byteLength);
        await Promise.resolve();
        open -= 1;
        return reply({ stored: command.at + buffer!.byteLength === file.size ? ATTACHMENT : null });
      },
      file,
      "image/png",
      (fraction) => fractions.push(fraction),
      running(),
    );
    expect(attachment).toEqual(ATTACHMENT);
    expect(sent).toEqual([0, 524_288, 524_288, 524_288, 1_048_576, 151_424]);
    expect(fractions.at(-1)).toBe(1);
  });

  it("ends with the kernel's error, and when it is aborted", async () => {
    const file = new Blob(["12345"]);
    const reject = (): Promise<Reply> => Promise.reject(new Error("too big"));
    await expect(uploadInChunks(reject, file, "image/png", () => undefined, running())).rejects.toThrow("too big");
    const stop = new AbortController();
    const aborting = (): Promise<Reply> => {
      stop.abort();
      return reply({ stored: ATTACHMENT });
    };
    await expect(uploadInChunks(aborting, file, "image/png", () => undefined, stop.signal)).rejects.toThrow();
  });
});
