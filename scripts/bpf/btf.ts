/** Reads BTF, the kernel's type information (Documentation/bpf/btf.rst), from the `.BTF` section of an object. Pure. */

const MAGIC = 0xeb9f
const HEADER_BYTES = 24
const TYPE_BYTES = 12

/** In the order of their numbers. */
const KINDS = [
  'void',
  'int',
  'pointer',
  'array',
  'struct',
  'union',
  'enum',
  'forward',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'function',
  'prototype',
  'variable',
  'section',
  'float',
  'declaration tag',
  'type tag',
  'enum64',
] as const
export type BtfKind = (typeof KINDS)[number]

export interface BtfMember {
  name: string
  type: number
  /** Bits from the start of the struct. */
  bitOffset: number
  /** Only for bit fields: how many bits; otherwise 0. */
  bits: number
}

export interface BtfType {
  id: number
  kind: BtfKind
  /** Empty for anonymous ones. */
  name: string
  /** Size of an int, struct, union, enum, float or section; 0 for others. */
  bytes: number
  /** What a pointer, array, typedef, qualifier, variable or function is of; 0 (void) for others. */
  type: number
  signed: boolean
  /** Elements of an array. */
  elements: number
  /** Of a struct or union; of a section its variables, `bitOffset` being where they lie. */
  members: BtfMember[]
  /** Of an enum. */
  values: { name: string; value: bigint }[]
}

/** Bytes after the 12 that each type has. */
const tailBytes = (kind: BtfKind, count: number): number => {
  switch (kind) {
    case 'int':
    case 'variable':
    case 'declaration tag':
      return 4
    case 'array':
      return 12
    case 'struct':
    case 'union':
    case 'section':
    case 'enum64':
      return 12 * count
    case 'enum':
    case 'prototype':
      return 8 * count
    default:
      return 0
  }
}

const SIZED: ReadonlySet<BtfKind> = new Set(['int', 'struct', 'union', 'enum', 'section', 'float', 'enum64'])

/**
 * All types of a `.BTF` section; the index is the id, 0 is void.
 * @throws Error for what is not BTF, is cut short, or has a kind that this does not know
 */
export const parseBtf = (section: Uint8Array): BtfType[] => {
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength)
  if (section.length < HEADER_BYTES || view.getUint16(0, true) !== MAGIC) throw new Error('this is not BTF')
  const start = view.getUint32(4, true)
  const typesAt = start + view.getUint32(8, true)
  const typesEnd = typesAt + view.getUint32(12, true)
  const textAt = start + view.getUint32(16, true)
  const textEnd = textAt + view.getUint32(20, true)
  if (typesEnd > section.length || textEnd > section.length) throw new Error('the BTF is cut short')

  const text = (offset: number): string => {
    const from = textAt + offset
    const to = section.indexOf(0, from)
    if (from >= textEnd || to < 0 || to >= textEnd) throw new Error(`BTF name at ${offset} is outside`)
    return Buffer.from(section.subarray(from, to)).toString('latin1')
  }

  const types: BtfType[] = [plain(0, 'void', '')]
  for (let at = typesAt; at < typesEnd; ) {
    const info = view.getUint32(at + 4, true)
    const count = info & 0xffff
    const number = (info >>> 24) & 0x1f
    const flag = info >>> 31 === 1
    const kind = KINDS[number]
    if (kind === undefined || number === 0) throw new Error(`BTF kind ${number} is not known`)
    const type = plain(types.length, kind, text(view.getUint32(at, true)))
    const sizeOrType = view.getUint32(at + 8, true)
    if (SIZED.has(kind)) type.bytes = sizeOrType
    else type.type = sizeOrType
    const tail = at + TYPE_BYTES
    at = tail + tailBytes(kind, count)
    if (at > typesEnd) throw new Error(`BTF type ${type.id} is cut short`)
    readTail(view, tail, type, count, flag, text)
    types.push(type)
  }
  return types
}

const plain = (id: number, kind: BtfKind, name: string): BtfType => ({
  id,
  kind,
  name,
  bytes: 0,
  type: 0,
  signed: false,
  elements: 0,
  members: [],
  values: [],
})

const readTail = (
  view: DataView,
  tail: number,
  type: BtfType,
  count: number,
  flag: boolean,
  text: (offset: number) => string,
): void => {
  const word = (index: number): number => view.getUint32(tail + index * 4, true)
  if (type.kind === 'int') type.signed = ((word(0) >>> 24) & 1) === 1
  else if (type.kind === 'array') {
    type.type = word(0)
    type.elements = word(2)
  } else if (type.kind === 'struct' || type.kind === 'union') {
    for (let n = 0; n < count; n++) {
      const place = word(n * 3 + 2)
      // With the flag set, the upper byte is the width of a bit field.
      const [bitOffset, bits] = flag ? [place & 0xffffff, place >>> 24] : [place, 0]
      type.members.push({ name: text(word(n * 3)), type: word(n * 3 + 1), bitOffset, bits })
    }
  } else if (type.kind === 'section') {
    for (let n = 0; n < count; n++)
      type.members.push({ name: '', type: word(n * 3), bitOffset: word(n * 3 + 1) * 8, bits: 0 })
  } else if (type.kind === 'enum') {
    for (let n = 0; n < count; n++) {
      const value = flag ? view.getInt32(tail + n * 8 + 4, true) : word(n * 2 + 1)
      type.values.push({ name: text(word(n * 2)), value: BigInt(value) })
    }
  } else if (type.kind === 'enum64') {
    for (let n = 0; n < count; n++) {
      const value = (BigInt(word(n * 3 + 2)) << 32n) | BigInt(word(n * 3 + 1))
      type.values.push({ name: text(word(n * 3)), value: flag ? BigInt.asIntN(64, value) : value })
    }
  }
}

const TRANSPARENT: ReadonlySet<BtfKind> = new Set(['typedef', 'volatile', 'const', 'restrict', 'type tag'])

/** The type behind typedefs and qualifiers. */
export const resolve = (types: readonly BtfType[], id: number): BtfType => {
  let type = types[id]
  for (let steps = 0; type !== undefined && TRANSPARENT.has(type.kind); steps++) {
    if (steps > 32) throw new Error(`BTF type ${id} goes round in a circle`)
    type = types[type.type]
  }
  if (type === undefined) throw new Error(`BTF type ${id} is not there`)
  return type
}

/** Size of a value of the type. @throws Error for one without a size (void, a function, a forward declaration) */
export const sizeOf = (types: readonly BtfType[], id: number): number => {
  const type = resolve(types, id)
  if (type.kind === 'pointer') return 8
  if (type.kind === 'array') return type.elements * sizeOf(types, type.type)
  if (!SIZED.has(type.kind)) throw new Error(`a ${type.kind} ${type.name} has no size`)
  return type.bytes
}
