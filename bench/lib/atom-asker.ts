/** A member that tells another one of its atoms, and then asks for them: `atom-asker.ts NODE-FILE MEMBER COUNT`; prints how long that took, in milliseconds. */
import { loadNodeConfig } from '../../src/config/load.ts'
import { decodeDam, encodeDam } from '../../src/dam/codec.ts'
import { ATOM_KIND, type DamMessage, FULL } from '../../src/dam/types.ts'
import { encodeAtomMember, encodeAtoms } from '../../src/gossip/frames.ts'
import { readSecret } from '../../src/gossip/identity.ts'
import { networkKey } from '../../src/gossip/keys.ts'
import { createPeerLinks } from '../../src/gossip/links.ts'
import { createLogger } from '../../src/log.ts'
import { quantile } from './stats.ts'

const [file, member, count] = process.argv.slice(2)
const ATOMS = 1_000
const config = loadNodeConfig(file!)
const self = { member: config.node.name, incarnation: 1 }
const links = createPeerLinks({
  ...{ name: self.member, identityFile: config.node.identityFile, epoch: 1, roles: config.roles },
  networkKeys: config.cluster.secrets.map(secret => networkKey(readSecret(secret.file))),
  listen: { address: config.addresses.cluster, port: config.cluster.controlPort },
  peers: config.peers,
  log: createLogger(self.member, 'error'),
})
const keyOf = (i: number): Uint32Array =>
  Uint32Array.of(
    0,
    0,
    0xffff,
    0x0a4d0000 + i,
    0,
    0,
    0xffff,
    0x0a630001,
    0x9c400050,
    (ATOM_KIND.flow << 24) | 6,
  )
const say = (message: DamMessage): void => {
  links.send(member!, encodeAtoms(encodeDam(message, self)))
}

let heard: (message: DamMessage) => void = () => {}
links.onFrame((peer, frame) => {
  if (peer === member && frame.type === 'atoms')
    heard(decodeDam(frame.body, { member: peer, incarnation: 0 }))
})
const answer = (isIt: (message: DamMessage) => boolean): Promise<DamMessage> =>
  new Promise(resolve => {
    heard = message => {
      if (isIt(message)) resolve(message)
    }
  })

await links.start()
await new Promise<void>(resolve => {
  links.onChange(peer => {
    if (peer.name === member && peer.state === 'alive') resolve()
  })
})
links.send(member!, encodeAtomMember({ incarnation: 1, leaving: false }))
const followed = answer(message => message.type === 'ack')
say({
  ...{ type: 'batch', sequence: 1 },
  ops: Array.from({ length: ATOMS }, (_, i) => ({
    op: 'add',
    atom: {
      ...{ key: keyOf(i), host: 1, generation: Date.now() * 1024, zombie: false, level: FULL },
      ...{ owner: self, home: self },
    },
  })),
})
await followed
const times: number[] = []
for (let id = 1; id <= Number(count); id++) {
  const startMs = performance.now()
  const answered = answer(message => message.type === 'return' && message.id === id)
  say({ type: 'query', id, keys: [keyOf(id % ATOMS)] })
  const message = await answered
  if (message.type !== 'return' || message.atoms.length !== 1) throw new Error('it has no such atom')
  times.push(performance.now() - startMs)
}
const [p50, p99, longest] = [0.5, 0.99, 1].map(q => quantile(times, q))
process.stdout.write(JSON.stringify({ p50, p99, longest }))
await links.stop()
