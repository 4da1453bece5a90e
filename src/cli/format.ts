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

/** `0`, `3.4`, `120`, `12.3k`, `4.5M`: at most five cells. */
export const compact = (value: number): string => {
  if (value < 10 && !Number.isInteger(value)) return value.toFixed(1)
  if (value < 9_999.5) return String(Math.round(value))
  for (const [unit, size] of [
    ['k', 1e3],
    ['M', 1e6],
    ['G', 1e9],
  ] as const) {
    const scaled = value / size
    if (scaled < 99.95) return `${scaled.toFixed(1)}${unit}`
    if (scaled < 999.5) return `${Math.round(scaled)}${unit}`
  }
  return `${(value / 1e12).toFixed(1)}T`
}
