/** Writes BTF, for the tests of what reads it. Each method answers the id of the type that it adds. */
export class BtfWriter {
  readonly #types: number[] = []
  readonly #texts: number[] = [0]
  #next = 1

  raw(
    name: string,
    kind: number,
    count: number,
    sizeOrType: number,
    tail: readonly number[],
    flag = false,
  ): number {
    this.#types.push(this.#text(name), (kind << 24) | count | (flag ? 1 << 31 : 0), sizeOrType, ...tail)
    return this.#next++
  }

  int(name: string, bytes: number, signed = false): number {
    return this.raw(name, 1, 0, bytes, [(signed ? 1 << 24 : 0) | (bytes * 8)])
  }
  pointer(type: number): number {
    return this.raw('', 2, 0, type, [])
  }
  array(type: number, elements: number, index: number): number {
    return this.raw('', 3, 0, 0, [type, index, elements])
  }
  struct(
    name: string,
    bytes: number,
    members: readonly (readonly [string, number, number])[],
    bits = false,
  ): number {
    return this.raw(name, 4, members.length, bytes, this.#members(members), bits)
  }
  union(name: string, bytes: number, members: readonly (readonly [string, number, number])[]): number {
    return this.raw(name, 5, members.length, bytes, this.#members(members))
  }
  enum(name: string, bytes: number, values: readonly (readonly [string, number])[]): number {
    const tail = values.flatMap(([key, value]) => [this.#text(key), value])
    return this.raw(name, 6, values.length, bytes, tail, true)
  }
  enum64(name: string, values: readonly (readonly [string, bigint])[], signed: boolean): number {
    const tail = values.flatMap(([key, value]) => [
      this.#text(key),
      Number(value & 0xffffffffn),
      Number((value >> 32n) & 0xffffffffn),
    ])
    return this.raw(name, 19, values.length, 8, tail, signed)
  }
  typedef(name: string, type: number): number {
    return this.raw(name, 8, 0, type, [])
  }
  variable(name: string, type: number): number {
    return this.raw(name, 14, 0, type, [1])
  }
  section(name: string, variables: readonly (readonly [number, number, number])[]): number {
    return this.raw(name, 15, variables.length, 0, variables.flat())
  }

  bytes(): Uint8Array {
    const types = this.#types.length * 4
    const out = Buffer.alloc(24 + types + this.#texts.length)
    out.writeUInt16LE(0xeb9f, 0)
    out[2] = 1
    for (const [index, value] of [24, 0, types, types, this.#texts.length].entries())
      out.writeUInt32LE(value, 4 + index * 4)
    for (const [index, value] of this.#types.entries()) out.writeUInt32LE(value >>> 0, 24 + index * 4)
    out.set(this.#texts, 24 + types)
    return out
  }

  #members(members: readonly (readonly [string, number, number])[]): number[] {
    return members.flatMap(([name, type, place]) => [this.#text(name), type, place])
  }

  #text(text: string): number {
    if (text === '') return 0
    const at = this.#texts.length
    this.#texts.push(...Buffer.from(text), 0)
    return at
  }
}
