/** `shunt atoms`: what members have of one connection, put together; the command against an agent that answers. */
import * as assert from 'uvu/assert'
import { atomRows, lookUp, type MemberAtom, noMember, putTogether } from '../../../src/cli/atom-rows.ts'
import { serviceSettledText, settledText } from '../../../src/control/atom-copies.ts'
import type { AtomData, AtomsData, Envelope, ServiceAtomsRow } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { shunt as runCommandLine } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'
import { ATOM, ATOMS, NODES } from '../../support/fake-view.ts'

const it = controlSuite('cli/atoms')

const has = (member: string, change: Partial<AtomData> | null): MemberAtom => ({
  member,
  atom: change === null ? null : { ...ATOM, ...change },
  error: null,
})

it('the newest version counts; copies are those of it, not what was looked up', () => {
  const newer = ATOM.generation + 1
  const found = putTogether([
    has('f1', { place: 'copy', owner: 'f2', generation: newer, host: 'h2' }),
    has('f2', { place: 'own', owner: 'f2', generation: newer, host: 'h2' }),
    has('f3', { place: 'cached', owner: 'f2', generation: newer, host: 'h2' }),
    has('f4', { place: 'cached' }),
    has('f5', null),
  ])
  assert.equal(
    [found.host, found.owner, found.copies, found.wanted, found.ended, found.troubles],
    ['h2', 'f2', 1, 1, false, []],
  )
  assert.equal(
    atomRows(found).map(({ has: what }) => what),
    ['copy', 'own', 'cached', 'cached', 'nothing'],
  )
})

it('troubles: nobody has it, different hosts, an older copy, no answer', () => {
  const troubles = (...members: MemberAtom[]): string => putTogether(members).troubles.join('; ')
  assert.is(troubles(has('f1', null)), 'no member knows this connection')
  assert.is(troubles(has('f1', {}), has('f2', { host: 'h2' })), 'members name different hosts: h1, h2')
  const old = has('f2', { place: 'copy', generation: ATOM.generation - 1 })
  assert.is(troubles(has('f1', {}), old), 'f2 has an older version')
  assert.is(
    troubles(has('f1', {}), { member: 'f2', atom: null, error: 'it is away' }),
    'no answer of f2: it is away',
  )
})

it('each other member is asked; one that is away is said to be', async () => {
  const asked: string[] = []
  const found = await lookUp('f1', { ...ATOMS, atom: ATOM }, async node => {
    asked.push(node)
    if (node === 'f2') throw new ShuntError('SHUNT_ERR_PEER', 'away')
    return { data: { ...ATOMS, atom: { ...ATOM, place: 'copy' } } } as Envelope<AtomsData>
  })
  assert.equal(asked, ['c1', 'f2'])
  assert.equal([found.host, found.copies, found.troubles], ['h1', 1, ['no answer of f2: away']])
})

it('shows members, places, services and what was counted', async ctx => {
  const { code, stdout, stderr } = await runCommandLine(['atoms', '--socket', ctx.socket])
  assert.is(code, 0, stderr)
  for (const line of [
    /^settled +yes$/m,
    /^table +4210 of 1000000 \(0%\), 0 evicted$/m,
    /^to be checked +3$/m,
    /^c1 +linked +1772443700$/m,
    /^f1 +this node /m,
    /^f2 +leaving /m,
    /^web +1 +1 +2100 +2050$/m,
    /^dns +none +1 +0 +0$/m,
    /^atoms_puts +2148$/m,
  ])
    assert.match(stdout, line)
  ctx.view.data.atoms = { ...ATOMS, settled: false, moving: true }
  const again = await runCommandLine(['atoms', '--socket', ctx.socket])
  assert.match(again.stderr, /copies are on their way/)
  assert.is(again.code, 0)
})

it('fewer members than copies: what is missing, and of what', () => {
  const [web, dns] = ATOMS.services as [ServiceAtomsRow, ServiceAtomsRow]
  const text = (services: ServiceAtomsRow[], moving = false): string =>
    settledText({ ...ATOMS, settled: false, moving, services })
  assert.is(
    text([{ ...web, wanted: 2, possible: 1 }, dns]),
    'no, 1 of 2 copies of web: needs another forwarder or classifier',
  )
  assert.is(
    text(
      [
        { ...web, possible: 0 },
        { ...dns, wanted: 3, possible: 0 },
      ],
      true,
    ),
    'no, 0 of 3 copies of dns and 1 more: needs 3 more forwarders or classifiers; copies are on their way to where they should be',
  )
  assert.is(
    text([{ ...web, wanted: 'full', possible: 0 }]),
    'no, 0 of 1 copy of web: needs another forwarder or classifier',
  )
  assert.is(text([{ ...web, wanted: 'full', possible: 1 }, dns]), 'yes')
  assert.is(text([{ ...web, wanted: 0, possible: 0 }]), 'yes')
  const short = { ...web, wanted: 2, possible: 1 }
  assert.is(serviceSettledText(short, ATOMS), 'no, 1 of 2 copies')
  assert.is(serviceSettledText(web, { ...ATOMS, moving: true }), 'no')
  assert.is(serviceSettledText(web, ATOMS), 'yes')
  // An agent of an earlier version.
  const { moving: _, ...older } = ATOMS
  const { possible: __, ...row } = web
  const old = { ...older, services: [row] } as AtomsData
  assert.is(settledText(old), 'yes')
  assert.match(settledText({ ...old, settled: false }), /^no, copies are on their way/)
})

it('a node without the roles holds none, and says so at once, with or without a connection', async ctx => {
  ctx.view.data.atoms = { ...ATOMS, incarnation: null, settled: null, members: [] }
  const why =
    'warning: this node holds no atoms: it is neither forwarder nor classifier; ask one: --node f1\n'
  for (const connection of [[], ['10.20.0.5:40000', '10.99.0.1:80']])
    for (const json of [[], ['--json']]) {
      const args = ['atoms', ...connection, ...json, '--socket', ctx.socket]
      const { code, stdout, stderr } = await runCommandLine(args)
      assert.is(code, 3)
      assert.is(stderr, why)
      if (json.length === 0) assert.is(stdout, '')
      else assert.match(stdout, connection.length === 0 ? /"incarnation": null/ : /neither forwarder nor/)
    }
})

it('of those that hold atoms one is named that can be asked', () => {
  const named = (...rows: object[]): string =>
    noMember('h1', { mode: 'managed', nodes: rows.map(row => ({ ...NODES.nodes[0]!, ...row })) })
  assert.match(named({ agent: 'dead' }, { name: 'c2', roles: ['classifier'] }), /^h1 holds .* --node c2$/)
  assert.match(named({ roles: ['host'] }), /--node NAME \(shunt nodes shows them\)$/)
})

it('looks a connection up, also with its protocol behind the port', async ctx => {
  ctx.view.data.atoms = { ...ATOMS, members: ATOMS.members.slice(1, 2), atom: ATOM }
  const { code, stdout, stderr } = await runCommandLine([
    ...['atoms', '10.20.0.5:40000', '10.99.0.1:53/UDP', '--socket', ctx.socket],
  ])
  assert.is(code, 0, stderr)
  assert.equal(ctx.view.atomQueries.at(-1), {
    flow: { protocol: 'udp', client: '10.20.0.5:40000', vip: '10.99.0.1:53' },
  })
  assert.match(stdout, /^udp 10\.20\.0\.5:40000 -> 10\.99\.0\.1:53$/m)
  assert.match(stdout, /^f1 +own +h1 +f1 +1814984512512000 +1m 1s +1\.5s$/m)
  assert.match(stderr, /its host is h1; 0 copies besides the owner's, 1 wanted/)
  ctx.view.data.atoms = { ...ATOMS, members: [], atom: null }
  const nobody = await runCommandLine(['atoms', '10.20.0.5:40000', '10.99.0.1:53', '--socket', ctx.socket])
  assert.is(nobody.code, 3)
  assert.match(nobody.stderr, /no member knows this connection/)
})

it.run()
