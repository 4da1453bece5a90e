import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import type { FlowMapping } from './flow-mapping.ts'
import type { FlowTable } from './flows.ts'
import type { ForwarderPorts } from './forwarder-ports.ts'
import type { HeldPackets } from './held.ts'

/** Milliseconds between two mapping requests for packets that are held, and how often before giving up. */
export const RETRY_MS = 20
const RETRIES = 12

/** Asks again for what packets of a forwarder wait for, less and less often; gives up those that waited for too long. */
export const retryHeld = (
  flows: FlowTable,
  held: HeldPackets,
  directory: DirectoryIndex,
  mapping: FlowMapping,
  ports: ForwarderPorts,
  nowMs: number,
  sendOrFlush: (slot: number) => void,
  givenUp: (slot: number) => void,
): void => {
  for (const [slot, queue] of held.queues) {
    if (queue.retryAtMs > nowMs) continue
    if (++queue.tries > RETRIES) {
      for (const _ of held.take(slot)) ports.drop(DROP.HOLD_TIMEOUT)
      givenUp(slot)
      continue
    }
    queue.retryAtMs = nowMs + RETRY_MS * Math.min(2 ** (queue.tries >> 1), 16)
    const classifier = directory.classifier()
    if (flows.host[slot] !== 0) sendOrFlush(slot)
    else if (classifier !== undefined) mapping.askClassifier(slot, classifier.ipv4, null)
  }
}
