/** A unit whose agent is killed and back at once hears of the sessions that were its own too (R-C2, R-D6): its worker knows none of them any more. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ATOM_KIND } from '../../../src/dam/types.ts'
import { DamCluster, flowOf, HOSTS, holds, record } from '../../support/dam-cluster.ts'

const it = suite('a member that is back at once')
const SESSIONS = 200

const client = (i: number): Uint32Array => {
  const key = flowOf(i)
  key[8] = 80
  key[9] = ((ATOM_KIND.clientAddress << 24) | 6) >>> 0
  return key
}

it('its worker is told of the sessions that were its own', async () => {
  const cluster = new DamCluster()
  try {
    for (const name of ['f1', 'f2', 'f3']) cluster.start(name, { affinity: true })
    await cluster.settled()
    for (let i = 0; i < SESSIONS; i++) cluster.units.get('f1')!.side.atoms(record(client(i), HOSTS.h1, 'put'))
    await holds('f2 has all', () => cluster.units.get('f2')!.clients.length === SESSIONS)
    // Before the others take them over, which takes seconds.
    cluster.kill('f1')
    const { clients } = cluster.start('f1', { affinity: true })
    await holds('f1 has heard of all', () => new Set(clients.map(({ key }) => key)).size === SESSIONS)
    assert.ok(clients.every(({ host }) => host === clients[0]!.host))
  } finally {
    await cluster.stop()
  }
})

it.run()
