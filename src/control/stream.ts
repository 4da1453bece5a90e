/** Events as they happen, an envelope a line, to one reader that must keep up. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answerer, errorBody, eventsLine } from './answer.ts'
import { type EventRow, type EventsQuery, MAX_EVENTS } from './types.ts'

/** What may wait for a reader, beside what the kernel holds. */
const MAX_BEHIND_BYTES = 64 * 1024
/** How long a reader that was too slow may take for the line that says so. */
const LAST_LINE_MS = 1_000

/** Resolves once the stream has begun; rejects when the view cannot say what was before. */
export const streamEvents = async (
  { view, node }: Answerer,
  query: EventsQuery,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> => {
  // Events of the time until the view has answered.
  let early: EventRow[] | undefined = []
  const stop = view.follow(event => {
    if (early === undefined) send(event)
    else if (early.length < MAX_EVENTS) early.push(event)
  })
  const send = (event: EventRow): void => {
    if (res.writableEnded) return
    if (res.writableLength <= MAX_BEHIND_BYTES) {
      res.write(eventsLine(node, { last: event.sequence, missed: false, events: [event] }))
      return
    }
    stop()
    res.end(errorBody('busy', `the reader is too slow; ask again with after=${event.sequence - 1}`))
    setTimeout(() => req.socket.destroy(), LAST_LINE_MS).unref()
  }
  res.once('close', stop)
  try {
    const before = await view.events(query)
    // Silence is no stall here.
    req.socket.setTimeout(0)
    res.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
    res.write(eventsLine(node, before))
    const later = early.filter(event => event.sequence > before.last)
    early = undefined
    for (const event of later) send(event)
  } catch (error) {
    stop()
    throw error
  }
}
