/** `worker.ts` as text, bundled by `bundle.mjs`. */
declare module "worker:source" {
  const source: string;
  export default source;
}
