/** A join through the control port of real links: the same connection handling as in an agent. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { joinCluster } from '../../../src/cluster/join-client.ts'
import { createIdentity } from '../../../src/gossip/identity.ts'
import { createPeerLinks } from '../../../src/gossip/links.ts'
import { Issuer, nodeSigner } from '../../support/issuer.ts'

const it = suite('cluster/join-links')
const PORT = 26_791

it('a token opens the port for a join, and for nothing when it is not known', async () => {
  const issuer = new Issuer()
  const identityFile = join(issuer.stateDir, 'identity.key')
  await createIdentity(identityFile)
  const links = createPeerLinks({
    name: 'f1',
    identityFile,
    networkKeys: [new Uint8Array(32).fill(5)],
    listen: { address: '127.0.0.1', port: PORT },
    roles: ['forwarder'],
    epoch: 1,
    peers: [],
    log: pino({ level: 'silent' }),
    joins: issuer.hook,
  })
  await links.start()
  try {
    const token = issuer.token({}, PORT)
    const signer = nodeSigner()
    const facts = { id: signer.id, name: 'h1', address: '10.10.0.31', roles: ['host' as const] }
    const refused = await joinCluster(token, facts, signer).catch((e: Error) => e)
    assert.match((refused as Error).message, /is the token still valid there/)
    issuer.register(token)
    // A long answer: as many statements as a cluster with a full history has.
    for (let revision = 1; revision <= 32; revision++)
      issuer.order({
        kind: 'config',
        revision,
        parent: '',
        text: `# ${'x'.repeat(60_000)}${revision}`,
        note: '',
        atMs: 1,
      })
    const statements = await joinCluster(token, facts, signer)
    assert.is(statements.length, issuer.ledger.statements().length)
    assert.ok(issuer.view().members.some(m => m.name === 'h1'))
  } finally {
    await links.stop()
    rmSync(issuer.stateDir, { recursive: true })
  }
})

it.run()
