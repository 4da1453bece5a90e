import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bindings } from '../../../src/tui/keys.ts'
import { FLOWS, NODES, STATUS, VIPS } from '../../support/fake-view.ts'
import { lookAt, Tui } from '../../support/tui.ts'

const it = suite('tui/step')
const tab = (tui: Tui): string => tui.lines()[3]!
const last = (tui: Tui): string => tui.lines().at(-1)!
const static_ = { nodes: { ...NODES, mode: 'static' as const } }

it('number keys and Tab change the screen; each is found as it was left', () => {
  const tui = new Tui().looks(2).keys('3', 'j')
  assert.match(tui.chosen(), /^> h2/)
  tui.keys('tab', 'tab', 'tab', 'tab', 'tab')
  assert.match(tab(tui), /\[1:nodes\]/)
  tui.keys('shift-tab')
  assert.match(tab(tui), /\[7:atoms\]/)
  assert.match(tui.keys('3').chosen(), /^> h2/)
})

it('f on a service asks for its flows at once; Esc comes back to it', () => {
  const tui = new Tui().keys('2').looks(2)
  assert.equal(tui.effects, [])
  tui.keys('f')
  assert.equal(tui.effects, [{ do: 'look' }])
  assert.match(tab(tui), /\[4:flows\].*of web/)
  assert.match(tui.text(), /asking the agent/)
  // The look that was under way has none, or those of another place.
  tui.send({ on: 'look', look: lookAt(3) })
  assert.match(tui.text(), /asking the agent/)
  tui.send({ on: 'look', look: lookAt(3, { flows: FLOWS, flowsFor: 'limit=1000' }) })
  assert.match(tui.text(), /asking the agent/)
  assert.match(tui.look(3).chosen(), /10\.20\.0\.5:40000/)
  assert.match(tui.keys('enter').text(), /the kernel forwards it/)
  assert.match(tui.keys('esc', 'esc').chosen(), /^> web/)
})

it('a filter is typed, kept, dropped; in flows an address asks the agent', () => {
  const tui = new Tui().looks(1).keys('/', 'd', 'e', 'a', 'x', 'backspace', 'd')
  assert.match(last(tui), /^\/dead_/)
  assert.match(tui.chosen(), /^> h2/)
  assert.match(tab(tui.keys('enter')), /filter: dead +1-1 of 1$/)
  tui.keys('/', 'q', 'esc')
  assert.match(tab(tui), /filter: dead /)
  assert.match(tab(tui.keys('esc')), /1-3 of 3$/)
  tui.keys('4').look(2)
  const asked = tui.effects.length
  tui.keys('/', ...'10.20.0.5', 'enter')
  assert.ok(tui.effects.length > asked)
  tui.look(3)
  assert.match(tui.state.snapshot!.flowsFor, /client=10\.20\.0\.5$/)
})

it('sorts by each column in turn, not by sparklines', () => {
  const tui = new Tui().looks(1)
  const heads: string[] = []
  for (let i = 0; i < 8; i++) heads.push(/(\S+)↑/.exec(tui.keys('s').lines()[4]!)![1]!)
  assert.equal(heads, ['ROLES', 'ADDRESS', 'MACHINE', 'AGENT', 'RTT', 'CONFIG', 'SYNC', 'NODE'])
  assert.match(tui.keys('S').lines()[4]!, /NODE↓/)
  assert.match(tui.chosen(), /^> h2/)
})

it('events: the newest stays in sight until the cursor is moved', () => {
  const tui = new Tui().keys('5').looks(1)
  const event = {
    time: '2026-03-02T09:31:00.000Z',
    kind: 'node.alive',
    severity: 'info',
    subject: 'h2',
  } as const
  const more = (sequence: number) => ({
    last: sequence,
    missed: false,
    events: [{ ...event, sequence, text: `number ${sequence}` }],
  })
  tui.look(2, { events: more(3) })
  assert.match(tui.chosen(), /number 3/)
  tui.keys('j').look(3, { events: more(4) })
  assert.match(tui.chosen(), /no probes/)
  tui.keys('g').look(4, { events: more(5) })
  assert.match(tui.chosen(), /number 5/)
  // Another run of the agent counts from 1 again.
  tui.look(5, { status: { ...STATUS, instance: 'another' }, events: more(1) })
  assert.is(tui.state.snapshot!.events.length, 1)
})

it('a pause keeps what is seen; going on looks at once', () => {
  const tui = new Tui().looks(1).keys('space')
  assert.match(tui.lines()[0]!, /PAUSED/)
  assert.equal(tui.effects, [])
  assert.equal(tui.keys('space').effects, [{ do: 'look' }])
})

it('an agent that is away is said, with the age of what is seen; then it is back', () => {
  const tui = new Tui().looks(1).send({ on: 'away', why: 'cannot reach an agent on /x' })
  assert.match(tui.lines()[2]!, /^! agent away, trying again \(what you see is of 09:30:11Z\): cannot reach/)
  assert.match(tui.chosen(), /^> f1/)
  assert.is(tui.look(2).lines()[2], '! 2 troubles: node h2 is dead; dns on h1 is failing')
  assert.match(new Tui().send({ on: 'away', why: 'x' }).lines()[2]!, /^! agent away, trying again: x/)
})

it('troubles: the worst first', () => {
  const vips = { vips: VIPS.vips.map(vip => ({ ...vip, live: 0 })) }
  const nodes = { ...NODES, nodes: NODES.nodes.map(n => (n.name === 'h1' ? { ...n, revision: 1 } : n)) }
  const tui = new Tui({}, 24, 200).look(0, { vips, nodes })
  assert.is(
    tui.lines()[2],
    '! 4 troubles: node h2 is dead; service web has no live host; dns on h1 is failing; h1 has revision 1, the newest is 2',
  )
  const well = { ...NODES, nodes: NODES.nodes.slice(0, 2) }
  assert.is(new Tui().look(0, { nodes: well, health: null }).lines()[2], 'all well')
})

it('roles: form, confirmation, command, result', () => {
  const tui = new Tui({ commandOptions: ['--socket', '/x.sock'] }).looks(1).keys('j', 'r')
  assert.match(tui.text(), /roles of h1/)
  tui.keys('space', 'down', 'down', 'space', 'enter')
  assert.match(tui.text(), /\$ shunt roles h1 \+classifier -host --socket \/x\.sock\n\n {2}Run it\? y\/N/)
  assert.equal(tui.effects, [])
  tui.keys('y')
  const args = ['roles', 'h1', '+classifier', '-host', '--socket', '/x.sock']
  assert.equal(tui.effects, [{ do: 'run', args }])
  assert.match(last(tui.keys('q')), /still running/)
  tui.send({ on: 'ended', result: { code: 5, lines: ['error: no \x1b[31mkey'] } })
  assert.match(tui.text(), /error: no key\n\n {2}failed with exit code 5; any key/)
  assert.match(tui.keys('x').chosen(), /^> h1/)
})

it('roles: anything but y does nothing, and so does no change', () => {
  for (const key of ['n', 'enter', 'esc', 'space', 'q']) {
    const tui = new Tui().looks(1).keys('r', 'space', 'enter', key)
    assert.equal(tui.effects, [], key)
    assert.is(last(tui), 'nothing was changed')
  }
  assert.is(last(new Tui().looks(1).keys('r', 'enter')), 'nothing was changed')
})

it('drain and undrain: a confirmation, and only what changes something', () => {
  const tui = new Tui({ commandOptions: ['--socket', '/x.sock'] }).keys('3').looks(1).keys('d')
  assert.match(tui.text(), /\$ shunt drain h1 --timeout 10s --socket \/x\.sock\n\n {2}Run it\? y\/N/)
  tui.effects.length = 0
  tui.keys('y')
  assert.equal(tui.effects, [{ do: 'run', args: ['drain', 'h1', '--timeout', '10s', '--socket', '/x.sock'] }])
  assert.match(last(new Tui().keys('3').looks(1).keys('u')), /no order drains h1/)
  const drained = {
    nodes: {
      ...NODES,
      nodes: NODES.nodes.map(node => ({
        ...node,
        directives: [{ app: '*', state: 'draining' as const, revision: 1 }],
      })),
    },
  }
  const back = new Tui().keys('3').looks(1, drained)
  assert.match(last(back.keys('d')), /h1 is drained already/)
  assert.match(back.keys('u').text(), /\$ shunt undrain h1 --timeout 10s\n/)
  assert.match(last(new Tui().keys('3').look(0, static_).keys('d')), /this cluster is static/)
})

it('Enter on a host, or a service, shows its applications, and Enter on one of these all of it', () => {
  const tui = new Tui().keys('3').looks(1).keys('enter')
  assert.equal(tui.effects, [], 'they are known already')
  assert.match(tab(tui), /\[6:health\].* of h1 /)
  assert.equal(
    tui.lines().flatMap(line => /^[> ] (h\d +\w+)/.exec(line)?.[1]?.replace(/ +/, ' ') ?? []),
    ['h1 dns', 'h1 web'],
  )
  assert.match(
    tui.keys('j', 'enter').text(),
    / cause +default\n(.*\n)* +lease +2\.4s\n(.*\n)* +share +100%\n/,
  )
  assert.match(tab(tui.keys('f')), /\[4:flows\].*of h1/)
  assert.match(tui.keys('esc', 'esc', 'esc').chosen(), /^> h1/)
  const service = new Tui().keys('2').looks(1).keys('enter')
  assert.match(service.chosen(), /^> h1 +web /)
  assert.not.match(service.text(), /dns +(healthy|failing)/)
  assert.match(new Tui().keys('3').looks(1).keys('j', 'enter').text(), /> h2 +- /)
})

it('an application is drained and undrained from its row, and from its details', () => {
  const tui = new Tui().keys('6').looks(1).keys('j', 'd')
  assert.match(tui.text(), /\$ shunt drain h1\/web --timeout 10s\n/)
  assert.match(tui.keys('n', 'enter', 'd').text(), /\$ shunt drain h1\/web --timeout 10s\n/)
  const ordered = (app: string) => ({
    nodes: {
      ...NODES,
      nodes: NODES.nodes.map(node => ({
        ...node,
        directives: node.name === 'h1' ? [{ app, state: 'draining' as const, revision: 1 }] : [],
      })),
    },
  })
  const own = new Tui().keys('6').looks(1, ordered('web')).keys('j')
  assert.match(last(own.keys('d')), /h1\/web is drained already/)
  assert.match(own.keys('u').text(), /\$ shunt undrain h1\/web --timeout 10s\n/)
  const whole = new Tui().keys('6').looks(1, ordered('*')).keys('j', 'u')
  assert.match(last(whole), /no order drains h1\/web; h1 as a whole is drained: u on the screen of hosts/)
})

it('what is drained by order is never "all well"', () => {
  const alive = NODES.nodes.slice(0, 2)
  const order = (app: string) => ({
    health: null,
    nodes: {
      ...NODES,
      nodes: alive.map(node => ({
        ...node,
        directives: node.self ? [] : [{ app, state: 'draining' as const, revision: 1 }],
      })),
    },
  })
  const line = (app: string) => new Tui().look(0, order(app)).lines()[2]
  assert.is(line('*'), 'well, but h1 is draining by order')
  assert.is(line('web'), 'well, but web on h1 is draining by order')
})

it('an agent of an earlier version tells no health', () => {
  const tui = new Tui().keys('3').looks(1, { health: null })
  assert.match(tui.text(), /^> h1 +alive +- +- +- /m)
})

it('roles: not in a static cluster, not with --read-only, and only where nodes are', () => {
  assert.match(last(new Tui().look(0, static_).keys('r')), /this cluster is static/)
  const readOnly = new Tui({ readOnly: true }).looks(1)
  assert.not.match(last(readOnly), /roles/)
  assert.is(last(readOnly.keys('r')), 'read-only: started with --read-only')
  assert.is(readOnly.state.overlay, null)
  assert.is(new Tui().looks(1).keys('2', 'r').state.overlay, null)
  assert.is(new Tui().looks(1).keys('enter', 'r').state.overlay!.kind, 'form')
  const odd = { nodes: { ...NODES, nodes: NODES.nodes.map(n => ({ ...n, name: '--help' })) } }
  assert.match(last(new Tui().look(0, odd).keys('r')), /is not the name of a node/)
})

it('q and Ctrl-C quit; Ctrl-C from everywhere', () => {
  assert.equal(new Tui().keys('q').effects, [{ do: 'quit', code: 0 }])
  for (const keys of [[], ['/'], ['?'], ['r'], ['r', 'space', 'enter', 'y']])
    assert.equal(
      new Tui()
        .looks(1)
        .keys(...keys, 'ctrl-c')
        .effects.at(-1),
      { do: 'quit', code: 130 },
    )
  assert.equal(new Tui().keys('/', 'q').effects, [])
})

it('whatever is typed and seen, the frame has the size of the terminal', () => {
  const keys = fc.constantFrom(...bindings(false).flatMap(binding => binding.keys), 'y', '7', '.', 'é')
  const looks = fc.record({
    vips: fc.array(fc.string({ maxLength: 80 }), { maxLength: 60 }).map(services => ({
      vips: services.map(service => ({ ...VIPS.vips[0]!, service })),
    })),
    nodes: fc.array(fc.string({ unit: 'binary', maxLength: 80 }), { maxLength: 40 }).map(names => ({
      mode: 'managed' as const,
      nodes: names.map(name => ({ ...NODES.nodes[1]!, name })),
    })),
  })
  const event = fc.oneof(
    { weight: 8, arbitrary: keys.map(key => (tui: Tui) => tui.keys(key)) },
    { weight: 1, arbitrary: looks.map(change => (tui: Tui) => tui.look(1, change)) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 200 })).map(
        ([rows, columns]) =>
          (tui: Tui) =>
            tui.send({ on: 'size', rows, columns }),
      ),
    },
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), events => {
      const tui = new Tui().looks(1)
      for (const apply of events) {
        apply(tui)
        const lines = tui.lines()
        assert.is(lines.length, tui.state.rows)
        for (const line of lines) {
          assert.ok(line.length <= tui.state.columns, `${line.length} > ${tui.state.columns}: ${line}`)
          assert.not.match(line, /\p{Cc}/u)
        }
      }
    }),
    { numRuns: 300 },
  )
})

it.run()
