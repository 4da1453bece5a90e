/**
 * One JSON text for one value, so that it can be hashed and signed: keys in order of their UTF-16 code units, no spaces,
 * numbers and strings as ECMAScript writes them (the idea of RFC 8785).
 */
import { ShuntError } from '../errors.ts'

const refuse = (what: string): never => {
  throw new ShuntError('SHUNT_ERR_STATEMENT', `${what} cannot be written as canonical JSON; leave it out`)
}

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Throws SHUNT_ERR_STATEMENT on undefined, NaN, infinities, functions and objects that are not plain. */
export const canonical = (value: unknown): string => {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number')
    return Number.isFinite(value) ? JSON.stringify(value) : refuse(`the number ${value}`)
  if (Array.isArray(value)) return `[${Array.from(value, canonical).join(',')}]`
  if (typeof value !== 'object' || !isPlain(value))
    return refuse(`a value of type ${typeof value === 'object' ? 'class' : typeof value}`)
  const fields = value as Record<string, unknown>
  const texts = Object.keys(fields)
    .sort()
    .map(key => `${JSON.stringify(key)}:${canonical(fields[key])}`)
  return `{${texts.join(',')}}`
}
