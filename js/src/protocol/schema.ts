/** Type guards for JSON values, and the TypeScript types inferred from them; the combinators are named as in zod.
 *
 * A field whose guard accepts undefined is optional. Fields that a schema does not name are allowed and ignored.
 */

export type Guard<T> = (value: unknown) => value is T;

/** The type that a guard accepts. */
export type Infer<G> = G extends Guard<infer T> ? T : never;

type Fields = Readonly<Record<string, Guard<unknown>>>;
type Flatten<T> = { [K in keyof T]: T[K] };
type OptionalKey<F> = { [K in keyof F]: undefined extends Infer<F[K]> ? K : never }[keyof F];
type InferFields<F> = Flatten<
  { readonly [K in Exclude<keyof F, OptionalKey<F>>]: Infer<F[K]> } & {
    readonly [K in OptionalKey<F>]?: Exclude<Infer<F[K]>, undefined>;
  }
>;
/** The union of the types of `schemas`, each with its key as `type`. */
export type Tagged<S> = { [K in keyof S]: Flatten<{ readonly type: K } & Infer<S[K]>> }[keyof S];

export const string: Guard<string> = (value) => typeof value === "string";
export const number: Guard<number> = (value): value is number => typeof value === "number" && Number.isFinite(value);
export const boolean: Guard<boolean> = (value) => typeof value === "boolean";
/** A sequence number, a count or a size. */
export const uint: Guard<number> = (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
/** Any value, but not an absent one. */
export const json: Guard<string | number | boolean | object | null> = (value) => value !== undefined;

export const oneOf =
  <const T extends string>(...values: readonly T[]): Guard<T> =>
  (value): value is T =>
    values.includes(value as T);

export const optional =
  <T>(guard: Guard<T>): Guard<T | undefined> =>
  (value) =>
    value === undefined || guard(value);

export const nullable =
  <T>(guard: Guard<T>): Guard<T | null> =>
  (value) =>
    value === null || guard(value);

/** Absent or null; the type says absent, because `withoutNulls` removes the null. */
export const nullish = <T>(guard: Guard<T>): Guard<T | undefined> => optional(nullable(guard)) as Guard<T | undefined>;

export const array =
  <T>(guard: Guard<T>): Guard<readonly T[]> =>
  (value): value is readonly T[] =>
    Array.isArray(value) && value.every(guard);

export const record =
  <T>(guard: Guard<T>): Guard<Readonly<Record<string, T>>> =>
  (value): value is Readonly<Record<string, T>> =>
    isObject(value) && Object.values(value).every(guard);

export function object<F extends Fields>(fields: F): Guard<InferFields<F>> {
  const entries = Object.entries(fields);
  return (value): value is InferFields<F> => isObject(value) && entries.every(([name, guard]) => guard(value[name]));
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value that `text` is the JSON of; null if it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Python may write an absent optional field as null; here absent is absent. A status keeps its nulls. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value) || value.type === "status") return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([name, field]) => [name, withoutNulls(field)]),
  );
}
