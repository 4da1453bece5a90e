/** What TypeScript must know of an object's memory: structs, enums, maps and globals, from its BTF. Pure. */
import { type BtfType, resolve, sizeOf } from './btf.ts'

export interface Field {
  /** C names, joined by dots where a struct lies within a struct. */
  path: string
  /** Bytes from the start of the outermost struct. */
  offset: number
  bytes: number
  /** `u32`, `i64`, `u8[6]`, `enum probe_kind`, `pointer`. */
  type: string
}

export interface Struct {
  name: string
  bytes: number
  fields: Field[]
}

export interface MapLayout {
  name: string
  /** 0 where the map has none. */
  keyBytes: number
  valueBytes: number
  key: string
  value: string
}

export interface GlobalLayout {
  name: string
  /** Section without its dot: the name of the map that holds it. */
  section: string
  offset: number
  bytes: number
  type: string
}

export interface ObjectLayout {
  structs: Struct[]
  enums: { name: string; values: { name: string; value: bigint }[] }[]
  maps: MapLayout[]
  globals: GlobalLayout[]
}

const EXPORT = 'shunt_export_'

/**
 * The layout of a linked object: the structs and enums reachable from its maps, its globals and what it exports.
 * The forms of a union are fields at the same offset. @throws Error for a bit field, which has no stable place
 */
export const objectLayout = (types: readonly BtfType[]): ObjectLayout => {
  const structs = new Map<string, Struct>()
  const enums = new Map<string, BtfType>()

  const typeName = (id: number): string => {
    const type = resolve(types, id)
    switch (type.kind) {
      case 'int':
        return `${type.signed ? 'i' : 'u'}${type.bytes * 8}`
      case 'array':
        return `${typeName(type.type)}[${type.elements}]`
      case 'enum':
      case 'enum64':
        if (type.name !== '') enums.set(type.name, type)
        return `enum ${type.name}`
      case 'struct':
      case 'union':
        if (type.kind === 'struct') note(type)
        return `${type.kind} ${type.name}`.trim()
      case 'pointer':
        return 'pointer'
      default:
        return `${type.kind} ${type.name}`.trim()
    }
  }

  const fieldsOf = (struct: BtfType, path: string, base: number): Field[] =>
    struct.members.flatMap(member => {
      const where = `${struct.name || 'a struct'}.${member.name}`
      if (member.bits !== 0) throw new Error(`${where} is a bit field: use a whole integer`)
      const type = resolve(types, member.type)
      const offset = base + member.bitOffset / 8
      if (type.kind !== 'struct' && type.kind !== 'union')
        return [
          {
            path: path + member.name,
            offset,
            bytes: sizeOf(types, member.type),
            type: typeName(member.type),
          },
        ]
      if (type.kind === 'struct') note(type)
      return fieldsOf(type, member.name === '' ? path : `${path}${member.name}.`, offset)
    })

  const note = (type: BtfType): void => {
    if (type.name === '' || structs.has(type.name)) return
    const struct: Struct = { name: type.name, bytes: type.bytes, fields: [] }
    structs.set(type.name, struct)
    struct.fields = fieldsOf(type, '', 0)
  }

  const sections = types.filter(type => type.kind === 'section')
  const maps: MapLayout[] = []
  const globals: GlobalLayout[] = []
  for (const section of sections) {
    for (const { type: id, bitOffset } of section.members) {
      const variable = types[id]
      if (section.name === '.maps') maps.push(mapLayout(types, variable, typeName))
      else if (variable.name.startsWith(EXPORT)) typeName(resolve(types, variable.type).type)
      else if (/^\.(rodata|data|bss)/.test(section.name)) {
        globals.push({
          name: variable.name,
          section: section.name.slice(1),
          offset: bitOffset / 8,
          bytes: sizeOf(types, variable.type),
          type: typeName(variable.type),
        })
      }
    }
  }
  const byName = <T extends { name: string }>(list: Iterable<T>): T[] =>
    [...list].sort((a, b) => (a.name < b.name ? -1 : 1))
  return {
    structs: byName(structs.values()),
    enums: byName([...enums.values()].map(({ name, values }) => ({ name, values }))),
    maps: byName(maps),
    globals: globals.sort((a, b) =>
      a.section === b.section ? a.offset - b.offset : a.section < b.section ? -1 : 1,
    ),
  }
}

/** `__type(key, T)` is a pointer to T; `__uint(key_size, N)` a pointer to an array of N. */
const mapLayout = (
  types: readonly BtfType[],
  variable: BtfType,
  typeName: (id: number) => string,
): MapLayout => {
  const map: MapLayout = { name: variable.name, keyBytes: 0, valueBytes: 0, key: 'none', value: 'none' }
  for (const member of resolve(types, variable.type).members) {
    const pointer = resolve(types, member.type)
    const bytes = (): number => sizeOf(types, pointer.type)
    const number = (): number => resolve(types, pointer.type).elements
    if (member.name === 'key') [map.key, map.keyBytes] = [typeName(pointer.type), bytes()]
    else if (member.name === 'value') [map.value, map.valueBytes] = [typeName(pointer.type), bytes()]
    else if (member.name === 'key_size') [map.key, map.keyBytes] = ['bytes', number()]
    else if (member.name === 'value_size') [map.value, map.valueBytes] = ['bytes', number()]
  }
  return map
}
