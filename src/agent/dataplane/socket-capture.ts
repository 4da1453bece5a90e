/** `shunt capture` by packet sockets: what comes in, before the rules of nftables; or what the own stack gets, behind all of them. */
import { CaptureSocket, ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 } from '../../os/capture-socket.ts'
import { destinationFilter } from '../../os/classic-filter.ts'
import type { CaptureOrder, CaptureRecord, CaptureSource } from './capture.ts'
import { isIpv4 } from './flow-key.ts'
import { SLOW_MARK } from './nft/ruleset.ts'
import { matches } from './packet-match.ts'

export class SocketCapture implements CaptureSource {
  readonly fds: readonly number[]
  readonly #sockets: readonly { readonly link: number; readonly socket: CaptureSocket }[]
  readonly #order: CaptureOrder
  readonly #record: CaptureRecord = {
    ...{ timeUs: 0, link: 0, length: 0, head: new Uint8Array(0), verdict: -1, reason: 0 },
  }

  /** @param links interface indexes. Throws OsError; nothing is left open then. */
  constructor(links: readonly number[], order: CaptureOrder) {
    const stack = order.at === 'stack'
    // Packets with the slow mark never get as far as the stack.
    const filter = destinationFilter(order.vip, order.snaplen, stack ? SLOW_MARK : null)
    const etherType = stack ? (isIpv4(order.vip, 0) ? ETH_P_IP : ETH_P_IPV6) : ETH_P_ALL
    const sockets: { link: number; socket: CaptureSocket }[] = []
    try {
      for (const link of links)
        sockets.push({ link, socket: new CaptureSocket({ interfaceIndex: link, filter, etherType }) })
    } catch (error) {
      for (const { socket } of sockets) socket.close()
      throw error
    }
    this.#sockets = sockets
    this.#order = order
    this.fds = sockets.map(({ socket }) => socket.fd)
  }

  read(max: number, deliver: (record: CaptureRecord) => void): number {
    const record = this.#record
    let taken = 0
    for (const { link, socket } of this.#sockets)
      taken += socket.read(max - taken, (frame, network, length, timeUs) => {
        if (!matches(this.#order, frame, network)) return
        Object.assign(record, { timeUs, link, length, head: frame })
        deliver(record)
      })
    return taken
  }

  lost(): number {
    return this.#sockets.reduce((sum, { socket }) => sum + socket.dropped(), 0)
  }

  close(): void {
    for (const { socket } of this.#sockets) socket.close()
  }
}
