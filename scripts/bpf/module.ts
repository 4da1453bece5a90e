/** Writes a layout as a TypeScript module, and tells two such modules apart in words. Pure. */
import { createHash } from 'node:crypto'
import type { Field, MapLayout, ObjectLayout } from './layout.ts'

const camel = (name: string): string =>
  name.replace(/[._]+(\w)/g, (_, letter: string) => letter.toUpperCase()).replace(/^_+/, '')
const upper = (name: string): string => name.replaceAll('.', '_').toUpperCase()

/** Stands for everything that the module says: two objects with the same one may share pinned maps. */
export const fingerprint = (layout: ObjectLayout): string => {
  const text = JSON.stringify(layout, (_, value) => (typeof value === 'bigint' ? String(value) : value))
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

/** The same for one map: what its keys and values are made of, whatever else the object has. */
const mapFingerprint = ({ key, value, keyBytes, valueBytes }: MapLayout, layout: ObjectLayout): string => {
  const parts = [key, value].map(type => layout.structs.find(({ name }) => type === `struct ${name}`) ?? type)
  return createHash('sha256')
    .update(JSON.stringify([parts, keyBytes, valueBytes]))
    .digest('hex')
    .slice(0, 8)
}

const numeral = (value: bigint): string =>
  value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)
    ? `${value}n`
    : String(value)

const object = (name: string, comment: string, lines: readonly string[]): string =>
  `/** ${comment} */\nexport const ${name} = {\n${lines.map(line => `  ${line}\n`).join('')}} as const\n`

const field = ({ path, offset, type }: Field): string => `${camel(path)}: ${offset}, // ${type}`

/** The text of the module for an object named `name`, made from `source`. */
export const moduleText = (name: string, source: string, layout: ObjectLayout): string => {
  const prefix = upper(name)
  const parts = [
    `/** Made by \`make bpf-layouts\` from the BTF of ${source}; the build fails when the two differ. Offsets and sizes are bytes. */\n`,
    `/** Names this layout: what was made by another one must not be read by it. */\nexport const ${prefix}_LAYOUT = '${fingerprint(layout)}'\n`,
  ]
  for (const { name: struct, bytes, fields } of layout.structs) {
    parts.push(
      `export const ${upper(struct)}_BYTES = ${bytes}\n${object(upper(struct), `Offsets in \`struct ${struct}\`.`, fields.map(field))}`,
    )
  }
  for (const { name: enumeration, values } of layout.enums) {
    const lines = values.map(({ name: key, value }) => `${key}: ${numeral(value)},`)
    parts.push(object(upper(enumeration), `\`enum ${enumeration}\`.`, lines))
  }
  const maps = layout.maps.map(map => {
    const { name, keyBytes, valueBytes, key, value } = map
    const entry = `keyBytes: ${keyBytes}, valueBytes: ${valueBytes}, layout: '${mapFingerprint(map, layout)}'`
    return `${camel(name)}: { name: '${name}', ${entry} }, // ${key} to ${value}`
  })
  if (maps.length > 0)
    parts.push(object(`${prefix}_MAPS`, 'Maps; `layout` names what keys and values are made of.', maps))
  const globals = layout.globals.map(
    ({ name: global, section, offset, bytes, type }) =>
      `${camel(global)}: { section: '${section}', offset: ${offset}, bytes: ${bytes} }, // ${type}`,
  )
  if (globals.length > 0)
    parts.push(object(`${prefix}_GLOBALS`, 'Global variables; `section` is the map they lie in.', globals))
  return parts.join('\n')
}

/** What differs between two modules, one line a difference: `- ` what TypeScript knows, `+ ` what the C says. */
export const moduleDifferences = (known: string, made: string): string[] => {
  const [before, after] = [known, made].map(text => new Set(withContext(text)))
  return [
    ...[...before].filter(line => !after.has(line)).map(line => `- ${line}`),
    ...[...after].filter(line => !before.has(line)).map(line => `+ ${line}`),
  ]
}

/** Each property with the name of its constant before it. */
const withContext = (text: string): string[] => {
  let inside = ''
  return text.split('\n').flatMap(line => {
    const opens = /^export const (\w+) = \{$/.exec(line)
    if (opens !== null) inside = opens[1]
    if (line.startsWith('  ')) return [`${inside}.${line.trim()}`]
    return line.startsWith('export const') && opens === null && !line.includes('_LAYOUT') ? [line] : []
  })
}
