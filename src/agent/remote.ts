/**
 * Questions of the control API from node to node: what another member's agent knows of itself (decision 10), read only but for one order,
 * which moves a virtual IP between forwarders. The body is a path, or `POST /v1/failover ` and JSON.
 */
import type { Logger } from 'pino'
import { type Answer, answerFailover, answerGet, refusal } from '../control/answer.ts'
import type { AgentView } from '../control/types.ts'
import { errorText, ShuntError } from '../errors.ts'
import type { PeerLinks } from '../gossip/links-api.ts'
import { RateByKey } from '../gossip/rate-by-key.ts'

const PATIENCE_MS = 5000
/** An order is told to have failed after 5 s by the node that carries it out. */
const ORDER_PATIENCE_MS = 8000
const FAILOVER = 'POST /v1/failover '
/** Of one member: each order costs kernel and network of several nodes. */
const ORDER_RATE = { ratePerS: 2, burst: 16 }

export const serveRemote = (links: PeerLinks, view: AgentView, node: string, log: Logger): void => {
  const rates = new RateByKey(ORDER_RATE)
  const answerer = { view, node, log }
  const answer = async (peer: string, text: string): Promise<Answer> => {
    if (!text.startsWith(FAILOVER)) return answerGet(answerer, text)
    if (!rates.take(peer, performance.now()))
      return refusal(503, 'busy', `${peer} gave many orders just now; try again`)
    let body: unknown
    try {
      body = JSON.parse(text.slice(FAILOVER.length))
    } catch {
      return refusal(400, 'refused', 'the body is not JSON in UTF-8')
    }
    return answerFailover(answerer, body)
  }
  links.onRequest(async (peer, bytes) => {
    const { status, body } = await answer(peer, Buffer.from(bytes).toString())
    return Buffer.from(JSON.stringify({ status, body }))
  })
}

/**
 * @param order body of a POST
 * @throws ShuntError SHUNT_ERR_PEER when the node cannot be heard, SHUNT_ERR_USAGE when there is none of that name
 */
export const askRemote = async (
  links: PeerLinks,
  node: string,
  path: string,
  order?: unknown,
): Promise<Answer> => {
  const names = links.states().map(({ name }) => name)
  if (!names.includes(node))
    throw new ShuntError('SHUNT_ERR_USAGE', `there is no other node ${node}; there are: ${names.join(', ')}`)
  const [question, patienceMs] =
    order === undefined ? [path, PATIENCE_MS] : [`POST ${path} ${JSON.stringify(order)}`, ORDER_PATIENCE_MS]
  const answer = await links.request(node, Buffer.from(question), AbortSignal.timeout(patienceMs))
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
