/**
 * A node that speaks the links as an agent does, and says whatever it is told: `hostile-member-process.ts MEMBER_AS_JSON`. Each
 * line of JSON on standard input is an Order and is answered by one line. It ends when its standard input does.
 */
import { createInterface } from 'node:readline'
import { decodeStatement } from '../../src/cluster/statement.ts'
import { createPeerLinks } from '../../src/gossip/links.ts'
import { createLogger } from '../../src/log.ts'
import type { HostileReport, MemberParts, Order } from './hostile-member.ts'

const member = JSON.parse(process.argv[2]!) as MemberParts
const links = createPeerLinks({
  name: member.name,
  identityFile: member.identityFile,
  networkKeys: member.networkKeys.map(key => Buffer.from(key, 'base64')),
  listen: { address: member.address, port: member.port },
  roles: member.roles,
  epoch: 1,
  peers: member.peers,
  log: createLogger(member.name, 'error'),
  checkRoles: false,
  topic: member.topic,
})

const heard: HostileReport['heard'] = { digests: 0, published: 0, frames: {}, secrets: [] }
links.onDigest(() => heard.digests++)
links.onPublished(() => heard.published++)
links.onFrame((_, frame) => {
  heard.frames[frame.type] = (heard.frames[frame.type] ?? 0) + 1
  if (frame.type !== 'ledger-entries') return
  for (const { body } of frame.entries.map(decodeStatement))
    if (body.kind === 'secret' && !heard.secrets.includes(body.number)) heard.secrets.push(body.number)
})

const carryOut = (order: Order): HostileReport => {
  const bytes = order.bytes === undefined ? undefined : Buffer.from(order.bytes, 'base64')
  let sent: string[] = []
  if (order.do === 'send') sent = member.peers.map(p => p.name).filter(name => links.send(name, bytes!))
  if (order.do === 'publish' && links.publish(bytes!)) sent = ['*']
  const alive = links.states().filter(peer => peer.state === 'alive')
  return { id: links.id, sent, alive: alive.map(peer => peer.name), counters: links.counters(), heard }
}

await links.start()
createInterface({ input: process.stdin })
  .on('line', line => process.stdout.write(`${JSON.stringify(carryOut(JSON.parse(line) as Order))}\n`))
  .on('close', () => void links.stop().then(() => process.exit(0)))
