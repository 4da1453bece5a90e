import { ShuntError } from '../errors.ts'

/** More than any token or document. */
const MAX_BYTES = 1024 * 1024

/** All of standard input, as text. Throws SHUNT_ERR_USAGE when it is too long, or no UTF-8. */
export const readText = async (): Promise<string> => {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BYTES)
      throw new ShuntError('SHUNT_ERR_USAGE', `standard input has more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (cause) {
    throw new ShuntError('SHUNT_ERR_USAGE', 'standard input is not text in UTF-8', { cause })
  }
}
