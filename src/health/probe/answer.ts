/**
 * Rules for the answer of an HTTP probe: which statuses are good, and what the body must contain. Pure; the schema of the
 * configuration checks them by the same code that applies them.
 */

/** How much of a body is looked at. */
export const MAX_BODY_BYTES = 65_536
export const MAX_BODY_RULE = 1_000
/** Of a check that says nothing else. */
export const DEFAULT_PATH = '/'
export const DEFAULT_STATUS = '200-399'

export type StatusRanges = readonly (readonly [from: number, to: number])[]
/** As the configuration says it: `200`, `'200-399'`, or a list of those. */
export type StatusRule = number | string | readonly (number | string)[]
export type BodyRule = { readonly text: string } | { readonly pattern: RegExp }

const isStatus = (n: number): boolean => Number.isInteger(n) && n >= 100 && n <= 599

const rangeOf = (part: number | string): readonly [number, number] | null => {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(String(part))
  if (match === null) return null
  const from = Number(match[1])
  const to = match[2] === undefined ? from : Number(match[2])
  return isStatus(from) && isStatus(to) && from <= to ? [from, to] : null
}

/** The ranges of a rule, or null for one that is not valid. */
export const statusRanges = (rule: StatusRule): StatusRanges | null => {
  const parts = Array.isArray(rule) ? (rule as readonly (number | string)[]) : [rule as number | string]
  const ranges = parts.map(rangeOf)
  return ranges.length > 0 && ranges.every(range => range !== null) ? ranges : null
}

export const statusFits = (ranges: StatusRanges, status: number): boolean =>
  ranges.some(([from, to]) => status >= from && status <= to)

/**
 * `/expression/flags` is a regular expression, everything else a text that the body contains.
 * @throws SyntaxError for an expression that is none
 */
export const bodyRule = (rule: string): BodyRule => {
  const match = /^\/(.+)\/([a-z]*)$/s.exec(rule)
  if (match === null) return { text: rule }
  // With g or y a pattern remembers where it stopped, so that the same body would fit only now and then.
  const odd = /[^imsuv]/.exec(match[2]!)
  if (odd !== null) throw new SyntaxError(`the flag ${odd[0]} is none of i, m, s, u, v`)
  return { pattern: new RegExp(match[1]!, match[2]) }
}
