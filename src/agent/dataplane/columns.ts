/** Where tables keep their columns: in this process, or in memory that outlives it (os/shared-columns.ts). */
export interface Columns {
  /** Zeroed, or as an agent before left it. `name` is the same for the same column in every agent. */
  u8(name: string, length: number): Uint8Array
  u16(name: string, length: number): Uint16Array
  u32(name: string, length: number): Uint32Array
  i32(name: string, length: number): Int32Array
  f64(name: string, length: number): Float64Array
}

export const HEAP: Columns = {
  u8: (_, length) => new Uint8Array(length),
  u16: (_, length) => new Uint16Array(length),
  u32: (_, length) => new Uint32Array(length),
  i32: (_, length) => new Int32Array(length),
  f64: (_, length) => new Float64Array(length),
}

/** The same columns under names of one table's own. */
export const within = (prefix: string, columns: Columns): Columns => ({
  u8: (name, length) => columns.u8(`${prefix}-${name}`, length),
  u16: (name, length) => columns.u16(`${prefix}-${name}`, length),
  u32: (name, length) => columns.u32(`${prefix}-${name}`, length),
  i32: (name, length) => columns.i32(`${prefix}-${name}`, length),
  f64: (name, length) => columns.f64(`${prefix}-${name}`, length),
})
