/** shunt drain and undrain as a user runs them, against the control API of a cluster without agents. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HealthData, OwnRow, WaitingUnit } from '../../../src/control/types.ts'
import type { DirectiveState } from '../../../src/health/types.ts'
import { collect, ROOT, shunt, startShunt } from '../../support/cli.ts'
import { CLUSTER, HEALTH, HOSTS } from '../../support/fake-view.ts'
import { admitHost, type Cluster, withCluster } from '../../support/operator-cluster.ts'

const it = suite('cli/drain')

const row = (service: string, state: DirectiveState, change: Partial<OwnRow> = {}): OwnRow => ({
  ...HEALTH.cache![0]!.rows[0]!,
  service,
  target: state,
  current: state,
  cause: state === 'active' ? 'default' : 'order',
  why: '',
  waiting: null,
  ...change,
})
const table = (...rows: OwnRow[]): HealthData => ({
  ...HEALTH,
  own: { generation: 3, group: 0, leader: null, rows },
})
const open = (...units: WaitingUnit[]): Partial<OwnRow> => ({
  target: 'draining',
  cause: 'order',
  waiting: { sinceMs: 10, units },
})

/** A cluster of f1 and the hosts h1 and h2, both of web; h1 follows orders after so many looks. */
const withHosts = (looks: number, run: (cluster: Cluster) => Promise<void>): Promise<void> =>
  withCluster(async cluster => {
    const { issuer, view } = cluster
    const id = admitHost(issuer, 'h1', '10.10.0.31')
    admitHost(issuer, 'h2', '10.10.0.32')
    const [h1] = HOSTS.hosts
    view.data.hosts = {
      hosts: ['h1', 'h2'].map(name => ({ ...h1!, name, services: ['web'], flows: 12 })),
    }
    view.data.health = { ...HEALTH, cache: null }
    let left = looks
    let before: DirectiveState = 'active'
    view.healthOf.set('h1', () => {
      const { directives } = issuer.view().members.find(member => member.id === id)!
      const { state } = directives[0] ?? { state: 'active' as const }
      if (state !== before && left-- > 0)
        return table(
          row('web', state, {
            current: before,
            waiting: { sinceMs: 1, units: [{ unit: 'f1', why: 'silent' }] },
          }),
        )
      before = state
      return table(row('web', state))
    })
    await run(cluster)
  })
const orders = ({ issuer }: Cluster): string[] =>
  issuer
    .view()
    .members.find(member => member.name === 'h1')!
    .directives.map(({ app, state, revision }) => `${app} ${state} ${revision}`)

it('drains a host and lets it take connections again; the same again changes nothing', () =>
  withHosts(2, async cluster => {
    const { as } = cluster
    const drained = await shunt(['drain', 'h1', ...as])
    assert.equal(drained, {
      code: 0,
      stdout: 'h1: draining on all units, 12 connections through f1 left\n',
      stderr: '',
    })
    assert.equal(orders(cluster), ['* draining 1'])
    assert.equal(await shunt(['drain', 'h1', ...as]), {
      code: 0,
      stdout: 'h1: nothing to change, it is ordered to be draining\n',
      stderr: '',
    })
    const json = await shunt(['undrain', 'h1', '--json', ...as])
    assert.is(json.code, 0, json.stderr)
    const { schema, node, data } = JSON.parse(json.stdout)
    assert.equal(
      { schema, node, data },
      {
        schema: 'shunt.undrain/1',
        node: 'f1',
        data: { node: 'h1', app: '*', state: 'active', changed: true, settled: true, waiting: [], held: [] },
      },
    )
    assert.equal(orders(cluster), ['* active 2'])
    const again = await shunt(['undrain', 'h1', ...as])
    assert.is(again.stdout, 'h1: nothing to change, no order holds it back\n')
    assert.is(
      (await shunt(['drain', 'h1', '--inactive', '--no-wait', ...as])).stdout,
      'h1: inactive is ordered\n',
    )
    assert.equal(orders(cluster), ['* inactive 3'])
    const other = await shunt(['undrain', 'h1/web', ...as])
    assert.is(other.code, 0)
    assert.is(
      other.stdout,
      'h1/web: nothing to change, it has no order of its own; web is inactive (order h1)\n',
    )
    assert.is(other.stderr, 'h1 is ordered to be inactive all the same; shunt undrain h1 ends that\n')
  }))

it('undrain says what still holds the host back, in words and in JSON', () =>
  withHosts(0, async cluster => {
    const { as, view, issuer } = cluster
    const { id } = issuer.view().members.find(member => member.name === 'h1')!
    for (const app of ['*', 'web'])
      issuer.order({ kind: 'directive', id, app, state: 'draining', revision: 1, atMs: issuer.nowMs })
    view.healthOf.set('h1', () =>
      table(row('web', 'draining'), row('dns', 'draining', { cause: 'overload', vip: '10.99.0.2:53' })),
    )
    const byOrder = { service: 'web', state: 'draining', cause: 'order', order: 'h1/web' }
    const heldIn = (stdout: string) => JSON.parse(stdout).data.held
    const quick = await shunt(['undrain', 'h1', '--no-wait', '--json', ...as])
    assert.equal(heldIn(quick.stdout), [{ ...byOrder, vip: null }], 'the host was not asked')
    assert.is((await shunt(['drain', 'h1', '--no-wait', ...as])).code, 0)
    const said = await shunt(['undrain', 'h1', ...as])
    assert.equal(said, {
      code: 0,
      stdout:
        'h1: the order is withdrawn on all units; web is draining (order h1/web), dns is draining (overload)\n',
      stderr: 'h1/web is ordered to be draining all the same; shunt undrain h1/web ends that\n',
    })
    const again = await shunt(['undrain', 'h1', '--json', ...as])
    assert.equal(heldIn(again.stdout), [
      { ...byOrder, vip: row('web', 'active').vip },
      { service: 'dns', vip: '10.99.0.2:53', state: 'draining', cause: 'overload', order: null },
    ])
    assert.is(
      (await shunt(['undrain', 'h1', ...as])).stdout,
      'h1: nothing to change, it has no order of its own; web is draining (order h1/web), dns is draining (overload)\n',
    )
  }))

it('--timeout: 124, the units that differ, and the order stands', () =>
  withHosts(0, async cluster => {
    const { view, as } = cluster
    const units: WaitingUnit[] = [
      { unit: 'f2', why: 'silent' },
      { unit: 'c1', why: 'not in force' },
    ]
    view.healthOf.set('h1', () => table(row('web', 'active', open(...units))))
    const late = await shunt(['drain', 'h1', '--timeout', '300ms', '--json', ...as])
    assert.is(late.code, 124)
    assert.is(
      late.stderr,
      `warning: h1 is not draining everywhere after 300ms: waiting for c1 (not in force), f2 (silent)
the order stands, and the units go on to follow it; shunt hosts -o wide shows how far they are
`,
    )
    assert.equal(JSON.parse(late.stdout).data, {
      node: 'h1',
      app: '*',
      state: 'draining',
      changed: true,
      settled: false,
      waiting: [units[1], units[0]],
    })
    assert.equal(orders(cluster), ['* draining 1'])
    // The same once more waits like the first: nobody may take it for done.
    const again = await shunt(['drain', 'h1', '--timeout', '300ms', '--json', ...as])
    assert.is(again.code, 124)
    assert.equal(
      [JSON.parse(again.stdout).data.changed, JSON.parse(again.stdout).data.settled],
      [false, false],
    )
    assert.equal(orders(cluster), ['* draining 1'])
    const glance = await shunt(['drain', 'h1', '--no-wait', ...as])
    assert.is(glance.code, 0)
    assert.is(glance.stderr, 'waiting for c1 (not in force), f2 (silent)\n')
  }))

it('on a terminal it says who is waited for, each time that this changes', () =>
  withHosts(0, async ({ view, as }) => {
    const looks: OwnRow[] = [
      row('web', 'active'),
      row('web', 'active', open({ unit: 'f2', why: 'silent' }, { unit: 'c1', why: 'differs' })),
      row('web', 'active', open({ unit: 'f2', why: 'silent' }, { unit: 'c1', why: 'differs' })),
      row('web', 'active', open({ unit: 'f2', why: 'silent' })),
      row('web', 'draining'),
    ]
    view.healthOf.set('h1', () => table(looks.length > 1 ? looks.shift()! : looks[0]!))
    const command = [process.execPath, '--no-warnings', join(ROOT, 'src/main.ts'), 'drain', 'h1', ...as].join(
      ' ',
    )
    const { code, stdout } = await collect(
      spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] }),
    )
    assert.is(code, 0, stdout)
    assert.equal(stdout.trim().split(/\r?\n/), [
      'waiting for h1 itself',
      'waiting for c1 (differs), f2 (silent)',
      'waiting for f2 (silent)',
      'h1: draining on all units, 12 connections through f1 left',
    ])
  }))

it('Ctrl-C ends the waiting and not the drain', () =>
  withHosts(1e9, async cluster => {
    const child = startShunt(['drain', 'h1', ...cluster.as])
    const ended = collect(child)
    while (!cluster.view.remotes.some(({ path }) => path === '/v1/health'))
      await new Promise(resolve => setTimeout(resolve, 20))
    child.kill('SIGINT')
    const { code, stderr } = await ended
    assert.is(code, 130)
    assert.is(stderr, 'stopped waiting; h1 goes on to become draining\n')
    assert.equal(orders(cluster), ['* draining 1'])
  }))

it('a host that cannot be reached gets the order when it is back: 3', () =>
  withHosts(0, async cluster => {
    const { view, as } = cluster
    view.rows.set('h2', { agent: 'dead' })
    view.rows.set('h1', { agent: 'dead' })
    view.healthOf.delete('h1')
    const { code, stderr, stdout } = await shunt(['drain', 'h1', ...as])
    assert.is(code, 3)
    assert.is(
      stderr,
      'warning: the order stands, and is followed when the agent of h1 is back: node h1 did not answer\n',
    )
    assert.is(stdout, '')
    assert.equal(orders(cluster), ['* draining 1'])
  }))

it('the last active host of a service is asked about; nothing else is', () =>
  withHosts(0, async cluster => {
    const { view, as } = cluster
    view.data.hosts.hosts[1]!.state = 'dead'
    const asked = await shunt(['drain', 'h1', ...as])
    assert.is(asked.code, 5)
    assert.match(asked.stderr, /h1 is the last active host of web\. Drain it\? .*give --yes/)
    assert.equal(orders(cluster), [])
    const forced = await shunt(['drain', 'h1', '--yes', ...as])
    assert.is(forced.code, 0, forced.stderr)
    const back = await shunt(['undrain', 'h1', ...as])
    assert.is(back.code, 0, back.stderr)
  }))

it('a static cluster takes no orders', () =>
  withHosts(0, async ({ view, as }) => {
    view.cluster = async () => ({ ...CLUSTER, mode: 'static', cluster: null, name: null })
    const { code, stderr } = await shunt(['drain', 'h1', ...as])
    assert.is(code, 5)
    assert.match(stderr, /the cluster of f1 is static .*edit the files/)
  }))

it('refuses what is no target', () =>
  withHosts(0, async cluster => {
    for (const [target, code, why] of [
      ['h9', 2, /there is no node h9/],
      ['h1/wbe', 2, /no host of a service wbe/],
      ['h1/', 2, /"h1\/" is no target: write NODE/],
      ['', 2, /the target is empty: write NODE/],
    ] as const) {
      const refused = await shunt(['drain', target, ...cluster.as])
      assert.is(refused.code, code, refused.stderr)
      assert.match(refused.stderr, why)
    }
    const late = await shunt(['drain', 'h1', '--timeout', 'soon', ...cluster.as])
    assert.is(late.code, 2)
    assert.equal(orders(cluster), [])
  }))

it.run()
