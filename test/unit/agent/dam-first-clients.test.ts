/**
 * A unit that begins asks the others about clients (R-C2): once they can be asked, and not before; what it put without having heard of theirs gives
 * way to it, whichever was made later.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RESOLVE_WORDS } from '../../../src/agent/dataplane/messages.ts'
import { ipv4Of } from '../../../src/agent/plan.ts'
import { ATOM_KIND } from '../../../src/dam/types.ts'
import { DamCluster, flowOf, HOSTS, holds, record, type Unit } from '../../support/dam-cluster.ts'

interface Context {
  cluster: DamCluster
}
const it = suite<Context>('sessions of clients at a unit that begins')
it.before.each(context => {
  context.cluster = new DamCluster()
})
it.after.each(({ cluster }) => cluster.stop())

const client = (i: number): Uint32Array => {
  const key = flowOf(i)
  key[8] = 80
  key[9] = ((ATOM_KIND.clientAddress << 24) | 6) >>> 0
  return key
}
const start = (cluster: DamCluster, ...names: string[]): void => {
  for (const name of names) cluster.start(name, { affinity: true })
}
const unit = (cluster: DamCluster, name: string): Unit => cluster.units.get(name)!
const says = (
  cluster: DamCluster,
  name: string,
  i: number,
  host: string,
  op: 'put' | 'end' | 'unheard',
): void => unit(cluster, name).side.atoms(record(client(i), host, op))
const ask = (cluster: DamCluster, name: string, i: number): void => {
  const words = new Uint32Array(RESOLVE_WORDS)
  words.set(client(i))
  words[10] = ATOM_KIND.clientAddress
  unit(cluster, name).side.resolve(words)
}
/** Of the last answer about it; undefined: there is none. */
const answer = (cluster: DamCluster, name: string, i: number): number | undefined =>
  unit(cluster, name).resolved.findLast(({ flow }) => flow === client(i).join())?.host
/** Until that is what the unit answers; 0: nobody has a session. */
const answers = (cluster: DamCluster, name: string, i: number, host: number): Promise<void> =>
  holds(`${name} answers ${host}`, () => {
    ask(cluster, name, i)
    return answer(cluster, name, i) === host
  })
const hears = (cluster: DamCluster, name: string, i: number, host: string): Promise<void> =>
  holds(
    `${name} hears ${host}`,
    () => unit(cluster, name).clients.findLast(({ key }) => key === client(i).join())?.host === ipv4Of(host),
  )

it('it answers when all others can be asked, and with what they have', async ({ cluster }) => {
  start(cluster, 'f1', 'f2', 'f3')
  await cluster.settled()
  says(cluster, 'f1', 1, HOSTS.h2, 'put')
  await hears(cluster, 'f3', 1, HOSTS.h2)
  cluster.kill('f1')
  // What was its own, asked for before any link is up.
  cluster.links.cut('f1', 'f2')
  cluster.links.cut('f1', 'f3')
  start(cluster, 'f1')
  for (const i of [1, 2]) ask(cluster, 'f1', i)
  cluster.links.cut('f1', 'f2', false)
  cluster.links.cut('f1', 'f3', false)
  await holds(
    'it has answered',
    () => answer(cluster, 'f1', 1) !== undefined && answer(cluster, 'f1', 2) !== undefined,
  )
  assert.equal(
    unit(cluster, 'f1').resolved.map(({ host }) => host),
    [ipv4Of(HOSTS.h2), 0],
  )
})

it('where it can reach nobody it answers all the same, by and by', async ({ cluster }) => {
  start(cluster, 'f2')
  cluster.links.cut('f1', 'f2')
  start(cluster, 'f1')
  await answers(cluster, 'f1', 1, 0)
})

it('a session that has ended is none', async ({ cluster }) => {
  start(cluster, 'f1', 'f2')
  await cluster.settled()
  says(cluster, 'f1', 1, HOSTS.h2, 'put')
  await hears(cluster, 'f2', 1, HOSTS.h2)
  says(cluster, 'f1', 1, HOSTS.h2, 'end')
  await answers(cluster, 'f2', 1, 0)
})

it('put without having heard, it gives way to the older one of another member, and its worker is told', async ({
  cluster,
}) => {
  start(cluster, 'f1', 'f2', 'f3')
  await cluster.settled()
  cluster.links.cut('f1', 'f2')
  cluster.links.cut('f1', 'f3')
  says(cluster, 'f2', 1, HOSTS.h2, 'put')
  await hears(cluster, 'f3', 1, HOSTS.h2)
  // Later, and again.
  for (let n = 0; n < 3; n++) says(cluster, 'f1', 1, HOSTS.h1, 'unheard')
  says(cluster, 'f1', 2, HOSTS.h1, 'unheard')
  cluster.links.cut('f1', 'f2', false)
  cluster.links.cut('f1', 'f3', false)
  await hears(cluster, 'f1', 1, HOSTS.h2)
  // What only it has is as good as any.
  await hears(cluster, 'f3', 2, HOSTS.h1)
  for (const name of ['f1', 'f2', 'f3']) await answers(cluster, name, 1, ipv4Of(HOSTS.h2))
  assert.not(
    unit(cluster, 'f3').clients.some(
      ({ key, host }) => key === client(1).join() && host === ipv4Of(HOSTS.h1),
    ),
  )
})

it('nor does its end end the other one', async ({ cluster }) => {
  start(cluster, 'f1', 'f2')
  await cluster.settled()
  cluster.links.cut('f1', 'f2')
  says(cluster, 'f2', 1, HOSTS.h2, 'put')
  says(cluster, 'f1', 1, HOSTS.h1, 'unheard')
  says(cluster, 'f1', 1, HOSTS.h1, 'end')
  cluster.links.cut('f1', 'f2', false)
  await hears(cluster, 'f1', 1, HOSTS.h2)
  await answers(cluster, 'f2', 1, ipv4Of(HOSTS.h2))
})

it('what is known here is not replaced by what was not heard of it; by a move it is', async ({ cluster }) => {
  start(cluster, 'f1', 'f2')
  await cluster.settled()
  says(cluster, 'f2', 1, HOSTS.h2, 'put')
  await hears(cluster, 'f1', 1, HOSTS.h2)
  unit(cluster, 'f1').clients.length = 0
  says(cluster, 'f1', 1, HOSTS.h1, 'unheard')
  await hears(cluster, 'f1', 1, HOSTS.h2)
  await answers(cluster, 'f1', 1, ipv4Of(HOSTS.h2))
  says(cluster, 'f1', 1, HOSTS.h1, 'put')
  await hears(cluster, 'f2', 1, HOSTS.h1)
})

it.run()
