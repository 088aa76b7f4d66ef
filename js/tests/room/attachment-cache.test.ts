// @vitest-environment happy-dom
/** Attachments as addresses: fetched once and a few at a time, let go when nobody shows them, never a page's own. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { Media } from "../../src/room/attachment-cache";
import { TABLE, type Part } from "../../src/protocol/frames";

const part = (name: string, mime = "image/png", size = 10): Part => ({ mime, sha256: name.padEnd(64, "0"), size });
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

class Server {
  readonly asked: string[] = [];
  readonly answers: ((failing?: boolean) => void)[] = [];
  readonly media = new Media(
    ({ sha256 }) =>
      new Promise((resolve, reject) => {
        this.asked.push(sha256.replace(/0+$/, ""));
        this.answers.push((failing) => (failing ? reject(new Error("no")) : resolve(new Blob(["x"]))));
      }),
  );
}

afterEach(() => vi.restoreAllMocks());

describe("an attachment", () => {
  it("is fetched once for all who show it", async () => {
    const { media, asked, answers } = new Server();
    const first = media.hold(part("a"));
    const second = media.hold(part("a"));
    answers[0]!();
    expect(await first.address).toBe(await second.address);
    expect(await first.address).toMatch(/^blob:/);
    expect(asked).toEqual(["a"]);
  });

  it("that was put here is not fetched", async () => {
    const { media, asked } = new Server();
    media.seed(part("a"), new Blob(["x"]));
    expect(await media.hold(part("a")).address).toMatch(/^blob:/);
    expect(asked).toEqual([]);
  });

  it("waits for its turn behind three others", async () => {
    const { media, asked, answers } = new Server();
    for (const name of ["a", "b", "c", "d", "e"]) media.hold(part(name));
    expect(asked).toEqual(["a", "b", "c"]);
    answers[1]!();
    await later();
    expect(asked).toEqual(["a", "b", "c", "d"]);
    answers[0]!(true);
    await later();
    expect(asked).toEqual(["a", "b", "c", "d", "e"]);
  });

  it("that failed is fetched again by the next who asks", async () => {
    const { media, asked, answers } = new Server();
    const { address, release } = media.hold(part("a"));
    answers[0]!(true);
    await expect(address).rejects.toThrow("no");
    media.hold(part("a"));
    release();
    expect(asked).toEqual(["a", "a"]);
  });

  it("that is a page as well gets an address without an origin, and no picture gets none", async () => {
    const { media } = new Server();
    media.seed(part("a", "image/svg+xml"), new Blob(["<svg/>"]));
    media.seed(part("b", TABLE), new Blob(["{}"]));
    media.seed(part("c", "text/html"), new Blob(["<script>"]));
    expect(await media.hold(part("a", "image/svg+xml")).address).toBe(`data:image/svg+xml;base64,${btoa("<svg/>")}`);
    expect(await media.hold(part("b", TABLE)).address).toBe("");
    expect(await media.hold(part("c", "text/html")).address).toBe("");
  });
});

describe("memory", () => {
  it("keeps what is shown and 32 MB besides, the last used", async () => {
    const revoked = vi.spyOn(URL, "revokeObjectURL");
    const { media, asked } = new Server();
    const sizes = ["a", "b", "c", "d"].map((name) => part(name, "image/png", 15_000_000));
    for (const each of sizes) media.seed(each, new Blob(["x"]));
    const held = sizes.map((each) => media.hold(each));
    for (const each of held.slice(1)) each.release();
    await later();
    expect(revoked).toHaveBeenCalledTimes(1);
    for (const each of [sizes[0]!, sizes[2]!, sizes[3]!, sizes[1]!]) media.hold(each);
    expect(asked).toEqual(["b"]);
  });

  it("is given back with the room", async () => {
    const revoked = vi.spyOn(URL, "revokeObjectURL");
    const { media } = new Server();
    media.seed(part("a"), new Blob(["x"]));
    const address = await media.hold(part("a")).address;
    media.stop();
    await later();
    expect(revoked).toHaveBeenCalledWith(address);
  });
});
