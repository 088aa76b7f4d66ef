/** The bundled program of `worker.ts` as text: `bundle.mjs` builds it. */
declare module "worker:source" {
  const source: string;
  export default source;
}
