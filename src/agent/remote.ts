/** Questions of the control API from node to node: what another member's agent knows of itself, read only (decision 10). */
import type { Logger } from 'pino'
import { type Answer, answerGet } from '../control/answer.ts'
import type { AgentView } from '../control/types.ts'
import { errorText, ShuntError } from '../errors.ts'
import type { PeerLinks } from '../gossip/links-api.ts'

const PATIENCE_MS = 5000

export const serveRemote = (links: PeerLinks, view: AgentView, node: string, log: Logger): void =>
  links.onRequest(async (_peer, body) => {
    const { status, body: text } = await answerGet({ view, node, log }, Buffer.from(body).toString())
    return Buffer.from(JSON.stringify({ status, body: text }))
  })

/** @throws ShuntError SHUNT_ERR_PEER when the node cannot be heard, SHUNT_ERR_USAGE when there is none of that name */
export const askRemote = async (links: PeerLinks, node: string, path: string): Promise<Answer> => {
  const names = links.states().map(({ name }) => name)
  if (!names.includes(node))
    throw new ShuntError('SHUNT_ERR_USAGE', `there is no other node ${node}; there are: ${names.join(', ')}`)
  const answer = await links.request(node, Buffer.from(path), AbortSignal.timeout(PATIENCE_MS))
  try {
    const { status, body } = JSON.parse(Buffer.from(answer).toString()) as Answer
    if (typeof status !== 'number' || typeof body !== 'string') throw new Error('it has another form')
    return { status, body }
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_PEER',
      `the answer of ${node} cannot be read (${errorText(cause)}); is it of another version?`,
      { cause },
    )
  }
}
