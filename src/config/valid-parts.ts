/** What of wrong data is right by itself, for rules that can be told of although other places are wrong too. Pure. */
import type { z } from 'zod'

export interface Part<T> {
  /** Undefined: something in it is wrong. */
  readonly whole: T | undefined
  /** Its keys whose values are right. */
  readonly some: Partial<T>
}

export const wholePart = <T>(value: T): Part<T> => ({ whole: value, some: value })

/** Never throws, whatever `data` is. */
export const partOf = <S extends z.ZodObject>(schema: S, data: unknown): Part<z.output<S>> => {
  const whole = schema.safeParse(data)
  if (whole.success) return wholePart(whole.data)
  if (typeof data !== 'object' || data === null) return { whole: undefined, some: {} }
  const some = Object.entries(schema.shape).flatMap(([key, field]) => {
    if (!Object.hasOwn(data, key)) return []
    const value = (field as z.ZodType).safeParse((data as Record<string, unknown>)[key])
    return value.success ? [[key, value.data]] : []
  })
  return { whole: undefined, some: Object.fromEntries(some) as Partial<z.output<S>> }
}

/** The value of a key of anything; undefined where there is none. */
export const valueUnder = (data: unknown, key: string): unknown =>
  typeof data === 'object' && data !== null && Object.hasOwn(data, key)
    ? (data as Record<string, unknown>)[key]
    : undefined

/** One an entry; none of what is no list. */
export const partsOf = <S extends z.ZodObject>(schema: S, data: unknown): Part<z.output<S>>[] =>
  Array.isArray(data) ? data.map(entry => partOf(schema, entry)) : []
