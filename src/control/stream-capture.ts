/** A capture as it comes, an envelope a line, to one reader; it ends with the reader, whatever becomes of that. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answerer, captureLine } from './answer.ts'
import type { CaptureData, CaptureQuery } from './types.ts'

/** What may wait for a reader, beside what the kernel holds; what comes then is lost, and told. */
const MAX_BEHIND_BYTES = 4 << 20

/** Resolves once the stream has begun; rejects when there can be none. */
export const streamCapture = async (
  { view, node }: Answerer,
  query: CaptureQuery,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> => {
  let stop: () => void = () => {}
  let isGone = false
  let dropped = 0
  res.once('close', () => {
    isGone = true
    stop()
  })
  const begin = (): void => {
    if (res.headersSent) return
    // Silence is no stall here.
    req.socket.setTimeout(0)
    res.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
    // So that the reader knows that packets are caught from now on.
    res.write(captureLine(node, { packets: [], lost: 0, end: null }))
  }
  const deliver = (data: CaptureData): void => {
    if (isGone || res.writableEnded) return
    begin()
    const isBehind = res.writableLength > MAX_BEHIND_BYTES
    if (isBehind) dropped += data.packets.length
    const packets = isBehind ? [] : data.packets
    if (isBehind && data.end === null) return
    res.write(captureLine(node, { ...data, packets, lost: data.lost + dropped }))
    if (data.end !== null) res.end()
  }
  stop = await view.capture(query, deliver)
  // It may have gone while the agent began.
  if (isGone) stop()
  else begin()
}
