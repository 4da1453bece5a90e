import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { isUnreachable, nounFlags } from '../cli/noun-command.ts'
import { json, paint, print, warn } from '../cli/output.ts'
import { pathAt } from '../cli/path-at.ts'
import { watchUntilStopped } from '../cli/watching.ts'
import {
  DEFAULT_EVENTS,
  type Envelope,
  type EventRow,
  type EventsData,
  MAX_EVENTS,
  type StatusData,
} from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import { oneLine } from '../plain-text.ts'

/** Between two attempts to reach an agent that went away, and between two looks at the one of another node. */
const AGAIN_MS = 1_000

const WIDTHS = { severity: 'warning'.length, subject: 12 }

const paintSeverity = ({ severity }: EventRow, text: string): string =>
  severity === 'info' ? text : paint(severity === 'error' ? 'bad' : 'odd', text)

const lineOf = (event: EventRow): string => {
  const severity = paintSeverity(event, oneLine(event.severity).padEnd(WIDTHS.severity))
  return `${oneLine(event.time)}  ${severity}  ${oneLine(event.subject).padEnd(WIDTHS.subject)}  ${oneLine(event.text)}\n`
}

/** The agent may come back, or take us up again after it found us too slow. */
const mayReturn = (error: unknown): boolean =>
  isUnreachable(error) || (error instanceof ShuntError && /answered busy/.test(error.message))

interface Given {
  json: boolean
  socket: string
  /** Another node, which is asked through the agent of the socket. */
  node?: string
  watch: boolean
  after: number
  limit: number
}

export default class Events extends BaseCommand {
  static override summary = 'Show what happened lately: nodes, agents, membership, changes of the cluster.'
  static override description =
    'A line an event: time, severity, the node that it is about (- for the cluster), a sentence. The agent keeps the last 1,000 since it started.'
  static override examples = [
    '<%= config.bin %> events',
    '<%= config.bin %> events --watch --json',
    '<%= config.bin %> events --node h1',
  ]
  static override flags = {
    socket: nounFlags.socket,
    node: nounFlags.node,
    watch: Flags.boolean({
      char: 'w',
      description: 'Go on as events happen; Ctrl-C stops watching. With --json, an envelope a line.',
    }),
    after: Flags.integer({
      description: 'Only events with a higher number (sequence in --json).',
      default: 0,
      min: 0,
      helpValue: 'N',
    }),
    limit: Flags.integer({
      description: 'At most this many, the newest.',
      default: DEFAULT_EVENTS,
      min: 1,
      max: MAX_EVENTS,
      helpValue: 'N',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Events)
    const given = flags as Given
    if (given.watch) return this.#watch(given)
    const { get } = await import('../control/client.ts')
    const query = new URLSearchParams({ after: String(given.after), limit: String(given.limit) })
    this.#show(await get(given.socket, pathAt(`/v1/events?${query}`, given.node)), given)
  }

  #show(envelope: Envelope, { json: asJson, after }: Given): EventsData {
    const data = envelope.data as EventsData
    if (asJson) print(json(envelope, !this.#watching))
    else for (const event of data.events) print(lineOf(event))
    if (data.missed && after > 0) warn('some events before these are not shown')
    return data
  }

  #watching = false

  /** An agent that is not there at first is an error; one that goes away later may come back, and counts anew. */
  async #watch(given: Given): Promise<void> {
    const { follow, get } = await import('../control/client.ts')
    this.#watching = true
    let { after } = given
    let instance: string | undefined
    await watchUntilStopped({
      everyMs: AGAIN_MS,
      mayReturn: error => instance !== undefined && mayReturn(error),
      look: async (signal, heard) => {
        const onEnvelope = (envelope: Envelope): void => {
          heard()
          after = this.#show(envelope, { ...given, after }).last
        }
        const status = (await get(given.socket, pathAt('/v1/status', given.node), signal)).data as StatusData
        // One that was started again counts from 1 again.
        if (instance !== undefined && instance !== status.instance) after = 0
        instance = status.instance
        const query = new URLSearchParams({ after: String(after), limit: String(given.limit) })
        const path = pathAt(`/v1/events?${query}`, given.node)
        // Streams end at the agent here: another node is asked again and again.
        if (given.node === undefined)
          return await follow(given.socket, `${path}&follow=1`, onEnvelope, signal)
        const envelope = await get(given.socket, path, signal)
        if ((envelope.data as EventsData).events.length > 0) onEnvelope(envelope)
        else heard()
      },
    })
  }
}
