/** Reads the node file (YAML or JSON) and reports every error in it with its position. */
import { readFileSync, statSync } from 'node:fs'
import { LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { errorText, ShuntError } from '../errors.ts'
import { checkNodeConfig, type Path, pathText } from './checks.ts'
import { explain } from './explain.ts'
import { locate } from './locate.ts'
import { type NodeConfig, nodeConfigSchema } from './schema.ts'

/** More than this is not a node file. */
const MAX_BYTES = 4 * 1024 * 1024
/** A file with more errors than this shows only these. */
const MAX_ERRORS = 50

interface Finding {
  line: number
  column: number
  text: string
}

const refuse = (file: string, findings: Finding[]): ShuntError => {
  const sorted = findings.toSorted((a, b) => a.line - b.line || a.column - b.column)
  const lines = sorted.slice(0, MAX_ERRORS).map(f => `${file}:${f.line}:${f.column} ${f.text}`)
  if (sorted.length > MAX_ERRORS) lines.push(`${file}: and ${sorted.length - MAX_ERRORS} more errors`)
  return new ShuntError('SHUNT_ERR_CONFIG', lines.join('\n'))
}

/** The keys that the schema knows at a place. */
const knownKeys = (path: Path): string[] => {
  let schema: z.core.$ZodType | undefined = nodeConfigSchema
  const unwrap = (s: z.core.$ZodType | undefined): z.core.$ZodType | undefined => {
    const inner = (s as z.ZodDefault | undefined)?.def?.innerType
    return inner === undefined ? s : unwrap(inner)
  }
  for (const part of path) {
    schema = unwrap(schema)
    if (schema instanceof z.ZodArray) schema = schema.element
    else if (schema instanceof z.ZodObject) schema = schema.shape[String(part)]
    else return []
  }
  schema = unwrap(schema)
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
}

/** The library measures the length of a value of the wrong type too; then its type is what is wrong. */
const typedFirst = (issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] => {
  const wrongType = new Set(issues.filter(i => i.code === 'invalid_type').map(i => i.path.join('.')))
  return issues.filter(i => i.code === 'invalid_type' || !wrongType.has(i.path.join('.')))
}

/**
 * Parses and checks a node file's text; `file` is only used in messages.
 * Cross checks need valid values, so they are reported once every value is valid by itself.
 * @throws ShuntError SHUNT_ERR_CONFIG, one line an error: `file:line:col path: message`
 */
export const parseNodeConfig = (text: string, file: string): NodeConfig => {
  const lines = new LineCounter()
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  if (doc.errors.length > 0)
    throw refuse(
      file,
      doc.errors.map(e => {
        const { line, col } = lines.linePos(e.pos[0])
        return { line, column: col, text: `not valid YAML: ${e.message}` }
      }),
    )
  let data: unknown
  try {
    data = doc.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw new ShuntError('SHUNT_ERR_CONFIG', `${file}:1:1 not usable YAML: ${errorText(cause)}`, { cause })
  }
  if (data === null || data === undefined)
    throw refuse(file, [{ line: 1, column: 1, text: 'the file is empty; shunt-node.yaml(5) has an example' }])
  const find = (path: Path, at: 'key' | 'value', message: string): Finding => ({
    ...locate(doc, lines, path, at),
    text: `${pathText(path)}: ${message}`,
  })
  const parsed = nodeConfigSchema.safeParse(data)
  if (!parsed.success)
    throw refuse(
      file,
      typedFirst(parsed.error.issues)
        .flatMap(issue => explain(issue, data, knownKeys))
        .map(e => find(e.path, e.at, e.message)),
    )
  const problems = checkNodeConfig(parsed.data)
  if (problems.length > 0)
    throw refuse(
      file,
      problems.map(p => find(p.path, 'value', p.message)),
    )
  return parsed.data
}

/**
 * Reads, parses and checks the node file at `path`.
 * @throws ShuntError SHUNT_ERR_CONFIG, also when the file cannot be read
 */
export const loadNodeConfig = (path: string): NodeConfig => {
  let text: string
  try {
    const { size } = statSync(path)
    if (size > MAX_BYTES) throw new Error(`it has ${size} bytes, a node file has at most ${MAX_BYTES}`)
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw new ShuntError('SHUNT_ERR_CONFIG', `cannot read ${path}: ${errorText(cause)}`, { cause })
  }
  return parseNodeConfig(text, path)
}
