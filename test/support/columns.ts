import type { Columns } from '../../src/agent/dataplane/columns.ts'

/** Columns that are there again for whoever asks by the same name: one process after the other. */
export const keptColumns = (): Columns => {
  const kept = new Map<string, unknown>()
  const keep =
    <T>(make: new (length: number) => T) =>
    (name: string, length: number): T => {
      if (!kept.has(name)) kept.set(name, new make(length))
      return kept.get(name) as T
    }
  return {
    u8: keep(Uint8Array),
    u16: keep(Uint16Array),
    u32: keep(Uint32Array),
    i32: keep(Int32Array),
    f64: keep(Float64Array),
  }
}
