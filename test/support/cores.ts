/** Parts for tests of single cores: a small directory, packets as PacketRef, recorded effects. */
import { type Directory, DirectoryIndex } from '../../src/agent/dataplane/directory.ts'
import { emptyBook } from '../../src/agent/dataplane/index-book.ts'
import { createMappingHeader, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { parsePacket } from '../../src/agent/dataplane/packet.ts'
import { createPacketRef, type PacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { Resolution } from '../../src/agent/dataplane/resolution.ts'
import { buildTcp4, type TcpOptions } from './packets.ts'

export const ip = (text: string): number =>
  text.split('.').reduce((word, part) => word * 256 + Number(part), 0)
export const words = (text: string): Uint32Array => Uint32Array.of(0, 0, 0xffff, ip(text))

export const FORWARDER = '10.10.0.11'
export const TUNNEL = '10.10.1.11'
export const CLASSIFIER = '10.10.0.41'
export const HOSTS = ['10.10.0.71', '10.10.0.72', '10.10.0.73']
export const VIP = '10.99.0.1'

export const directory = (self = ''): DirectoryIndex => {
  const value: Directory = {
    hosts: HOSTS.map((address, i) => ({
      index: i + 1,
      name: `h${i + 1}`,
      words: words(address),
      ipv4: ip(address),
      self: address === self,
      hash: 1000 + i,
      leaving: false,
      live: true,
      draining: false,
    })),
    forwarders: [{ name: 'f1', tunnelWords: words(TUNNEL), tunnelIpv4: ip(TUNNEL), ipv4: ip(FORWARDER) }],
    classifiers: [{ name: 'c1', ipv4: ip(CLASSIFIER), live: true }],
    services: [
      {
        index: 0,
        name: 'web',
        vip: words(VIP),
        port: 80,
        protocol: 6,
        hosts: HOSTS.map((_, i) => ({ index: i + 1, capacity: 50 })),
      },
    ],
    hostIndexes: emptyBook(HOSTS.length + 1),
    serviceIndexes: emptyBook(1),
  }
  return new DirectoryIndex(value)
}

export const packetOf = (bytes: Uint8Array): PacketRef => {
  const packet = createPacketRef()
  packet.buf = bytes
  packet.length = bytes.length
  const reason = parsePacket(bytes, 0, bytes.length, packet.view)
  if (reason !== 0) throw new Error(`the test's packet does not parse: ${reason}`)
  return packet
}

export const tcp = (flags: number, options: TcpOptions = {}): PacketRef =>
  packetOf(
    buildTcp4({
      source: '10.20.0.5',
      destination: VIP,
      sourcePort: 40_000,
      destinationPort: 80,
      flags,
      ...options,
    }),
  )

export const copyHeader = (header: MappingHeader): MappingHeader => {
  const copy = createMappingHeader()
  Object.assign(copy, { ...header, client: copy.client, vip: copy.vip, node: copy.node })
  copy.client.set(header.client)
  copy.vip.set(header.vip)
  copy.node.set(header.node)
  return copy
}

/** For a forwarder of which nobody is asked anything. */
export const noResolution = (): Resolution => new Resolution(1, 0, 0, { ask: () => {}, drop: () => {} })
