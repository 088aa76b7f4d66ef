/** The CPU time of `action` in milliseconds: unlike elapsed time, it does not grow while other processes run. */
export function cpuTime(action: () => void): number {
  const start = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1_000;
}
