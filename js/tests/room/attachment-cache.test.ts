// @vitest-environment happy-dom
/** The attachment cache: fetches once and a few at a time, evicts unused attachments, gives only safe URLs. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { TABLE_TYPE, type Attachment } from "../../src/protocol/attachments";
import { AttachmentCache } from "../../src/room/attachment-cache";

const attachment = (name: string, mime = "image/png", size = 10): Attachment => ({ mime, sha256: name.padEnd(64, "0"), size });
const nextTick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

class Server {
  readonly requested: string[] = [];
  readonly respond: ((failing?: boolean) => void)[] = [];
  readonly cache = new AttachmentCache(
    ({ sha256 }) =>
      new Promise((resolve, reject) => {
        this.requested.push(sha256.replace(/0+$/, ""));
        this.respond.push((failing) => (failing ? reject(new Error("no")) : resolve(new Blob(["x"]))));
      }),
  );
}

afterEach(() => vi.restoreAllMocks());

describe("an attachment", () => {
  it("is fetched once for all handles", async () => {
    const { cache, requested, respond } = new Server();
    const first = cache.acquire(attachment("a"));
    const second = cache.acquire(attachment("a"));
    respond[0]!();
    expect(await first.url).toBe(await second.url);
    expect(await first.url).toMatch(/^blob:/);
    expect(requested).toEqual(["a"]);
  });

  it("that was uploaded here is not fetched", async () => {
    const { cache, requested } = new Server();
    cache.seed(attachment("a"), new Blob(["x"]));
    expect(await cache.acquire(attachment("a")).url).toMatch(/^blob:/);
    expect(requested).toEqual([]);
  });

  it("waits while three others are being fetched", async () => {
    const { cache, requested, respond } = new Server();
    for (const name of ["a", "b", "c", "d", "e"]) cache.acquire(attachment(name));
    expect(requested).toEqual(["a", "b", "c"]);
    respond[1]!();
    await nextTick();
    expect(requested).toEqual(["a", "b", "c", "d"]);
    respond[0]!(true);
    await nextTick();
    expect(requested).toEqual(["a", "b", "c", "d", "e"]);
  });

  it("that failed is fetched again for the next handle", async () => {
    const { cache, requested, respond } = new Server();
    const { url, release } = cache.acquire(attachment("a"));
    respond[0]!(true);
    await expect(url).rejects.toThrow("no");
    cache.acquire(attachment("a"));
    release();
    expect(requested).toEqual(["a", "a"]);
  });

  it("that is SVG gets a URL without an origin; one that is not an image gets none", async () => {
    const { cache } = new Server();
    cache.seed(attachment("a", "image/svg+xml"), new Blob(["<svg/>"]));
    cache.seed(attachment("b", TABLE_TYPE), new Blob(["{}"]));
    cache.seed(attachment("c", "text/html"), new Blob(["<script>"]));
    expect(await cache.acquire(attachment("a", "image/svg+xml")).url).toBe(`data:image/svg+xml;base64,${btoa("<svg/>")}`);
    expect(await cache.acquire(attachment("b", TABLE_TYPE)).url).toBe("");
    expect(await cache.acquire(attachment("c", "text/html")).url).toBe("");
  });
});

describe("memory", () => {
  it("holds the attachments in use, and the last used 32 MB of the others", async () => {
    const revoked = vi.spyOn(URL, "revokeObjectURL");
    const { cache, requested } = new Server();
    const sizes = ["a", "b", "c", "d"].map((name) => attachment(name, "image/png", 15_000_000));
    for (const each of sizes) cache.seed(each, new Blob(["x"]));
    const held = sizes.map((each) => cache.acquire(each));
    for (const each of held.slice(1)) each.release();
    await nextTick();
    expect(revoked).toHaveBeenCalledTimes(1);
    for (const each of [sizes[0]!, sizes[2]!, sizes[3]!, sizes[1]!]) cache.acquire(each);
    expect(requested).toEqual(["b"]);
  });

  it("is freed when the room stops", async () => {
    const revoked = vi.spyOn(URL, "revokeObjectURL");
    const { cache } = new Server();
    cache.seed(attachment("a"), new Blob(["x"]));
    const address = await cache.acquire(attachment("a")).url;
    cache.stop();
    await nextTick();
    expect(revoked).toHaveBeenCalledWith(address);
  });
});
