/** A clock that ticks only while something on screen counts down. */

import { useEffect, useState } from "preact/hooks";

/** The time now, renewed every `every` milliseconds until `until`. */
export function useNow(until: number | null, every = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (until === null) return undefined;
    setNow(Date.now());
    if (until <= Date.now()) return undefined;
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= until) clearInterval(timer);
    }, every);
    return () => clearInterval(timer);
  }, [until, every]);
  return now;
}
