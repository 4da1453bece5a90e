/** Times as people write them: `500ms`, `90s`, `10m`, `1h`, `2d`. Pure. */
import { ShuntError } from '../errors.ts'

const UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** In the largest unit that needs no fraction. */
const shortest = (ms: number): string => {
  const [unit, size] = Object.entries(UNITS_MS)
    .reverse()
    .find(([, size]) => ms % size === 0)!
  return `${ms / size}${unit}`
}

/** Milliseconds. Throws SHUNT_ERR_USAGE when it is none, or outside of the range. */
export const parseDuration = (text: string, flag: string, minMs: number, maxMs: number): number => {
  const [, number, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text.trim()) ?? []
  if (number === undefined)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${flag} ${text} is not a time: write a number with ms, s, m, h or d, such as 90s or 1h`,
    )
  const ms = Number(number) * UNITS_MS[unit!]!
  if (ms < minMs || ms > maxMs)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${flag} ${text} is out of range: ${shortest(minMs)} to ${shortest(maxMs)}`,
    )
  return ms
}
