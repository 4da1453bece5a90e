/** Reads YAML or JSON against a schema and reports every error in it with its position. */
import { readFileSync, statSync } from 'node:fs'
import { LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { errorText, ShuntError } from '../errors.ts'
import { oneLine } from '../plain-text.ts'
import { explain } from './explain.ts'
import { locate } from './locate.ts'
import { type Path, type Problem, pathText } from './problems.ts'
import { repeatedKeys } from './unique-keys.ts'
import { yamlFault, yamlRefusal } from './yaml-fault.ts'

/** A file with more errors than this shows only these. */
const MAX_ERRORS = 50

interface Finding {
  line: number
  column: number
  text: string
}

/** A kind of file: its schema, the rules that span several places, and the page with an example. */
export interface FileKind<S extends z.ZodType> {
  /** Top-level keys that must not be there, whatever the schema says: what is in them is not looked at. */
  shape?(data: object): Problem[]
  schema(data: unknown): S
  check(value: z.output<S>): Problem[]
  /** Those of them that can be told of data in which the schema finds errors too. */
  checkWrong?(data: unknown): Problem[]
  page: string
}

const refuse = (file: string, findings: Finding[]): ShuntError => {
  const sorted = findings.toSorted((a, b) => a.line - b.line || a.column - b.column)
  const lines = sorted.slice(0, MAX_ERRORS).map(f => `${file}:${f.line}:${f.column} ${oneLine(f.text)}`)
  if (sorted.length > MAX_ERRORS) lines.push(`${file}: and ${sorted.length - MAX_ERRORS} more errors`)
  return new ShuntError('SHUNT_ERR_CONFIG', lines.join('\n'))
}

const unwrap = (schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined => {
  const inner = (schema as z.ZodDefault | undefined)?.def?.innerType
  return inner === undefined ? schema : unwrap(inner)
}

/** The keys that the schema knows at a place. */
const knownKeys = (root: z.ZodType, path: Path): string[] => {
  let schema: z.core.$ZodType | undefined = root
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

const unusable = (file: string, cause: unknown): ShuntError =>
  new ShuntError('SHUNT_ERR_CONFIG', `${file}:1:1 not usable YAML: ${yamlRefusal(cause)}`, { cause })

const readYaml = (text: string, file: string) => {
  const lines = new LineCounter()
  let doc: ReturnType<typeof parseDocument>
  let data: unknown
  const errors: { offset: number; message: string }[] = []
  try {
    doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false })
    errors.push(...doc.errors.map(e => ({ offset: e.pos[0], message: yamlFault(e, text) })))
    for (const offset of repeatedKeys(doc))
      errors.push({
        offset,
        message: yamlFault({ code: 'DUPLICATE_KEY', message: '', pos: [offset, offset] }, text),
      })
    if (errors.length === 0) data = doc.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    // Also what is nested so deep that the library runs out of stack.
    throw unusable(file, cause)
  }
  if (errors.length > 0)
    throw refuse(
      file,
      errors.map(({ offset, message }) => {
        const { line, col } = lines.linePos(offset)
        return { line, column: col, text: `not valid YAML: ${message}` }
      }),
    )
  return { doc, lines, data }
}

/**
 * Parses and checks a text; `file` is only used in messages.
 * Rules that span several places are told together with the errors of single values where the kind can (checkWrong), otherwise
 * once every value is valid by itself.
 * @throws ShuntError SHUNT_ERR_CONFIG, one line an error: `file:line:col path: message`
 */
export const parseFile = <S extends z.ZodType>(
  text: string,
  file: string,
  kind: FileKind<S>,
): z.output<S> => {
  const { doc, lines, data } = readYaml(text, file)
  if (data === null || data === undefined)
    throw refuse(file, [{ line: 1, column: 1, text: `the file is empty; ${kind.page} has an example` }])
  const find = (path: Path, at: 'key' | 'value', message: string): Finding => ({
    ...locate(doc, lines, path, at),
    text: `${pathText(path)}: ${message}`,
  })
  const shape = typeof data === 'object' ? (kind.shape?.(data) ?? []) : []
  const refused = new Set(shape.map(({ path: [key] }) => key))
  const schema = kind.schema(data)
  const parsed = schema.safeParse(data)
  if (!parsed.success || shape.length > 0)
    throw refuse(file, [
      ...shape.map(p => find(p.path, 'key', p.message)),
      ...typedFirst(parsed.error?.issues ?? [])
        .filter(({ path: [key] }) => key === undefined || !refused.has(String(key)))
        .flatMap(issue => explain(issue, data, path => knownKeys(schema, path)))
        .map(e => find(e.path, e.at, e.message)),
      ...(kind.checkWrong?.(data) ?? []).map(p => find(p.path, 'value', p.message)),
    ])
  const problems = kind.check(parsed.data)
  if (problems.length > 0)
    throw refuse(
      file,
      problems.map(p => find(p.path, 'value', p.message)),
    )
  return parsed.data
}

/**
 * The text of a file of at most `maxBytes` bytes of UTF-8.
 * @throws ShuntError SHUNT_ERR_CONFIG
 */
export const readText = (path: string, what: string, maxBytes: number): string => {
  try {
    const { size } = statSync(path)
    if (size > maxBytes) throw new Error(`it has ${size} bytes, ${what} has at most ${maxBytes}`)
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ShuntError('SHUNT_ERR_CONFIG', `there is no file ${path}`, { cause })
    throw new ShuntError('SHUNT_ERR_CONFIG', `cannot read ${path}: ${errorText(cause)}`, { cause })
  }
}
