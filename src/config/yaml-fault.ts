/** What is wrong with a text that is no YAML, and what to do, in our words: the library's are for those who know its grammar. Pure. */
import type { YAMLError } from 'yaml'

type Fault = Pick<YAMLError, 'code' | 'message' | 'pos'>

const CUT_OFF =
  'the text ends in the middle of something: is the file cut off? Otherwise close what is open ({, [ or a quotation mark), or give the last key its colon and value'
const COMPARE =
  'YAML does not expect this here; look at the brackets, quotation marks and indentation before it'

/** The first that fits: one code may mean several things, which the library's message tells apart. */
const SENTENCES: readonly [YAMLError['code'], RegExp, string][] = [
  ['MISSING_CHAR', /^Implicit map key/, 'this key has no colon (with a space after it) and no value'],
  ['MISSING_CHAR', /quote$/, 'a quotation mark before this is not closed'],
  ['MISSING_CHAR', /^Missing , /, 'entries between { and }, or [ and ], need commas between them'],
  ['MISSING_CHAR', /^Missing space after/, 'a space is missing after the colon'],
  ['MISSING_CHAR', /^Sequence item/, 'each entry of this list needs "- " before it'],
  ['MISSING_CHAR', /^Comments/, 'a space is missing before the # of the comment'],
  [
    'BAD_INDENT',
    /^Flow /,
    'a { or [ before this is not closed, or its lines are not indented deeper than its key',
  ],
  [
    'BAD_INDENT',
    /^/,
    'this line is not indented as the others: entries of one list or mapping begin in the same column',
  ],
  ['TAB_AS_INDENT', /^/, 'a tab indents this line; use spaces'],
  ['DUPLICATE_KEY', /^/, 'the mapping has this key already; keep one of them'],
  ['MULTIPLE_DOCS', /^/, 'a second document begins here; remove the line --- and all of one of them'],
  ['BAD_SCALAR_START', /^/, 'a value cannot begin with this character; put the value into quotation marks'],
  [
    'BAD_DQ_ESCAPE',
    /^/,
    'there is no such escape; write \\\\ for a backslash, or use single quotation marks',
  ],
  [
    'MULTILINE_IMPLICIT_KEY',
    /^/,
    'a key stands on one line: is a colon missing, or is this line not indented as it should be?',
  ],
  [
    'BLOCK_AS_IMPLICIT_KEY',
    /^/,
    'a second colon in one line; begin a new line, or put the value into quotation marks',
  ],
  [
    'BLOCK_IN_FLOW',
    /^/,
    'entries between { and }, or [ and ], need commas between them, and no "- " before them',
  ],
  [
    'BAD_ALIAS',
    /^/,
    'a value that begins with & or * means something else in YAML; put it into quotation marks',
  ],
  [
    'TAG_RESOLVE_FAILED',
    /^/,
    'a value that begins with ! means something else in YAML; put it into quotation marks',
  ],
  ['KEY_OVER_1024_CHARS', /^/, 'this key has more than 1024 characters: is its colon missing?'],
  ['RESOURCE_EXHAUSTION', /^/, 'brackets, lists or mappings are nested too deep here'],
  ['UNEXPECTED_TOKEN', /flow-(seq|map)-end/, 'a closing ] or } too many'],
  ['UNEXPECTED_TOKEN', /at node end$/, 'the value has ended before this; put all of it into quotation marks'],
  ['UNEXPECTED_TOKEN', /^Block scalar header/, 'only the text of the next lines may follow | or >'],
]

/** @param text all of the file */
export const yamlFault = ({ code, message, pos: [start, end] }: Fault, text: string): string => {
  const isLastKey = code === 'MISSING_CHAR' && message.startsWith('Implicit map key')
  const mayBeCutOff = code === 'MISSING_CHAR' || code === 'BAD_INDENT' || code === 'UNEXPECTED_TOKEN'
  if (mayBeCutOff && text.slice(isLastKey ? end : start).trim() === '') return CUT_OFF
  return SENTENCES.find(([of, said]) => of === code && said.test(message))?.[2] ?? COMPARE
}

/** Why a text cannot be read that YAML allows. */
export const yamlRefusal = (cause: unknown): string => {
  if (cause instanceof RangeError) return 'it is nested too deep'
  const alias = /^Unresolved alias .*: (.*)$/s.exec(cause instanceof Error ? cause.message : '')?.[1]
  return alias === undefined
    ? 'its aliases (&, *) make too much of it; write the values out'
    : `there is no &${alias} before *${alias}; put a value that begins with * into quotation marks`
}
