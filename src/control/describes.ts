/** What the schemas of answers are made with. */
import { z } from 'zod'

/** Of both directions: neither has a field that the other lacks. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
export const describes =
  <T>() =>
  <S extends z.ZodType>(schema: S & (Same<z.output<S>, T> extends true ? unknown : never)): S =>
    schema

export const text = z.string()
export const count = z.int().min(0)
export const ms = z.number().min(0)
