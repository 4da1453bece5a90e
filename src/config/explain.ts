/** Turns the schema library's issues into sentences a reader of the file understands. */
import type { z } from 'zod'
import type { Path } from './problems.ts'
import { didYouMean } from './suggest.ts'

/** `at` says whether the key or its value is meant. */
export interface Explained {
  path: Path
  at: 'key' | 'value'
  message: string
}

type Issue = z.core.$ZodIssue

const ARTICLES: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  null: 'nothing',
}

const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value === 'number') return `the number ${value}`
  return typeof value === 'string' ? `the string ${JSON.stringify(value.slice(0, 60))}` : String(value)
}

/** The value at a path of parsed data. */
const valueAt = (data: unknown, path: Path): unknown => {
  let value = data
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<string | number, unknown>)[part]
  }
  return value
}

const sizeText = (issue: Issue & { code: 'too_small' | 'too_big' }): string => {
  const bound = issue.code === 'too_small' ? `at least ${issue.minimum}` : `at most ${issue.maximum}`
  if (issue.origin === 'array') {
    const n = Number(issue.code === 'too_small' ? issue.minimum : issue.maximum)
    return `must have ${bound} ${n === 1 ? 'entry' : 'entries'}`
  }
  return issue.origin === 'string' ? `must have ${bound} characters` : `must be ${bound}`
}

const UNITS_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000 }
/** All times in the files are numbers of milliseconds. */
const timeHint = (expected: string, given: unknown): string => {
  if (!['number', 'int'].includes(expected) || typeof given !== 'string') return ''
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,3})?) ?(ms|s|m|min|h)$/.exec(given) ?? []
  if (amount === undefined) return ''
  return `; times are in milliseconds, without a unit: ${Math.round(Number(amount) * UNITS_MS[unit!]!)}`
}

const choiceText = (values: readonly unknown[], given: unknown): string => {
  const choices = values.map(String)
  const list = choices.length === 1 ? choices[0]! : `one of ${choices.join(', ')}`
  const hint =
    typeof given === 'string' && values.every(v => typeof v === 'string') ? didYouMean(given, choices) : ''
  return `must be ${list}, not ${kindOf(given)}${hint}`
}

/** The sentences for one issue: an issue about several unknown keys gives one each. `keysAt` lists known keys. */
export const explain = (
  issue: Issue,
  data: unknown,
  keysAt: (path: Path) => readonly string[],
): Explained[] => {
  const path = issue.path.map(p => (typeof p === 'symbol' ? String(p) : p))
  const given = valueAt(data, path)
  const value = (message: string): Explained[] => [{ path, at: 'value', message }]
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(key => ({
      path: [...path, key],
      at: 'key',
      message: `unknown key${didYouMean(key, keysAt(path))}`,
    }))
  if (given === undefined) return value('is required')
  if (issue.code === 'invalid_type')
    return value(
      `must be ${ARTICLES[issue.expected] ?? issue.expected}, not ${kindOf(given)}${timeHint(issue.expected, given)}`,
    )
  if (issue.code === 'invalid_value') return value(choiceText(issue.values, given))
  if (issue.code === 'too_small' || issue.code === 'too_big') return value(sizeText(issue))
  return value(issue.message)
}
