/** Makes an id from the time and 80 random bits: the log's index takes ids in order at half the cost of random ones.
 *
 * `crypto.randomUUID` needs a secure context, and a notebook may be served without one.
 */
export function newId(): string {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => byte.toString(16).padStart(2, "0"));
  return Date.now().toString(16).padStart(12, "0") + random.join("");
}
