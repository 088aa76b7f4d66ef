/** Attachments in pieces: whole and in order, whatever a comm loses on the way. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { fetchInPieces, putInPieces, type PieceCommand, type Reply } from "../../src/transport/comm-attachments";

const PART = { mime: "image/png", sha256: "0".repeat(64), size: 5 };
const running = (): AbortSignal => new AbortController().signal;
const bytes = (...values: number[]): DataView => new DataView(new Uint8Array(values).buffer);
const reply = (envelope: Reply["envelope"], ...buffers: DataView[]): Promise<Reply> =>
  Promise.resolve({ envelope, buffers });

afterEach(() => vi.useRealTimers());

describe("fetching", () => {
  it("puts the pieces together, views into larger buffers too", async () => {
    const whole = bytes(9, 9, 1, 2, 3, 4, 5);
    const asked: PieceCommand[] = [];
    const blob = await fetchInPieces(
      (command) => {
        asked.push(command);
        return reply({ part: { size: 5, at: command.at } }, new DataView(whole.buffer, 2 + command.at, command.at ? 2 : 3));
      },
      "abc",
      running(),
    );
    expect([...new Uint8Array(await blob.arrayBuffer())]).toEqual([1, 2, 3, 4, 5]);
    expect(asked).toEqual([
      { do: "part", sha256: "abc", at: 0 },
      { do: "part", sha256: "abc", at: 3 },
    ]);
  });

  it("asks again for a piece whose answer is lost, and gives up after the third", async () => {
    vi.useFakeTimers();
    let tries = 0;
    const silent = (): Promise<Reply> => {
      tries += 1;
      return new Promise(() => undefined);
    };
    const given = expect(fetchInPieces(silent, "abc", running())).rejects.toThrow("did not arrive");
    await vi.advanceTimersByTimeAsync(100_000);
    await given;
    expect(tries).toBe(3);
    tries = 0;
    const late = fetchInPieces(
      () => (tries === 0 ? silent() : reply({ part: { size: 1, at: 0 } }, bytes(7))),
      "abc",
      running(),
    );
    await vi.advanceTimersByTimeAsync(31_000);
    expect((await late).size).toBe(1);
  });

  it.each([
    ["no bytes", { part: { size: 5, at: 0 } }, []],
    ["an empty piece", { part: { size: 5, at: 0 } }, [bytes()]],
    ["another place", { part: { size: 5, at: 3 } }, [bytes(1)]],
    ["nothing told", {}, [bytes(1)]],
  ])("takes no answer with %s", async (_, envelope, buffers) => {
    await expect(fetchInPieces(() => reply(envelope, ...buffers), "abc", running())).rejects.toThrow("did not arrive");
  });

  it("ends when nobody shows it any more", async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(fetchInPieces(() => reply({}), "abc", stop.signal)).rejects.toThrow();
  });
});

describe("putting", () => {
  it("sends one piece after the other and tells how far it is", async () => {
    const file = new Blob([new Uint8Array(1_200_000).fill(7)]);
    const got: number[] = [];
    const shares: number[] = [];
    let open = 0;
    const part = await putInPieces(
      async (command, buffer) => {
        open += 1;
        expect(open).toBe(1);
        got.push(command.at, buffer!.byteLength);
        await Promise.resolve();
        open -= 1;
        return reply({ stored: command.at + buffer!.byteLength === file.size ? PART : null });
      },
      file,
      "image/png",
      (share) => shares.push(share),
      running(),
    );
    expect(part).toEqual(PART);
    expect(got).toEqual([0, 524_288, 524_288, 524_288, 1_048_576, 151_424]);
    expect(shares.at(-1)).toBe(1);
  });

  it("ends with what the kernel refused, and when it is taken back", async () => {
    const file = new Blob(["12345"]);
    const refuse = (): Promise<Reply> => Promise.reject(new Error("too big"));
    await expect(putInPieces(refuse, file, "image/png", () => undefined, running())).rejects.toThrow("too big");
    const stop = new AbortController();
    const taken = (): Promise<Reply> => {
      stop.abort();
      return reply({ stored: PART });
    };
    await expect(putInPieces(taken, file, "image/png", () => undefined, stop.signal)).rejects.toThrow();
  });
});
