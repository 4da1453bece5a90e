/** One `shunt capture` at a time between the control API and the data plane's thread. */
import type { CaptureData, CapturedPacket, CaptureQuery } from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import { links } from '../os/netlink/route.ts'
import type { CaptureBatch, CaptureOrder, CaptureRecord } from './dataplane/capture.ts'
import { formatAddress, isIpv4, parseAddress } from './dataplane/flow-key.ts'
import { COUNTER } from './dataplane/xdp/layout/edge.ts'
import type { PacketSide } from './packet-side.ts'

const VERDICTS: readonly CapturedPacket['verdict'][] = [
  'aborted',
  'dropped',
  'passed',
  'sent back',
  'redirected',
]
const REASONS = new Map(
  Object.entries(COUNTER).map(([name, number]) => [
    number as number,
    name.slice('COUNT_'.length).toLowerCase().replaceAll('_', ' '),
  ]),
)

/** The order for the data plane's thread. Throws SHUNT_ERR_USAGE when the addresses do not fit each other. */
export const captureOrder = (query: CaptureQuery, at: CaptureOrder['at']): CaptureOrder => {
  const { vip: vipText, port = 0, client: clientText, count, seconds, snaplen } = query
  const vip = new Uint32Array(4)
  const client = new Uint32Array(4)
  const mask = new Uint32Array(4)
  parseAddress(vipText, vip, 0)
  if (clientText !== undefined) {
    const [address = '', length] = clientText.split('/')
    parseAddress(address, client, 0)
    if (isIpv4(client, 0) !== isIpv4(vip, 0))
      throw new ShuntError('SHUNT_ERR_USAGE', `client ${clientText} and VIP ${vipText} are of two families`)
    const offset = isIpv4(client, 0) ? 96 : 0
    const bits = offset + (length === undefined ? 128 - offset : Number(length))
    for (let i = 0; i < 4; i++) {
      const set = Math.min(32, Math.max(0, bits - 32 * i))
      mask[i] = set === 0 ? 0 : (0xffffffff << (32 - set)) >>> 0
      client[i] = (client[i]! & mask[i]!) >>> 0
    }
  }
  return { at, vip, port, client, mask, count, seconds, snaplen }
}

export class CaptureSession {
  readonly #packets: PacketSide
  #running: string | null = null

  constructor(packets: PacketSide) {
    this.#packets = packets
  }

  /** See AgentView.capture. */
  async begin(query: CaptureQuery, deliver: (data: CaptureData) => void): Promise<() => void> {
    const { dataplane } = this.#packets
    const order = captureOrder(query, this.#sideOf(query))
    this.#checkVip(order)
    if (this.#running !== null)
      throw new ShuntError(
        'SHUNT_ERR_CONFLICT',
        `a capture of ${this.#running} runs on this node already; wait for its end, or end it`,
      )
    this.#running = query.vip
    const names = new Map(links().map(({ index, name }) => [index, name]))
    let isOver = false
    let hasBegun = false
    const end = (): void => {
      isOver = true
      this.#running = null
      dataplane.captured = null
    }
    dataplane.captured = batch => {
      // Before the answer comes what the capture before has left to say.
      if (isOver || !hasBegun) return
      if (batch.end !== null) end()
      deliver(captureData(batch, names))
    }
    try {
      const refused = await dataplane.capture(order)
      if (refused !== null) throw new ShuntError('SHUNT_ERR_DATAPLANE', refused)
      hasBegun = true
    } catch (error) {
      end()
      throw error
    }
    return () => {
      if (isOver) return
      end()
      dataplane.captureStop()
    }
  }

  /** A forwarder sees clients' packets as they came; a host that is none, only what its stack gets. */
  #sideOf({ at }: CaptureQuery): CaptureOrder['at'] {
    const { roles } = this.#packets.config
    const side = at ?? (roles.includes('forwarder') ? 'client' : 'stack')
    const needs = side === 'client' ? 'forwarder' : 'host'
    if (!roles.includes(needs))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `this node is no ${needs}: nothing to capture here; run it on ${needs === 'host' ? 'a host' : 'a forwarder or a host'}`,
      )
    return side
  }

  #checkVip({ vip }: CaptureOrder): void {
    const text = formatAddress(vip, 0)
    const known = new Set(this.#packets.config.services.map(service => service.vip))
    if (!known.has(text))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `${text} is no VIP of a service; there are: ${[...known].join(', ') || 'none'}`,
      )
  }
}

const captureData = (
  { records, lost, end }: CaptureBatch,
  names: ReadonlyMap<number, string>,
): CaptureData => ({
  packets: records.map(record => capturedPacket(record, names)),
  lost,
  end,
})

const capturedPacket = (
  { timeUs, link, length, head, verdict, reason }: CaptureRecord,
  names: ReadonlyMap<number, string>,
): CapturedPacket => ({
  timeUs,
  interface: names.get(link) ?? `interface ${link}`,
  length,
  verdict: VERDICTS[verdict] ?? null,
  reason: verdict < 0 || reason === 0 ? null : (REASONS.get(reason) ?? `counter ${reason}`),
  data: Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('base64'),
})
