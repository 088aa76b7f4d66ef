/** Makes an id from the time and 80 random bits: the log's index takes ids in order at half the cost of random ones.
 *
 * `crypto.randomUUID` needs a secure context, and a notebook may be served without one.
 */
export function newId(): string {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => byte.toString(16).padStart(2, "0"));
  return Date.now().toString(16).padStart(12, "0") + random.join("");
}

/** Random digits that a browser keeps, or that a window has until it is closed. */
export const newClientId = (): string => newId().slice(-12);

/** A cid that ends in the sender's own id. All members can read it: a mark, not a proof. */
export const newCid = (client: string): string => `${newId()}.${client}`;

/** Whether a Python program made `cid`, or a browser; null if that cannot be seen.
 *
 * A program's ids end in its own 8 hexadecimal digits and a signature of 12, those of a browser in its own 12.
 */
export function isFromProgram(cid: string): boolean | null {
  const digits = /^[^.]+\.([0-9a-f]+)$/.exec(cid)?.[1]?.length;
  return digits === 20 ? true : digits === 12 ? false : null;
}

/** Whether `cid` was made by `client`: a browser, or a kernel, which adds a signature to its id. */
export const isMadeBy = (cid: string, client: string): boolean => cid.split(".")[1]?.startsWith(client) ?? false;
