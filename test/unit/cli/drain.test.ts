/** shunt drain and undrain as a user runs them, against the control API of a cluster without agents. */
import { spawn } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type {
  AppsData,
  FlowStatus,
  FlowsData,
  HealthData,
  OwnRow,
  WaitingUnit,
} from '../../../src/control/types.ts'
import type { DirectiveState } from '../../../src/health/types.ts'
import { collect, SHUNT, shunt, startShunt } from '../../support/cli.ts'
import { APPS, CLUSTER, CONFIG, FLOWS, HEALTH, HOSTS } from '../../support/fake-view.ts'
import { admitHost, type Cluster, withCluster } from '../../support/operator-cluster.ts'

const it = suite('cli/drain')

const row = (service: string, state: DirectiveState, change: Partial<OwnRow> = {}): OwnRow => ({
  ...HEALTH.cache![0]!.rows[0]!,
  service,
  target: state,
  current: state,
  cause: state === 'active' ? 'default' : 'order',
  why: '',
  whenFailing: 'draining',
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
  waiting: { sinceMs: 10, atMostMs: 2500, units },
})

const apps = (web: number | null): AppsData => ({
  ...APPS,
  services: [{ service: 'web', protocol: 'tcp', connections: web }],
})
const flow = (state: FlowStatus['state']): FlowStatus => ({ ...FLOWS.flows[0]!, state })
const flows = (...states: FlowStatus['state'][]): FlowsData => ({
  total: 99,
  shown: states.length,
  flows: states.map(flow),
})
const STILL =
  'web is draining (order h1/web), dns is overloaded: it gets new connections only while all hosts of it are, or fail'
const AGAIN = 'shunt drain h1 counts them again\n'

/** A cluster of f1 and the hosts h1 and h2, both of web; h1 follows orders after so many looks. */
const withHosts = (looks: number, run: (cluster: Cluster) => Promise<void>): Promise<void> =>
  withCluster(async cluster => {
    const { issuer, view } = cluster
    const id = admitHost(issuer, 'h1', '10.10.0.31')
    admitHost(issuer, 'h2', '10.10.0.32')
    issuer.order({ kind: 'config', revision: 1, parent: '', text: CONFIG.text, note: '', atMs: issuer.nowMs })
    const [h1] = HOSTS.hosts
    view.data.hosts = {
      hosts: ['h1', 'h2'].map(name => ({ ...h1!, name, services: ['web'], flows: 12 })),
    }
    view.data.health = { ...HEALTH, cache: null }
    view.answersOf.set('h1', path => (path === '/v1/apps' ? apps(12) : undefined))
    let left = looks
    let before: DirectiveState = 'active'
    view.healthOf.set('h1', () => {
      const { directives } = issuer.view().members.find(member => member.id === id)!
      const { state } = directives[0] ?? { state: 'active' as const }
      if (state !== before && left-- > 0)
        return table(
          row('web', state, {
            current: before,
            waiting: { sinceMs: 1, atMostMs: 3500, units: [{ unit: 'f1', why: 'silent' }] },
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
      stdout: 'h1: draining on all units; 12 connections left on h1\n',
      stderr: AGAIN,
    })
    assert.equal(orders(cluster), ['* draining 1'])
    cluster.view.answersOf.set('h1', path => (path === '/v1/apps' ? apps(0) : undefined))
    assert.equal(await shunt(['drain', 'h1', ...as]), {
      code: 0,
      stdout: 'h1: nothing to change, it is ordered to be draining; no connections left on h1\n',
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
      stdout: `h1: the order is withdrawn on all units; ${STILL}\n`,
      stderr: 'h1/web is ordered to be draining all the same; shunt undrain h1/web ends that\n',
    })
    const again = await shunt(['undrain', 'h1', '--json', ...as])
    assert.equal(heldIn(again.stdout), [
      { ...byOrder, vip: row('web', 'active').vip },
      { service: 'dns', vip: '10.99.0.2:53', state: 'draining', cause: 'overload', order: null },
    ])
    assert.is(
      (await shunt(['undrain', 'h1', ...as])).stdout,
      `h1: nothing to change, it has no order of its own; ${STILL}\n`,
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
      `warning: h1 is not draining everywhere after 300ms: waiting for c1 (not in force), f2 (silent); f2: at most 2.5s more, then its lease is over
the order stands, and the units go on to follow it; shunt drain h1 waits for them again, and names those that are missing
h1: 12 connections left on h1
`,
    )
    assert.equal(JSON.parse(late.stdout).data, {
      node: 'h1',
      app: '*',
      state: 'draining',
      changed: true,
      settled: false,
      waiting: [units[1], units[0]],
      held: [],
      connections: 12,
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
    assert.is(glance.stderr, `waiting for c1 (not in force), f2 (silent)\n${AGAIN}`)
  }))

it('on a terminal it says who is waited for after a second, each time that this changes', () =>
  withHosts(0, async ({ view, as }) => {
    let said = false
    const looks: OwnRow[] = [
      row('web', 'active'),
      row('web', 'active', open({ unit: 'f2', why: 'silent' }, { unit: 'c1', why: 'differs' })),
      row('web', 'active', open({ unit: 'f2', why: 'silent' }, { unit: 'c1', why: 'differs' })),
      row('web', 'active', open({ unit: 'f2', why: 'silent' })),
      row('web', 'draining'),
    ]
    view.healthOf.set('h1', () => table(said && looks.length > 1 ? looks.shift()! : looks[0]!))
    const command = [...SHUNT, 'drain', 'h1', ...as].join(' ')
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdout.once('data', () => {
      said = true
    })
    const { code, stdout } = await collect(child)
    assert.is(code, 0, stdout)
    assert.equal(stdout.trim().split(/\r?\n/), [
      'waiting for h1 itself',
      'waiting for c1 (differs), f2 (silent); f2: at most 2.5s more, then its lease is over',
      'waiting for f2 (silent); f2: at most 2.5s more, then its lease is over',
      'h1: draining on all units; 12 connections left on h1',
      'shunt drain h1 counts them again',
    ])
  }))

it('Ctrl-C ends the waiting and not the drain', () =>
  withHosts(1e9, async cluster => {
    const child = startShunt(['drain', 'h1', ...cluster.as])
    const ended = collect(child)
    while (!cluster.view.remotes.some(({ path }) => path === '/v1/health') && child.exitCode === null)
      await new Promise(resolve => setTimeout(resolve, 20))
    child.kill('SIGINT')
    const { code, stderr } = await ended
    assert.is(code, 130)
    assert.is(
      stderr.split('\n').at(-2),
      'stopped waiting; h1 goes on to become draining (shunt undrain h1 takes that back)',
    )
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
      `warning: the agent of h1 is dead; the order stands, and is followed when the agent of h1 is back
whether h1 still gets new connections is not known; shunt hosts -o wide on a forwarder shows its lease
h1: 1 connection left through f1
${AGAIN}`,
    )
    assert.equal(view.remotes, [], 'nobody asks what is dead')
    assert.is(stdout, '')
    assert.equal(orders(cluster), ['* draining 1'])
  }))

it('the last host of a service that gets connections is asked about; nothing else is', () =>
  withHosts(0, async cluster => {
    const { view, as } = cluster
    view.data.hosts.hosts[1]!.state = 'dead'
    const asked = await shunt(['drain', 'h1', ...as])
    assert.is(asked.code, 5)
    assert.match(
      asked.stderr,
      /h1 is the last host that gets new connections of web\. Drain it\? .*give --yes/,
    )
    assert.equal(orders(cluster), [])
    const forced = await shunt(['drain', 'h1', '--yes', ...as])
    assert.is(forced.code, 0, forced.stderr)
    const back = await shunt(['undrain', 'h1', ...as])
    assert.is(back.code, 0, back.stderr)
  }))

it('says what is stricter than the order, and undrains what is gone', () =>
  withHosts(0, async cluster => {
    const { as, view, issuer } = cluster
    const { id } = issuer.view().members.find(member => member.name === 'h1')!
    for (const app of ['*', 'old'])
      issuer.order({ kind: 'directive', id, app, state: 'inactive', revision: 1, atMs: issuer.nowMs })
    view.healthOf.set('h1', () => table(row('web', 'inactive')))
    const drained = await shunt(['drain', 'h1/web', ...as])
    assert.is(
      drained.stdout,
      'h1/web: the order is followed on all units; web is inactive (order h1); 12 connections left on h1\n',
      drained.stderr,
    )
    const json = await shunt(['drain', 'h1/web', '--json', ...as])
    const { connections, held } = JSON.parse(json.stdout).data
    assert.is(connections, 12)
    assert.equal(held, [
      { service: 'web', vip: row('web', 'active').vip, state: 'inactive', cause: 'order', order: 'h1' },
    ])
    const quick = await shunt(['drain', 'h1/web', '--no-wait', ...as])
    assert.match(quick.stdout, /it is ordered to be draining; web is inactive \(order h1\);/)
    // No service of that name is left: the order is, and goes.
    const old = await shunt(['undrain', 'h1/old', '--no-wait', ...as])
    assert.is(old.code, 0, old.stderr)
    const again = await shunt(['undrain', 'h1/old', ...as])
    assert.is(again.code, 2, again.stdout)
    assert.match(again.stderr, /h1 is no host of a service old/)
  }))

it('where the host cannot count them the forwarders do, without closing ones', () =>
  withHosts(0, async ({ as, view }) => {
    view.answersOf.set('h1', path => (path === '/v1/apps' ? apps(null) : undefined))
    view.data.flows = flows('established', 'closing', 'established')
    const drained = await shunt(['drain', 'h1/web', ...as])
    assert.is(
      drained.stdout,
      'h1/web: draining on all units; 2 connections of web left through f1\n',
      drained.stderr,
    )
    const { stdout } = await shunt(['drain', 'h1/web', '--json', ...as])
    assert.is(JSON.parse(stdout).data.connections, 2)
  }))

it('refuses flags that contradict each other', () =>
  withHosts(0, async cluster => {
    for (const [flags, why] of [
      [['--wait', '--no-wait'], /--wait and --no-wait contradict each other/],
      [['--no-wait', '--timeout', '3s'], /--timeout is for waiting/],
      [['--timeout='], /--timeout is empty: write a time, such as 30s/],
    ] as const)
      for (const command of ['drain', 'undrain']) {
        const refused = await shunt([command, 'h1', ...flags, ...cluster.as])
        assert.is(refused.code, 2, refused.stdout)
        assert.match(refused.stderr, why)
      }
    assert.equal(orders(cluster), [])
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
      ['h1/', 2, /"h1\/" is no target: write HOST/],
      ['', 2, /the target is empty: write HOST/],
    ] as const) {
      const refused = await shunt(['drain', target, ...cluster.as])
      assert.is(refused.code, code, refused.stderr)
      assert.match(refused.stderr, why)
    }
    for (const [target, code, why] of [
      ['h1/nope', 2, /no host of a service nope/],
      ['f1', 5, /f1 is no host/],
    ] as const) {
      cluster.view.rows.set('f1', { roles: ['forwarder', 'classifier'] })
      const refused = await shunt(['undrain', target, ...cluster.as])
      assert.is(refused.code, code, refused.stdout)
      assert.match(refused.stderr, why)
    }
    const late = await shunt(['drain', 'h1', '--timeout', 'soon', ...cluster.as])
    assert.is(late.code, 2)
    assert.equal(orders(cluster), [])
  }))

it.run()
