/** Numbers with units, for people; --json has the plain numbers. */

/** `0.4ms`, `350ms`, `2.5s`, `3m 20s`, `2h 5m`, `4d 1h` */
export const duration = (ms: number | null): string | null => {
  if (ms === null) return null
  if (ms < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)}ms`
  if (ms < 1000) return `${Math.round(ms)}ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`
  const s = Math.floor(ms / 1000)
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`
  if (s < 86_400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`
  return `${Math.floor(s / 86_400)}d ${Math.floor((s % 86_400) / 3600)}h`
}

/** `812 B`, `92.1 MB` */
export const bytes = (n: number): string => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = n
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** Share of a capacity, as a whole percentage. */
export const percent = (used: number, capacity: number): string =>
  capacity === 0 ? '-' : `${Math.floor((used / capacity) * 100)}%`

/** `1 peer`, `3 peers` */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`
