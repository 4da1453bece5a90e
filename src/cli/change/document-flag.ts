/** The document that apply and plan take: from a file, or from standard input. */
import { Flags } from '@oclif/core'
import { ShuntError } from '../../errors.ts'

export const documentFlag = Flags.string({
  char: 'f',
  description: 'The cluster document; - reads it from standard input. Required.',
  helpValue: 'FILE',
})

/**
 * Its text, checked as far as it can be without the cluster, and its name for messages.
 * @throws ShuntError SHUNT_ERR_USAGE when none is given, SHUNT_ERR_CONFIG when it cannot be read or is not right
 */
export const readDocument = async (file: string | undefined): Promise<{ text: string; file: string }> => {
  if (file === undefined)
    throw new ShuntError('SHUNT_ERR_USAGE', 'say which cluster document: -f FILE (- is standard input)')
  const [{ loadDocument, parseDocument }, { readText }] = await Promise.all([
    import('../../config/document.ts'),
    import('../standard-input.ts'),
  ])
  if (file !== '-') return { text: loadDocument(file).text, file }
  const name = 'standard input'
  const text = await readText()
  parseDocument(text, name)
  return { text, file: name }
}
